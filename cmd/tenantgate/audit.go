package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"

	"github.com/tenantgate/tenantgate/audit"
	"github.com/tenantgate/tenantgate/session"
)

// auditRequest is what the flags of audit ask for.
type auditRequest struct {
	config, database, dsn string
	options               audit.Options
	format                string
	level                 audit.Level
	ignores               []audit.Ignore
	explain               string
	fixSQL, prove         bool
	tenants               [2]string
}

// wordsFlag collects the values of a flag that may be repeated.
type wordsFlag []string

// String implements flag.Value; there is no default to show.
func (w *wordsFlag) String() string { return "" }

// Set implements flag.Value.
func (w *wordsFlag) Set(text string) error {
	*w = append(*w, text)
	return nil
}

// runAudit examines the schema of a database and prints what does not isolate
// tenants. It changes nothing.
func runAudit(args []string, stdout, stderr io.Writer) int {
	r, code, ok := parseAudit(args, stdout, stderr)
	if !ok {
		return code
	}
	if r.explain != "" {
		if err := audit.RuleByID(r.explain).Explain(stdout); err != nil {
			return fail(stderr, err)
		}
		return exitOK
	}
	report, err := r.run(stderr)
	if err != nil {
		return fail(stderr, err)
	}
	if err := r.write(report, stdout); err != nil {
		return fail(stderr, err)
	}
	if report.Fails(r.level) || r.prove && !report.Proved() {
		return exitFailure
	}
	return exitOK
}

// parseAudit reads the command line. With ok false the command ends with code.
func parseAudit(args []string, stdout, stderr io.Writer) (r auditRequest, code int, ok bool) {
	var columns, ignores, tenants wordsFlag
	flags := newFlags("audit", "-dsn DSN | -config FILE [-database NAME] [flags]", stderr)
	flags.StringVar(&r.config, "config", "", "configuration `FILE`: the database, the app role and the settings of the context")
	flags.StringVar(&r.database, "database", "", "`NAME` in databases of the configuration; needed when there are several")
	flags.StringVar(&r.dsn, "dsn", "", "connect by this `DSN`, best as a superuser or as the owner; its password by password=, passfile= or ~/.pgpass: PG… variables are not read (default: the configured one)")
	flags.StringVar(&r.options.AppRole, "app-role", "", "the `ROLE` that the tenants share (default: the user of the configured dsn, else of -dsn)")
	flags.Var(&columns, "tenant-column", "`NAME` of the column that says whose a row is; repeatable (default "+audit.DefaultTenantColumn+")")
	flags.StringVar(&r.options.TenantSetting, "tenant-setting", "", "the setting `NAME` that carries the tenant (default: the configured one, else "+audit.DefaultTenantSetting+")")
	flags.StringVar(&r.format, "format", "text", "text, json or sarif")
	level := flags.String("level", "error", "exit 1 when a rule of this `LEVEL` or a worse one fires: error, warning or info")
	flags.Var(&ignores, "ignore", "accept a finding, `RULE:OBJECT` such as TG014:public.countries, * for any text; repeatable")
	ignoreFile := flags.String("ignore-file", "", "`FILE` of lines RULE:OBJECT # reason")
	flags.StringVar(&r.explain, "explain", "", "say what a `RULE` is about, and end")
	flags.BoolVar(&r.fixSQL, "fix-sql", false, "print one script that mends what was found; nothing is applied")
	flags.BoolVar(&r.prove, "prove", false, "act as two tenants on every table, in transactions that are rolled back; needs a superuser")
	flags.Var(&tenants, "tenant", "with -prove: a `TENANT` to act as where a table does not hold rows of two; give two")
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return r, code, false
	}
	err := r.check(*level, tenants, ignores, *ignoreFile)
	r.options.TenantColumns = columns
	if err != nil {
		return r, usageError(flags, "%v", err), false
	}
	return r, exitOK, true
}

// check makes sense of the flags together.
func (r *auditRequest) check(level string, tenants, ignores []string, ignoreFile string) (err error) {
	if r.explain != "" {
		r.explain = strings.ToUpper(r.explain)
		if audit.RuleByID(r.explain) == nil {
			return fmt.Errorf("%s\n-explain: there is no rule %s; the rules stand above", audit.RuleList(), r.explain)
		}
		return nil
	}
	if r.level, err = audit.ParseLevel(level); err != nil {
		return fmt.Errorf("-level: %w", err)
	}
	switch {
	case r.dsn == "" && r.config == "":
		return errors.New("-dsn or -config is required")
	case !slices.Contains([]string{"text", "json", "sarif"}, r.format):
		return fmt.Errorf("-format: %q is not text, json or sarif", r.format)
	case len(tenants) != 0 && len(tenants) != 2:
		return errors.New("-tenant: give two, or none")
	}
	copy(r.tenants[:], tenants)
	for _, text := range ignores {
		i, err := audit.ParseIgnore(text, "-ignore")
		if err != nil {
			return err
		}
		r.ignores = append(r.ignores, i)
	}
	if ignoreFile == "" {
		return nil
	}
	text, err := os.ReadFile(ignoreFile)
	if err != nil {
		return fmt.Errorf("-ignore-file: %w", err)
	}
	more, err := audit.ParseIgnoreFile(string(text), ignoreFile)
	r.ignores = append(r.ignores, more...)
	return err
}

