package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// secret is the HS256 key that the proxies of the tests share with token().
const secret = "integration-test-secret-of-thirty-two-bytes-or-more"

// proxy is one running `tenantgate serve`.
type proxy struct {
	t          testing.TB
	pg         *postgres
	dir        string
	configFile string
	config     map[string]any
	port       int
	httpPort   int
	cmd        *exec.Cmd
	launched   time.Time
	exited     chan struct{} // closed when the process is gone; exitErr is set then
	exitErr    error
	log        *logBuffer
	ended      bool // the test ended it on purpose
}

// poolModes are the modes that every test runs in which does not choose one. The
// database `app` is served in the first; each further one has an entry of its own.
var poolModes = []string{"session", "transaction"}

// everyMode lists the tenant's endpoints in all the pool modes.
func (p *proxy) everyMode(x tenant, changes ...claims) []endpoint {
	all := []endpoint{p.as(x, changes...)}
	for _, mode := range poolModes[1:] {
		all = append(all, p.as(x, changes...).in("app_"+mode))
	}
	return all
}

// option changes the configuration before the proxy starts.
type option func(p *proxy)

// with sets one configuration key; path separates the levels with slashes,
// since names of settings hold dots.
func with(path string, value any) option {
	return func(p *proxy) { p.set(path, value) }
}

// set changes a key of the configuration that the next writeConfig writes.
func (p *proxy) set(path string, value any) {
	at := p.config
	keys := strings.Split(path, "/")
	for _, key := range keys[:len(keys)-1] {
		next, ok := at[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[key] = next
		}
		at = next
	}
	at[keys[len(keys)-1]] = value
}

// startProxy starts the proxy in front of pg and ends it with the test: it must
// then exit 0 on SIGTERM, with a log free of tokens, panics and data races.
func startProxy(t testing.TB, pg *postgres, options ...option) *proxy {
	t.Helper()
	p := newProxy(t, pg, options...)
	p.start(t)
	t.Cleanup(func() { p.finish(t) })
	return p
}

