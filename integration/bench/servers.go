package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// bench is one run: the servers, what they need, and what was measured.
type bench struct {
	options
	rungs []int
	table table

	dir      string
	as       *syscall.Credential // who PostgreSQL and PgBouncer run as; nil: we
	password string              // of the role app
	secret   string              // that signs tokens
	cert     *certificate

	pgPort   int
	postgres *process
	direct   *endpoint
	peer     *endpoint
	gate     *endpoint
	standIn  *standIn
}

// endpoint is one way to the data.
type endpoint struct {
	name     string
	port     int
	database string
	password string
	proxy    *process // nil for PostgreSQL itself
}

// in is the same endpoint with another database. PostgreSQL itself has one only.
func (e *endpoint) in(database string) *endpoint {
	other := *e
	if e.proxy != nil {
		other.database = database
	}
	return &other
}

// address is host:port.
func (e *endpoint) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(e.port)) }

var errNoPgBouncer = errors.New("there is no pgbouncer to compare with: install it (Debian, Ubuntu: apt-get install pgbouncer) or name one with -pgbouncer")

// open finds the programs, makes the cluster and starts everything.
func (b *bench) open(ctx context.Context) (err error) {
	if err = b.find(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "tenantgate-bench"); err != nil {
		return err
	}
	if err = b.own(b.dir); err != nil {
		return err
	}
	b.password, b.secret = rand.Text(), rand.Text()+rand.Text()
	if b.cert, err = newCertificate(); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"app.password": b.password, "server.crt": b.cert.certPEM, "server.key": b.cert.keyPEM,
		"users.txt": fmt.Sprintf("%q %q\n", "app", b.password),
	} {
		if err := b.write(name, text); err != nil {
			return err
		}
	}
	progress("starting PostgreSQL, PgBouncer and tenantgate in %s", b.dir)
	if err = b.startPostgres(ctx); err != nil {
		return err
	}
	b.direct = &endpoint{name: "direct", port: b.pgPort, database: "bench", password: b.password}
	if b.peer, err = b.startPgBouncer(b.pgPort, sessionPool); err != nil {
		return err
	}
	b.gate, err = b.startGate(b.pgPort, sessionPool, 0)
	return err
}

// find looks for the programs.
func (b *bench) find() error {
	path, err := filepath.Abs(b.tenantgate)
	if err != nil {
		return err
	}
	if b.tenantgate = path; !runs(path) {
		return fmt.Errorf("%s is no program: make build", path)
	}
	for _, place := range []string{b.pgbouncer, "pgbouncer", "/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer"} {
		if path, err := exec.LookPath(place); err == nil && place != "" {
			b.pgbouncer = path
			break
		} else if place != "" && place == b.pgbouncer {
			return fmt.Errorf("-pgbouncer: %w", err)
		}
	}
	if b.pgbouncer == "" {
		return errNoPgBouncer
	}
	if b.bin == "" {
		b.bin = serverPrograms()
	}
	for _, name := range postgresPrograms {
		if !runs(filepath.Join(b.bin, name)) {
			return fmt.Errorf("there is no %s in %q: install PostgreSQL (Debian, Ubuntu: apt-get install postgresql) or name its directory with -postgres", name, b.bin)
		}
	}
	return b.chooseUser()
}

// postgresPrograms are what is needed of PostgreSQL.
var postgresPrograms = []string{"initdb", "postgres", "pgbench", "psql"}

// serverPrograms returns the directory of PostgreSQL's programs: where initdb on
// PATH comes from, else the newest of Debian's.
func serverPrograms() string {
	places, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
	slices.Sort(places)
	if path, err := exec.LookPath("initdb"); err == nil {
		if target, err := filepath.EvalSymlinks(path); err == nil {
			places = append(places, filepath.Dir(target))
		}
	}
	for _, place := range slices.Backward(places) {
		if !slices.ContainsFunc(postgresPrograms, func(name string) bool { return !runs(filepath.Join(place, name)) }) {
			return place
		}
	}
	return ""
}

// runs says whether path is a file that somebody may run.
func runs(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// chooseUser finds who PostgreSQL and PgBouncer run as when we are root: both
// refuse to run as root.
func (b *bench) chooseUser() error {
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
			b.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			return nil
		}
	}
	return errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it")
}

// own gives a file to the user that PostgreSQL runs as.
func (b *bench) own(path string) error {
	if b.as == nil {
		return nil
	}
	return os.Chown(path, int(b.as.Uid), int(b.as.Gid))
}

// write makes a file of the run.
func (b *bench) write(name, text string) error {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return b.own(path)
}

// close ends and removes everything.
func (b *bench) close() {
	for _, e := range []*endpoint{b.gate, b.peer} {
		if e != nil {
			e.proxy.stop(syscall.SIGKILL)
		}
	}
	b.standIn.close()
	b.postgres.stop(syscall.SIGQUIT)
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // a directory for temporary files is cleaned by others too
	}
}

// freePort finds a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// listens says whether somebody accepts connections on the port.
func listens(port int) bool {
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
