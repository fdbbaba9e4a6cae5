package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A fenced block of README.md or SECURITY.md whose info string has `test` as its
// second word is run: `sql test ROLE` or `sql test ROLE@DATABASE` by psql, `sh
// test` by bash, `yaml test FILE` is written to that file, `sh test serve` runs
// until the end. A block `text output` holds lines that the block before it
// prints, in this order and with others between.

// docBlock is a block that is run.
type docBlock struct {
	at     string // file and line
	lang   string
	how    string // the third word of the info string
	text   string
	output string // "": not looked at
}

// docBlocks reads the blocks of a file of the root directory.
func docBlocks(t testing.TB, file string) []docBlock {
	t.Helper()
	var blocks []docBlock
	var open *docBlock
	var body strings.Builder
	output := false
	for n, line := range strings.Split(readRoot(t, file), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case !isFence:
			if open != nil || output {
				body.WriteString(line + "\n")
			}
		case open != nil:
			open.text = body.String()
			blocks, open = append(blocks, *open), nil
		case output:
			blocks[len(blocks)-1].output, output = body.String(), false
		default:
			body.Reset()
			words := append(strings.Fields(fence), "", "", "")
			output = words[0] == "text" && words[1] == "output"
			if words[1] == "test" {
				open = &docBlock{at: fmt.Sprintf("%s:%d", file, n+1), lang: words[0], how: words[2]}
			}
		}
	}
	return blocks
}

// readRoot reads a file of the root directory.
func readRoot(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docMachine is what the blocks run on: a PostgreSQL without anything in it, a
// directory, and a proxy once `sh test serve` was met.
type docMachine struct {
	t        *testing.T
	pg       *postgres
	dir      string
	gate     *proxy
	ports    *strings.Replacer
	password map[string]string
}

// newDocMachine starts the PostgreSQL.
func newDocMachine(t *testing.T) *docMachine {
	pg := &postgres{t: t, bin: serverBinaries(t), as: serverUser(t), port: freePort(t), dir: workDir(t, "pg")}
	pg.initdb(t)
	pg.start(t)
	t.Cleanup(pg.destroy)
	m := &docMachine{t: t, pg: pg, dir: workDir(t, "doc")}
	m.password = map[string]string{"postgres": superPassword, "app_owner": "choose-one", "app_user": "choose-another"}
	m.gate = m.proxy("tenantgate.yaml")
	m.ports = strings.NewReplacer("5432", fmt.Sprint(pg.port), "6432", fmt.Sprint(m.gate.port), "9127", fmt.Sprint(m.gate.httpPort))
	if err := os.Symlink(proxyBinary(t), filepath.Join(m.dir, "tenantgate")); err != nil {
		t.Fatal(err)
	}
	return m
}

// proxy prepares a proxy with a configuration file of the directory.
func (m *docMachine) proxy(config string) *proxy {
	return &proxy{
		t: m.t, pg: m.pg, dir: m.dir, configFile: filepath.Join(m.dir, config),
		port: freePort(m.t), httpPort: freePort(m.t), config: map[string]any{},
	}
}

// run runs one block.
func (m *docMachine) run(b docBlock) {
	t := m.t
	t.Helper()
	var command []string
	switch b.lang + " " + b.how {
	case "sh ":
		command = []string{"bash", "-euc", m.ports.Replace(b.text)}
	case "sh serve":
		if strings.TrimSpace(b.text) != "tenantgate serve -config tenantgate.yaml" {
			t.Fatalf("%s: %q is not what the harness runs", b.at, b.text)
		}
		m.gate.start(t)
		t.Cleanup(func() { m.gate.finish(t) })
		return
	case "yaml " + b.how:
		if err := os.WriteFile(filepath.Join(m.dir, b.how), []byte(m.ports.Replace(b.text)), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	case "sql " + b.how:
		role, database, ok := strings.Cut(b.how, "@")
		if !ok {
			database = map[string]string{"postgres": "postgres"}[role]
			if database == "" {
				database = "app"
			}
		}
		command = []string{"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", fmt.Sprintf(
			"host=127.0.0.1 port=%d user=%s dbname=%s password='%s'", m.pg.port, role, database, quoteDSN(m.password[role]))}
	default:
		t.Fatalf("%s: nobody knows how to run %s %s", b.at, b.lang, b.how)
	}
	out := m.command(b.text, command...)
	rest := strings.Split(out, "\n")
	for line := range strings.Lines(b.output) {
		line = strings.TrimSuffix(line, "\n")
		n := slices.Index(rest, line)
		if n < 0 {
			t.Errorf("%s: %q does not come, or not in this order:\n%s", b.at, line, out)
			return
		}
		rest = rest[n+1:]
	}
}

// command runs a program in the directory and returns all that it printed.
func (m *docMachine) command(input string, command ...string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Stdin = m.dir, strings.NewReader(input)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") && !strings.HasPrefix(variable, "PATH=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "PATH="+m.dir+":"+os.Getenv("PATH"), "PSQLRC=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s\n%s", command[0], err, input, out)
	}
	return string(out)
}

