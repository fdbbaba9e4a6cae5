package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// demo is a throw-away PostgreSQL with two tenants and a proxy in front of it.
type demo struct {
	dir      string // holds everything, and goes at the end
	cluster  cluster
	gate     gate
	page     *page
	once     bool // the tour, then the end
	port     int  // of the proxy
	httpPort int
}

// runDemo runs the demo until it is interrupted, or the tour is over. Whatever
// happens, no process and no file of it stays behind.
func runDemo(args []string, stdout, stderr io.Writer) int {
	flags := newFlags("demo", "[-once] [-port PORT] [-http-port PORT]", stderr)
	d := &demo{page: newPage(stdout)}
	flags.BoolVar(&d.once, "once", false, "show and check in a tour what the proxy does, then end")
	flags.IntVar(&d.port, "port", 0, "`PORT` of the proxy on 127.0.0.1; 0: a free one")
	flags.IntVar(&d.httpPort, "http-port", 0, "`PORT` of its metrics on 127.0.0.1; 0: a free one")
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return code
	}
	// A reader that goes away, as in `tenantgate demo | head`, is an error of the
	// page and not the end of a process that has things to remove.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	// The server ends with the thread that started it: see cluster.start.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	err := d.run(ctx)
	removeErr := d.remove()
	if removeErr != nil {
		err = errors.Join(err, fmt.Errorf("not everything could be removed: %w", removeErr))
	}
	switch {
	case err != nil && ctx.Err() != nil && removeErr == nil:
		return fail(stderr, errors.New("interrupted, everything is removed"))
	case err != nil:
		return fail(stderr, err)
	}
	d.page.line("stopped, everything is removed")
	return exitOK
}

// run sets everything up, shows it, and returns when it is over. The caller
// removes what is left.
func (d *demo) run(ctx context.Context) error {
	begin := time.Now()
	if err := d.start(ctx); err != nil {
		return err
	}
	as := ""
	if d.cluster.user != "" {
		as = ", run by " + d.cluster.user
	}
	d.page.title("tenantgate demo")
	d.page.line("PostgreSQL %s from %s%s", d.cluster.version, d.cluster.bin, as)
	d.page.line("two tenants in five tables, tenantgate %s in front, ready in %.1f s", version, time.Since(begin).Seconds())
	if d.once {
		t := &tour{demo: d, page: d.page}
		return t.run(ctx)
	}
	if err := d.invite(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		d.page.print("")
		return nil
	case <-d.cluster.exited:
		return errors.New("PostgreSQL has ended by itself:\n" + tail(d.cluster.log()))
	case <-d.gate.over:
		return fmt.Errorf("the proxy has ended by itself: %w\n%s", d.gate.err, tail(d.gate.log))
	}
}

// start makes the directory, the server with its rows, and the proxy.
func (d *demo) start(ctx context.Context) error {
	c := &d.cluster
	var err error
	if c.bin, err = findServerBinaries(serverPlaces); err != nil {
		return err
	}
	if err = c.identity(); err != nil {
		return err
	}
	if d.port, d.httpPort, c.port, err = reservePorts(d.port, d.httpPort); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp(demoBase(c.user != ""), "tenantgate-demo-"); err != nil {
		return err
	}
	// The server's user has to pass; it can read nothing but its own directory.
	if err = os.Chmod(d.dir, 0o711); err != nil { //nolint:gosec // search permission is the purpose
		return err
	}
	c.dir = filepath.Join(d.dir, "postgres")
	c.superPassword, c.appPassword = rand.Text(), rand.Text()
	for _, step := range []func(context.Context) error{c.create, c.start, c.fill, d.startGate} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// remove ends what runs and removes the directory.
func (d *demo) remove() error {
	d.gate.stop()
	d.cluster.stop()
	if d.dir == "" {
		return nil
	}
	return os.RemoveAll(d.dir)
}

// socketPathMax is how long the path of a Unix socket may be (unix(7)).
const socketPathMax = 107

// demoBase is where the directory goes: the system's place for such, unless the
// server's user cannot go there or the socket's path would be too long.
func demoBase(otherUser bool) string {
	base := os.TempDir()
	longest := filepath.Join(base, "tenantgate-demo-4294967295", "postgres", ".s.PGSQL.65535")
	if len(longest) > socketPathMax {
		return "/tmp"
	}
	for dir := base; otherUser; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o001 == 0 {
			return "/tmp"
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return base
}

// reservePorts returns the two ports that are asked for and a third one; 0 asks
// for any free port.
func reservePorts(first, second int) (int, int, int, error) {
	var ports [3]int
	for i, wanted := range [3]int{first, second, 0} {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted)))
		if err != nil {
			return 0, 0, 0, fmt.Errorf("port %d cannot be had: %w", wanted, err)
		}
		defer l.Close() // once all are known, so that they differ
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], ports[2], nil
}

// invite prints what can be pasted into another terminal.
func (d *demo) invite() error {
	p, g := d.page, &d.gate
	for _, who := range []struct{ name, token, what string }{
		{"acme", g.acme, "the tenant acme"}, {"globex", g.globex, "the tenant globex"}, {"root", g.admin, "an administrator, who sees both"},
	} {
		p.heading("psql as " + who.what)
		p.code("PGPASSWORD=" + who.token + " psql \"" + d.keywords(who.name) + "\"")
	}
	p.heading("The same for an application: its DSN")
	for _, who := range []struct{ name, token string }{{"acme", g.acme}, {"globex", g.globex}} {
		p.code(fmt.Sprintf("postgresql://%s:%s@127.0.0.1:%d/app?sslmode=disable", who.name, who.token, d.port))
	}
	p.heading("Something to try")
	p.code("SELECT * FROM users;")
	p.code("INSERT INTO users (tenant_id, email) VALUES ('" + tenantGlobex + "', 'mallory@example.com');")
	p.code("SET app.current_tenant_id = '" + tenantGlobex + "';")
	p.heading("Behind the scenes")
	p.code(fmt.Sprintf("curl http://127.0.0.1:%d/metrics", d.httpPort))
	p.code("tail -f " + g.log)
	p.code(fmt.Sprintf("PGPASSWORD=%s psql \"host=127.0.0.1 port=%d dbname=app user=postgres sslmode=disable\"", d.cluster.superPassword, d.cluster.port))
	p.line("the last one goes round the proxy, as superuser: no policy holds there")
	p.heading("The proxy's configuration, " + g.config)
	p.block(g.configText)
	p.line("")
	p.line("note: %s", unsealed)
	p.line("Ctrl-C ends everything and removes it.")
	return p.err
}

// keywords is the connection string of a client, without its token.
func (d *demo) keywords(user string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=app user=%s sslmode=disable", d.port, user)
}