// newProxy prepares a proxy without starting it.
func newProxy(t testing.TB, pg *postgres, options ...option) *proxy {
	t.Helper()
	p := &proxy{t: t, pg: pg, dir: workDir(t, "gate"), port: freePort(t), httpPort: freePort(t), config: map[string]any{}}
	pw := filepath.Join(p.dir, "app_password")
	if err := os.WriteFile(pw, []byte(appPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.set("listen/address", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
	p.set("listen/loops", 2)
	p.set("http/address", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.httpPort)))
	p.set("auth/keys", []any{map[string]any{"algorithm": "HS256", "secret": secret}})
	p.set("auth/leeway", "0s")
	p.set("context/settings/app.is_admin", map[string]any{"claim": "role", "equals": "admin"})
	p.set("context/settings/app.user_id", map[string]any{"claim": "sub", "default": ""})
	p.set("limits/max_login_failures", 0)
	p.set("log/level", "debug")
	p.database("app", "app", "session", 20)
	for _, mode := range poolModes[1:] {
		p.database("app_"+mode, "app", mode, 20)
	}
	p.database("literal", "literal", "session", 5)
	for _, o := range options {
		o(p)
	}
	p.configFile = filepath.Join(p.dir, "config.yaml")
	p.writeConfig(t)
	return p
}

// database configures one entry of `databases`.
func (p *proxy) database(name, dbname, mode string, size int) {
	p.set("databases/"+name, map[string]any{
		"dsn": p.pg.backendDSN(dbname), "password_file": filepath.Join(p.dir, "app_password"), "pool_mode": mode, "pool_size": size,
	})
}

// writeConfig writes the configuration file; JSON is YAML.
func (p *proxy) writeConfig(t testing.TB) {
	t.Helper()
	text, err := json.MarshalIndent(p.config, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.configFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// launch runs the process without waiting for anything.
func (p *proxy) launch(t testing.TB) {
	t.Helper()
	p.launchAs(t, exec.Command(proxyBinary(t), "serve", "-config", p.configFile))
}

// launchAs is launch with another command line.
func (p *proxy) launchAs(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	p.log = &logBuffer{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, p.log, p.log
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=0")
	p.launched = time.Now()
	if err := spawned.run(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited, p.ended = cmd, exited, false
	go func() {
		p.exitErr = cmd.Wait()
		spawned.ended(cmd)
		close(exited)
	}()
}

// start runs the proxy and waits until it says that it is ready.
func (p *proxy) start(t testing.TB) {
	t.Helper()
	p.launch(t)
	p.awaitReady(t)
}

// awaitReady waits until the launched process says that it is ready.
func (p *proxy) awaitReady(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.exited:
			t.Fatalf("the proxy exited at its start: %v\n%s", p.exitErr, p.log.tail())
		default:
		}
		if p.ready() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the proxy is not ready\n%s", p.log.tail())
		}
	}
}

// ready asks /readyz.
func (p *proxy) ready() bool {
	r, err := p.get("/readyz")
	return err == nil && r.StatusCode == http.StatusOK
}

// get fetches a page of the proxy's HTTP side; the body is closed unread.
func (p *proxy) get(path string) (*http.Response, error) {
	c := http.Client{Timeout: 5 * time.Second}
	r, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d%s", p.httpPort, path))
	if err == nil {
		r.Body.Close()
	}
	return r, err
}

// reload writes the configuration and sends SIGHUP.
func (p *proxy) reload(t testing.TB) {
	t.Helper()
	p.writeConfig(t)
	p.signal(t, syscall.SIGHUP)
}

// signal sends a signal to the proxy.
func (p *proxy) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// waitExit waits for the process to end and returns its exit code, -1 when it
// was killed or did not end in time.
func (p *proxy) waitExit(within time.Duration) int {
	select {
	case <-p.exited:
		p.ended = true
		var exit *exec.ExitError
		if errors.As(p.exitErr, &exit) {
			return exit.ExitCode()
		}
		return 0
	case <-time.After(within):
		return -1
	}
}

// finish ends the proxy and judges its log.
func (p *proxy) finish(t testing.TB) {
	if !p.ended {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		// Clients that a failed test left behind must not hold the run up.
		if code := p.waitExit(5 * time.Second); code == -1 {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			code = p.waitExit(10 * time.Second)
			if code == -1 {
				_ = p.cmd.Process.Kill()
				<-p.exited
			}
			t.Errorf("the proxy did not drain within 5 s of SIGTERM although no client was left (exit %d)", code)
		} else if code != 0 {
			t.Errorf("the proxy ended with %d after SIGTERM", code)
		}
	}
	p.log.judge(t)
	if t.Failed() {
		t.Logf("the proxy's log:\n%s", p.log.tail())
	}
}

// residentBytes is the resident memory of the process now.
func (p *proxy) residentBytes(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// logBuffer collects what the proxy writes.
type logBuffer struct {
	mu   sync.Mutex
	text []byte
}

// Write appends.
func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

// String returns all of it.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// tail returns its end.
func (l *logBuffer) tail() string {
	text := l.String()
	if len(text) > 6000 {
		text = "…" + text[len(text)-6000:]
	}
	return text
}

// judge fails the test when the log holds what must never be there.
func (l *logBuffer) judge(t testing.TB) {
	text := l.String()
	for _, bad := range []string{"DATA RACE", "panic", "fatal error:", "eyJ", secret, appPassword} {
		if i := strings.Index(text, bad); i >= 0 {
			t.Errorf("the proxy's log holds %q: …%s…", bad, text[max(0, i-300):min(len(text), i+3000)])
		}
	}
}

// portOf is the proxy's port as text.
func portOf(p *proxy) string { return strconv.Itoa(p.port) }

// networkAddress is an IPv4 address of this machine that is not the loopback's,
// empty when there is none.
func networkAddress() string {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return ""
}