// client logs in through a proxy with a token of `tenantgate token`.
func (m *docMachine) client(through *proxy, tenant string, flags ...string) *pgconn.PgConn {
	m.t.Helper()
	command := append([]string{"tenantgate", "token", "-config", "tenantgate.yaml", "-tenant", tenant}, flags...)
	command[0] = filepath.Join(m.dir, command[0])
	return endpoint{
		name: "proxy", host: "127.0.0.1", port: through.port, user: "me", database: "app",
		password: strings.TrimSpace(m.command("", command...)),
	}.pgconn(m.t)
}

// direct connects a role to PostgreSQL itself.
func (m *docMachine) direct(role string) *pgconn.PgConn {
	m.t.Helper()
	return endpoint{name: "direct", host: "127.0.0.1", port: m.pg.port, user: role, password: m.password[role], database: "app"}.pgconn(m.t)
}

// The tenants of the README.
const (
	docAcme   = "11111111-1111-4111-8111-111111111111"
	docGlobex = "22222222-2222-4222-8222-222222222222"
)

// docTables are the README's tables with a tenant, and how a tenant adds a row.
var docTables = [][2]string{
	{"users", "(email) VALUES ('somebody')"},
	{"organizations", "(name) VALUES ('an organization')"},
	{"projects", "(organization_id, name) SELECT id, 'a project' FROM organizations"},
	{"audit_logs", "(project_id, action) SELECT id, 'created' FROM projects"},
	{"invoices", "(organization_id, amount) SELECT id, 10 FROM organizations"},
}

// TestTheReadmeDoesWhatItSays follows the README on a fresh PostgreSQL, from the
// roles to psql, and holds its schema and its metrics to what it says of them.
func TestTheReadmeDoesWhatItSays(t *testing.T) {
	m := newDocMachine(t)
	blocks := docBlocks(t, "README.md")
	if len(blocks) < 8 {
		t.Fatalf("README.md has %d blocks to run only", len(blocks))
	}
	for _, sql := range []bool{true, false} { // the schema stands behind the quick start that points at it
		for _, b := range blocks {
			if (b.lang == "sql") == sql {
				m.run(b)
			}
		}
	}
	m.schemaIsolates()
	m.contextIsGuarded()
	m.unlistedSettingIsFree()
	for _, b := range docBlocks(t, "SECURITY.md") {
		m.run(b)
	}
	m.doorsAreClosed()
	m.metricsAreNamed()
}

