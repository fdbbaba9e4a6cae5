package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// demoSchema makes the tables, policies and grants of the demo, as app_owner.
//
//go:embed demo_schema.sql
var demoSchema string

// demoData fills them for both tenants, as superuser.
//
//go:embed demo_data.sql
var demoData string

// errNoPostgres says what to do where there is no server to start.
var errNoPostgres = errors.New(`no PostgreSQL server on this machine: neither initdb on PATH nor in /usr/lib/postgresql/*/bin.
Install one, for example:
  Debian, Ubuntu   apt-get install postgresql
  Fedora, RHEL     dnf install postgresql-server
  Alpine           apk add postgresql`)

// How long the server may take for what usually takes a second.
const (
	clusterStartTime = 60 * time.Second
	clusterStopTime  = 10 * time.Second
)

// cluster is a PostgreSQL server in a directory of its own, which lasts as long
// as the demo. Its processes die with this one.
type cluster struct {
	bin     string // directory of the server's programs
	dir     string // holds data, the socket and the log
	port    int    // on 127.0.0.1
	as      *syscall.SysProcAttr
	user    string // who it runs as; empty: who we are
	version string // as the server tells it

	superPassword string
	appPassword   string

	server *exec.Cmd
	exited chan struct{} // closed when the server has ended
}

// serverPlaces are where the server's programs are when they are not on PATH:
// Debian, PGDG's RPMs, Alpine, and a build from source.
var serverPlaces = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*", "/usr/local/pgsql/bin"}

// findServerBinaries returns the directory of initdb and postgres: on PATH, else
// the newest of the first place that has any.
func findServerBinaries(places []string) (string, error) {
	var dirs []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if target, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(target))
		}
	}
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // the pattern is well formed
		slices.SortFunc(found, func(a, b string) int { return cmp.Compare(numberIn(b), numberIn(a)) })
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if isProgram(filepath.Join(dir, "initdb")) && isProgram(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", errNoPostgres
}

// numberIn returns the digits of a path as one number: 15 of
// /usr/lib/postgresql/15/bin, so that 15 comes before 9.6.
func numberIn(path string) float64 {
	number := strings.Trim(strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return -1
	}, path), ".")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return n
}

// isProgram says whether path is a file that somebody may run.
func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// identity makes the server run as postgres, else nobody, when we are root:
// PostgreSQL refuses to. Its processes form a group of their own, so that Ctrl-C
// reaches them through us only.
func (c *cluster) identity() error {
	c.as = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			c.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			c.user = name
			return nil
		}
	}
	return errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it: start the demo as an ordinary user")
}

// own hands a file over to the user of the server.
func (c *cluster) own(path string) error {
	if c.as.Credential == nil {
		return nil
	}
	return os.Chown(path, int(c.as.Credential.Uid), int(c.as.Credential.Gid))
}

// command prepares a program of the server, with an environment that says
// nothing of ours.
func (c *cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	attributes := *c.as
	cmd.SysProcAttr = &attributes
	// The whole group: initdb has children of its own.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = clusterStopTime
	return cmd
}

// create makes the data directory inside c.dir.
func (c *cluster) create(ctx context.Context) error {
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return err
	}
	if err := c.own(c.dir); err != nil {
		return err
	}
	password := filepath.Join(c.dir, "password")
	if err := os.WriteFile(password, []byte(c.superPassword+"\n"), 0o600); err != nil {
		return err
	}
	if err := c.own(password); err != nil {
		return err
	}
	cmd := c.command(ctx, "initdb", "-D", filepath.Join(c.dir, "data"), "-U", "postgres", "-E", "UTF8", "--locale=C",
		"--no-sync", "-A", "scram-sha-256", "--pwfile", password)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// start runs the server until stop and waits until it takes logins. The caller
// has locked its thread: the server ends when that thread does.
func (c *cluster) start(ctx context.Context) error {
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// Not ctx: the server is to end in good order, by stop.
	cmd := c.command(context.Background(), "postgres", "-D", filepath.Join(c.dir, "data"), "-k", c.dir, "-p", strconv.Itoa(c.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60", "-c", "shared_buffers=16MB", "-c", "fsync=off",
		"-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "password_encryption=scram-sha-256")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.server, c.exited = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // why it ended stands in its log
		close(c.exited)
	}()
	ctx, cancel := context.WithTimeout(ctx, clusterStartTime)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		conn, err := c.connect(ctx, "postgres")
		if err == nil {
			c.version = conn.ParameterStatus("server_version")
			return conn.Close(ctx)
		}
		select {
		case <-pause.C:
		case <-c.exited:
			return fmt.Errorf("PostgreSQL ended at its start:\n%s", tail(c.log()))
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not take logins: %w\n%s", ctx.Err(), tail(c.log()))
		}
	}
}

// connect opens a superuser's connection.
func (c *cluster) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=postgres sslmode=disable", c.port, database))
	if err != nil {
		return nil, err
	}
	config.Password = c.superPassword
	return pgconn.ConnectConfig(ctx, config)
}

// fill makes the roles, the database app, its tables and their rows.
func (c *cluster) fill(ctx context.Context) error {
	for _, step := range []struct{ database, sql string }{
		{"postgres", "CREATE ROLE app_owner NOLOGIN;\nCREATE ROLE app_user LOGIN PASSWORD '" + c.appPassword + "'"},
		{"postgres", "CREATE DATABASE app OWNER app_owner"},
		{"app", "ALTER SCHEMA public OWNER TO app_owner;\nREVOKE CREATE ON SCHEMA public FROM PUBLIC"},
		{"app", "SET ROLE app_owner;\n" + demoSchema},
		{"app", demoData},
		{"app", "ANALYZE"},
	} {
		if _, err := c.query(ctx, step.database, step.sql); err != nil {
			return fmt.Errorf("the sample schema: %w", err)
		}
	}
	return nil
}

// query runs SQL as superuser, who sees every row, and returns the rows of the
// last statement.
func (c *cluster) query(ctx context.Context, database, sql string) ([][]string, error) {
	conn, err := c.connect(ctx, database)
	if err != nil {
		return nil, err
	}
	defer closeSoon(conn)
	return simpleQuery(ctx, conn, sql)
}

// stop ends the server: open connections are closed first, and what does not
// end by itself is killed. It may be called at any time, also before start.
func (c *cluster) stop() {
	if c.server == nil {
		return
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} { // fast, immediate shutdown
		_ = c.server.Process.Signal(s)
		select {
		case <-c.exited:
			return
		case <-time.After(clusterStopTime):
		}
	}
	_ = syscall.Kill(-c.server.Process.Pid, syscall.SIGKILL)
	<-c.exited
}

// log is the path of what the server logs.
func (c *cluster) log() string { return filepath.Join(c.dir, "log") }

// tail returns the end of a log for an error's text.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return string(text)
}

// simpleQuery runs SQL by the simple protocol and returns the rows of its last
// statement as text; NULL is empty.
func simpleQuery(ctx context.Context, conn *pgconn.PgConn, sql string) ([][]string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	var rows [][]string
	for _, row := range results[len(results)-1].Rows {
		cells := make([]string, 0, len(row))
		for _, cell := range row {
			cells = append(cells, string(cell))
		}
		rows = append(rows, cells)
	}
	return rows, nil
}

// closeSoon closes a connection that is not needed any more.
func closeSoon(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
