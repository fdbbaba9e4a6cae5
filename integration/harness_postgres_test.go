package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// The passwords of the roles that the harness makes.
const (
	superPassword = "super-secret-of-the-cluster"
	appPassword   = "app-user's-own password"
)

// postgres is one running cluster in a directory of its own.
type postgres struct {
	t        testing.TB
	bin      string // directory of the server binaries
	dir      string
	port     int
	settings []string // further `-c` values
	as       *syscall.Credential
	cmd      *exec.Cmd
	exited   chan struct{}
	logFile  *os.File
}

// shared is the cluster of all the tests that break nothing.
var shared struct {
	once sync.Once
	pg   *postgres
}

// sharedPostgres returns the cluster that the package shares.
func sharedPostgres(t testing.TB) *postgres {
	t.Helper()
	shared.once.Do(func() { shared.pg = newPostgres(t) })
	if shared.pg == nil {
		t.Fatal("the shared cluster did not start")
	}
	return shared.pg
}

// startPostgres starts a cluster for one test; settings are `name=value`.
func startPostgres(t testing.TB, settings ...string) *postgres {
	t.Helper()
	p := newPostgres(t, settings...)
	t.Cleanup(func() {
		if t.Failed() {
			p.dumpLog(t)
		}
		p.destroy()
	})
	return p
}

// serverBinaries finds the directory of initdb and postgres: the one that -postgres
// asks for, among what install.sh fetched and what is installed.
func serverBinaries(t testing.TB) string {
	t.Helper()
	version := *postgresVersion
	if filepath.IsAbs(version) {
		return version
	}
	places := []string{"../.cache/servers/node_modules/postgres" + version + "/native/bin", "/usr/lib/postgresql/" + version + "/bin"}
	if version == "" {
		if path, err := exec.LookPath("initdb"); err == nil {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				path = real
			}
			return filepath.Dir(path)
		}
		places = []string{"/usr/lib/postgresql/*/bin"}
	}
	for _, place := range places {
		found, _ := filepath.Glob(filepath.Join(place, "initdb"))
		if len(found) > 0 {
			slices.Sort(found)
			path, err := filepath.Abs(found[len(found)-1])
			if err != nil {
				t.Fatal(err)
			}
			return filepath.Dir(path)
		}
	}
	t.Fatalf("no PostgreSQL server %s in %s: install.sh installs one, `install.sh servers` those of the matrix", version, places)
	return ""
}

// serverUser is who the server runs as: PostgreSQL refuses to run as root.
func serverUser(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if errU == nil && errG == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}
		}
	}
	t.Fatal("running as root, and there is neither a postgres nor a nobody user")
	return nil
}

// newPostgres makes, starts and fills a cluster.
func newPostgres(t testing.TB, settings ...string) *postgres {
	t.Helper()
	p := &postgres{t: t, bin: serverBinaries(t), as: serverUser(t), settings: settings, port: freePort(t), dir: workDir(t, "pg")}
	p.initdb(t)
	p.start(t)
	p.fill(t)
	return p
}

// own hands a file over to the user of the server.
func (p *postgres) own(t testing.TB, path string) {
	t.Helper()
	if p.as == nil {
		return
	}
	if err := os.Chown(path, int(p.as.Uid), int(p.as.Gid)); err != nil {
		t.Fatal(err)
	}
}

// write puts a file that only the server may read into the cluster's directory.
func (p *postgres) write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.own(t, path)
	return path
}

// initdb makes the data directory. Roles in direct_login give their password in
// clear text, so that a client's code is the same direct and through the proxy.
func (p *postgres) initdb(t testing.TB) {
	t.Helper()
	p.own(t, p.dir)
	pw := p.write(t, "pw", superPassword)
	cmd := exec.Command(filepath.Join(p.bin, "initdb"), "-D", filepath.Join(p.dir, "data"), "-U", "postgres", "-E", "UTF8",
		"--locale=C", "--no-sync", "-A", "scram-sha-256", "--pwfile", pw)
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	cert := newCertificate(t, "postgres", "127.0.0.1", "localhost")
	p.write(t, "data/server.crt", cert.certPEM)
	p.write(t, "data/server.key", cert.keyPEM)
	p.write(t, "data/pg_hba.conf", "host all +direct_login 127.0.0.1/32 password\nhost all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n")
}

// start runs the server and waits until it accepts logins.
func (p *postgres) start(t testing.TB) {
	t.Helper()
	args := []string{"-D", filepath.Join(p.dir, "data"), "-k", p.dir, "-p", strconv.Itoa(p.port)}
	for _, s := range append([]string{
		"listen_addresses=127.0.0.1", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=150",
		"shared_buffers=32MB", "autovacuum=off", "ssl=on", "log_min_messages=warning", "max_prepared_transactions=4",
	}, p.settings...) {
		args = append(args, "-c", s)
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	if err := spawned.run(cmd, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited, p.logFile = cmd, exited, log
	go func() {
		_ = cmd.Wait()
		spawned.ended(cmd)
		log.Close()
		close(exited)
	}()
	eventually(t, 30*time.Second, "PostgreSQL accepts logins", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		c, err := pgconn.Connect(ctx, p.superDSN("postgres"))
		if err == nil {
			err = c.Close(ctx)
		}
		return err == nil
	})
}

// superDSN is the superuser's way into one database.
func (p *postgres) superDSN(database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=postgres password=%s sslmode=disable", p.port, database, superPassword)
}

// backendDSN is what the proxy is configured with, without the password.
func (p *postgres) backendDSN(database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=app_user sslmode=disable", p.port, database)
}

// exec runs statements as superuser and returns the rows of the last one.
func (p *postgres) exec(t testing.TB, database, sql string) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c, err := pgconn.Connect(ctx, p.superDSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("as superuser: %v\n%s", err, sql)
	}
	var rows [][]string
	for _, row := range results[len(results)-1].Rows {
		var cells []string
		for _, cell := range row {
			cells = append(cells, string(cell))
		}
		rows = append(rows, cells)
	}
	return rows
}

// count runs a query that gives one number as superuser.
func (p *postgres) count(t testing.TB, database, sql string) int {
	t.Helper()
	n, err := strconv.Atoi(p.exec(t, database, sql)[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// signal sends a signal to the postmaster.
func (p *postgres) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// stop ends the server at once (fast shutdown, then by force).
func (p *postgres) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-p.exited
	}
}

// destroy ends the server and removes its directory.
func (p *postgres) destroy() {
	p.stop()
	_ = os.RemoveAll(p.dir)
}

// dumpLog shows the end of the server's log.
func (p *postgres) dumpLog(t testing.TB) {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	if len(text) > 4000 {
		text = text[len(text)-4000:]
	}
	t.Logf("PostgreSQL's log:\n%s", text)
}