// schemaIsolates fills every table as both tenants and looks across.
func (m *docMachine) schemaIsolates() {
	t := m.t
	clients := map[string]*pgconn.PgConn{docAcme: m.client(m.gate, docAcme), docGlobex: m.client(m.gate, docGlobex)}
	for _, c := range clients {
		for _, table := range docTables {
			query(t, c, "INSERT INTO "+table[0]+" "+table[1])
		}
	}
	bare, owner := m.direct("app_user"), m.direct("app_owner")
	foreign := m.pg.exec(t, "app", "SELECT min(id) FROM organizations WHERE tenant_id = '"+docGlobex+"'")[0][0]
	c := clients[docAcme]
	for _, table := range docTables {
		name := table[0]
		if all := m.pg.count(t, "app", "SELECT count(DISTINCT tenant_id) FROM "+name); all != 2 {
			t.Errorf("%s: rows of %d tenants", name, all)
		}
		if seen := query(t, c, "SELECT DISTINCT tenant_id FROM "+name); len(seen) != 1 || seen[0][0] != docAcme {
			t.Errorf("%s: acme sees %v", name, seen)
		}
		if seen := one(t, bare, "SELECT count(*) FROM "+name) + one(t, owner, "SELECT count(*) FROM "+name); seen != "00" {
			t.Errorf("%s: without a context the application's role and the owner see %s rows", name, seen)
		}
		if got := sqlstate(c, "UPDATE "+name+" SET tenant_id = '"+docGlobex+"'"); got != "42501" {
			t.Errorf("%s: moving rows to globex: %q", name, got)
		}
		if plan := fmt.Sprint(query(t, c, "SET enable_seqscan = off; EXPLAIN SELECT * FROM "+name)); name != "users" && !strings.Contains(plan, "Index Cond: (tenant_id =") {
			t.Errorf("%s: the policy does not use the index: %s", name, plan)
		} else if name == "users" && strings.Contains(plan, "Index Cond") {
			t.Errorf("users: the administrators' policy does not cost the index: %s", plan)
		}
	}
	if got := sqlstate(c, "INSERT INTO projects (organization_id, name) VALUES ("+foreign+", 'x')"); got != "23503" {
		t.Errorf("a project of globex's organization: %q", got)
	}
	if seen := query(t, c, "SELECT name FROM tenants"); len(seen) != 1 || seen[0][0] != "acme" {
		t.Errorf("acme sees the tenants %v", seen)
	}
	if seen := one(t, m.client(m.gate, docAcme, "-claim", "role=admin"), "SELECT count(DISTINCT tenant_id) FROM users"); seen != "2" {
		t.Errorf("an administrator sees the users of %s tenants", seen)
	}
}