// run connects, reads, judges and, if asked to, proves.
func (r *auditRequest) run(stderr io.Writer) (*audit.Report, error) {
	dial := session.DialConfig{DSN: r.dsn}
	if r.config != "" {
		var err error
		if dial, err = r.configure(stderr); err != nil {
			return nil, err
		}
	}
	ctx := context.Background()
	conn, err := connectAudit(ctx, dial)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing was changed
	r.options.SealVersion = session.SealVersion
	progress := newAuditProgress(stderr)
	r.options.Progress = progress.show
	catalog, err := audit.Read(ctx, conn, r.options)
	if err != nil {
		progress.clear()
		return nil, err
	}
	report := audit.Run(catalog, r.ignores)
	if r.prove {
		var proofs []audit.Proof
		proofs, err = audit.Prove(ctx, conn, catalog, r.tenants)
		report.AddProof(proofs, r.ignores)
	}
	progress.clear()
	return report, err
}

// configure takes from the configuration what the flags leave open, and returns
// where to connect to.
func (r *auditRequest) configure(stderr io.Writer) (session.DialConfig, error) {
	l, err := load(r.config, stderr)
	if err != nil {
		return session.DialConfig{}, err
	}
	names := sortedKeys(l.server.Databases)
	if r.database == "" && len(names) == 1 {
		r.database = names[0]
	}
	if !slices.Contains(names, r.database) {
		return session.DialConfig{}, fmt.Errorf("-database: name one of %s", strings.Join(names, ", "))
	}
	dial := l.server.Databases[r.database].DialConfig
	if r.options.AppRole == "" {
		pc, err := session.ParseDSN(dial)
		if err != nil {
			return dial, fmt.Errorf("databases.%s: %w", r.database, err)
		}
		r.options.AppRole = pc.User
	}
	if r.options.TenantSetting == "" {
		r.options.TenantSetting = strings.ToLower(l.server.Context.TenantSetting)
	}
	r.options.Settings = lowered(l.server.Context.Names())
	r.options.Keyless = l.file.Context.Seal.KeyID == ""
	if r.dsn != "" {
		dial = session.DialConfig{DSN: r.dsn, ConnectTimeout: dial.ConnectTimeout}
	}
	return dial, nil
}

// lowered folds names as PostgreSQL does.
func lowered(names []string) []string {
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	return names
}

// connectTime bounds a connection where no configuration does.
const connectTime = 10 * time.Second

// connectAudit opens the connection that the catalogue is read on.
func connectAudit(ctx context.Context, dial session.DialConfig) (*pgconn.PgConn, error) {
	pc, err := session.ParseDSN(dial)
	if err != nil {
		return nil, err
	}
	if dial.ConnectTimeout == 0 {
		dial.ConnectTimeout = connectTime
	}
	ctx, cancel := context.WithTimeout(ctx, dial.ConnectTimeout)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, pc)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && pc.Password == "" && strings.HasPrefix(refused.Code, "28") {
		err = fmt.Errorf("%w (no password was given: write password= or passfile= into the dsn, or the password into ~/.pgpass; PG… variables are not read)", err)
	}
	return conn, err
}

// write prints the report in the form that was asked for.
func (r *auditRequest) write(report *audit.Report, stdout io.Writer) error {
	switch {
	case r.fixSQL:
		return report.WriteScript(stdout)
	case r.format == "json":
		return report.WriteJSON(stdout)
	case r.format == "sarif":
		return report.WriteSARIF(stdout, version)
	}
	width, terminal := terminalWidth(stdout)
	_, plain := os.LookupEnv("NO_COLOR")
	return report.WriteText(stdout, audit.Style{Color: terminal && !plain && os.Getenv("TERM") != "dumb", Width: width})
}

// terminalWidth is the number of columns when w is a terminal.
func terminalWidth(w io.Writer) (columns int, terminal bool) {
	file, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return min(max(int(size.Col), 60), 120), true
}

// auditProgress shows on a terminal what is being read when that takes a while.
type auditProgress struct {
	out   io.Writer // nil: not a terminal
	since time.Time
	shown bool
}

// progressDelay is how long nothing is shown: most audits are over by then.
const progressDelay = 500 * time.Millisecond

// newAuditProgress shows progress on stderr if that is a terminal.
func newAuditProgress(stderr io.Writer) *auditProgress {
	p := &auditProgress{since: time.Now()}
	if _, ok := terminalWidth(stderr); ok {
		p.out = stderr
	}
	return p
}

// show is called for every part of the catalogue.
func (p *auditProgress) show(part string, rows int) {
	if p.out == nil || time.Since(p.since) < progressDelay {
		return
	}
	p.shown = true
	fmt.Fprintf(p.out, "\r\x1b[Kreading %s: %d", part, rows)
}

// clear takes the line away.
func (p *auditProgress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