// contextIsGuarded holds what the README says of an application that sets the
// tenant itself, and of RESET ALL in front of a statement.
func (m *docMachine) contextIsGuarded() {
	t := m.t
	c := m.client(m.gate, docAcme)
	for sql, want := range map[string]string{
		"SET app.current_tenant_id = '" + docAcme + "'":                          "",
		"SELECT set_config('app.current_tenant_id', '" + docAcme + "', false)":   "",
		"SET app.is_admin = false":                                               "",
		"SET app.is_admin = true":                                                "42501",
		"SELECT set_config('app.current_tenant_id', '" + docGlobex + "', false)": "42501",
		"DO $$ BEGIN END $$":                                                     "42501",
		"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'":             "42501",
		"SELECT lo_create(0)":                                                    "",
		"SELECT pg_terminate_backend(0)":                                         "42501",
		"BEGIN; LOCK TABLE users; ROLLBACK":                                      "",
	} {
		if got := sqlstate(c, sql); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
	for value, want := range map[string]string{docAcme: "", docGlobex: "42501"} {
		var refused *pgconn.PgError
		bound := c.ExecParams(context.Background(), "SELECT set_config('app.current_tenant_id', $1, false)", [][]byte{[]byte(value)}, nil, nil, nil).Read()
		if errors.As(bound.Err, &refused) != (want != "") || refused != nil && refused.Code != want {
			t.Errorf("%s as a bound value: %v", value, bound.Err)
		}
	}
	if seen := one(t, c, "RESET ALL; SELECT count(*) FROM users"); seen != "0" {
		t.Errorf("behind RESET ALL in one string: %s rows", seen)
	}
	if seen := one(t, c, "SELECT count(*) FROM users"); seen == "0" {
		t.Error("the next message has no tenant")
	}
}

// unlistedSettingIsFree holds the warning that a setting which the configuration
// does not know is not guarded.
func (m *docMachine) unlistedSettingIsFree() {
	t := m.t
	text, err := os.ReadFile(m.gate.configFile)
	if err != nil {
		t.Fatal(err)
	}
	p := m.proxy("unlisted.yaml")
	without := regexp.MustCompile(`(?m)^context:\n(?:  .*\n)+`).ReplaceAllString(string(text), "")
	without = strings.NewReplacer(fmt.Sprint(m.gate.port), fmt.Sprint(p.port), fmt.Sprint(m.gate.httpPort), fmt.Sprint(p.httpPort)).Replace(without)
	if err := os.WriteFile(p.configFile, []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	defer p.finish(t)
	c := m.client(p, docAcme)
	query(t, c, "SET app.is_admin = 'true'")
	if seen := one(t, c, "SELECT count(DISTINCT tenant_id) FROM users"); seen != "2" {
		t.Errorf("with app.is_admin set by itself a client sees the users of %s tenants", seen)
	}
	closeSoon(c)
}

// doorsAreClosed holds what the REVOKEs of SECURITY.md promise, past the guard.
func (m *docMachine) doorsAreClosed() {
	t := m.t
	bare := m.direct("app_user")
	for _, sql := range []string{
		"SELECT pg_terminate_backend(0)", "SELECT * FROM pg_stat_activity", "SELECT pg_stat_get_activity(NULL)", "SELECT lo_create(0)",
		"SELECT pg_notify('a', 'b')", "SELECT query_to_xml('select 1', true, true, '')", "DO $$ BEGIN END $$",
		"CREATE TABLE public.x (a int)", "TRUNCATE users",
	} {
		if got := sqlstate(bare, sql); got != "42501" {
			t.Errorf("%s: %q", sql, got)
		}
	}
	if seen := one(t, m.client(m.gate, docGlobex), "SELECT count(DISTINCT tenant_id) FROM users"); seen != "1" {
		t.Errorf("globex sees the users of %s tenants", seen)
	}
}

// metricsAreNamed makes every metric appear and compares them with the README's.
func (m *docMachine) metricsAreNamed() {
	t := m.t
	c := m.client(m.gate, docAcme)
	if err := c.CancelRequest(context.Background()); err != nil {
		t.Fatal(err)
	}
	query(t, c, "BEGIN")
	closeSoon(c) // in a transaction: its backend is discarded
	documented := names("`(tenantgate_[a-z_]+)`", readRoot(t, "README.md"))
	var served []string
	eventually(t, 5*time.Second, "every metric is served", func() bool {
		served = names(`(?m)^# TYPE (tenantgate_[a-z_]+)`, m.scrape())
		return len(served) >= len(documented)
	})
	if !slices.Equal(documented, served) {
		t.Errorf("README.md names\n %v\nand there are\n %v", documented, served)
	}
}

// scrape returns the text of /metrics.
func (m *docMachine) scrape() string {
	m.t.Helper()
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", m.gate.httpPort))
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Body.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, r.Body); err != nil {
		m.t.Fatal(err)
	}
	return text.String()
}

// sqlstate runs SQL and returns the code of its error, "" without one.
func sqlstate(c *pgconn.PgConn, sql string) string {
	_, err := tryQuery(c, sql)
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refused):
		return refused.Code
	}
	return err.Error()
}

// names returns what the pattern (its group, if it has one) finds, sorted, each once.
func names(pattern, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[len(match)-1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}
