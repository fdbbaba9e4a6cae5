package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ends reads until the server closes, and checks the FATAL's code and the time
// that it took.
func ends(t *testing.T, w *wire, code string, least, most time.Duration) {
	t.Helper()
	started := time.Now()
	frames := w.rest(most + 5*time.Second)
	took := time.Since(started)
	severity, got := lastError(frames)
	if code != "" && (severity != "FATAL" || got != code) {
		t.Errorf("ended with %s, want FATAL %s", show(frames), code)
	}
	if took < least || took > most {
		t.Errorf("ended after %v, want %v to %v", took, least, most)
	}
}

// TestALoginHasOneDeadline is slow at every step of a login; dripping bytes does
// not extend it.
func TestALoginHasOneDeadline(t *testing.T) {
	pg, cert := sharedPostgres(t), localCertificate(t)
	p := startProxy(t, pg, servingTLS(t, cert, "prefer"), with("timeouts/client_login_timeout", "2s"))
	innocent(t, p.as(tenantB))
	ep := p.as(tenantA)
	hello := startup("user", ep.user, "database", ep.database)
	for name, say := range map[string]func(w *wire){
		"nothing":               func(*wire) {},
		"half a length":         raw(hello[:2]),
		"half a startup":        raw(hello[:11]),
		"no password":           raw(hello),
		"half a password":       raw(hello, password(ep.password)[:20]),
		"no hello after SSL":    raw(untyped(codeSSL)),
		"no startup after TLS":  func(w *wire) { _ = w.requestTLS(cert.client()) },
		"half a direct hello":   raw([]byte{0x16, 3, 1, 2}),
		"half a cancel":         raw(cancelRequest(1, []byte{1, 2, 3, 4})[:9]),
		"a startup dripped in":  drip(hello),
		"a password dripped in": func(w *wire) { w.send(hello); drip(password(ep.password))(w) },
		"an SSLRequest, then drips": func(w *wire) {
			sslAnswer(w)
			drip([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9})(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ep.dial(t)
			started := time.Now()
			say(w)
			for {
				if _, err := w.r.ReadByte(); err != nil {
					break
				}
			}
			if took := time.Since(started); took < 1500*time.Millisecond || took > 5*time.Second {
				t.Errorf("the connection lived for %v", took)
			}
		})
	}
}

// drip sends the bytes one by one, in the background, for longer than a login may take.
func drip(bytes []byte) func(w *wire) {
	return func(w *wire) {
		conn := w.conn
		go func() {
			for _, b := range bytes {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(300 * time.Millisecond)
			}
		}()
		_ = w.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
}

// TestIdleClientsEnd holds client_idle_timeout and idle_transaction_timeout, and
// that neither touches a client that works.
func TestIdleClientsEnd(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("timeouts/client_idle_timeout", "1500ms"))
	for _, ep := range p.everyMode(tenantA) {
		busy := ep.login(t)
		busy.send(simple("SELECT 'slow', pg_sleep(2.5)"))
		ends(t, ep.login(t), "57P05", 1200*time.Millisecond, 4*time.Second)
		if got := show(busy.until('Z', 1)); !strings.Contains(got, "D[slow|]") {
			t.Errorf("a busy client read %s", got)
		}
		ends(t, busy, "57P05", 1200*time.Millisecond, 4*time.Second)
	}
	p = startProxy(t, pg, with("timeouts/idle_transaction_timeout", "1500ms"))
	for _, ep := range p.everyMode(tenantA) {
		idle := ep.login(t)
		w := ep.login(t)
		w.do(simple("BEGIN; INSERT INTO users (email) VALUES ('idle@transaction')"))
		ends(t, w, "25P03", 1200*time.Millisecond, 4*time.Second)
		failed := ep.login(t)
		failed.do(simple("BEGIN; SELECT 1/0"))
		ends(t, failed, "25P03", 1200*time.Millisecond, 4*time.Second)
		if got := idle.value("SELECT count(*) FROM users"); got != "10" {
			t.Errorf("a client outside of a transaction sees %s users", got)
		}
	}
}

// TestBackendsRetire holds server_idle_timeout and server_lifetime.
func TestBackendsRetire(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("timeouts/server_idle_timeout", "1s"))
	w := p.as(tenantA).login(t)
	idle := w.value("SELECT pg_backend_pid()")
	depart(w, "Terminate")
	eventually(t, 10*time.Second, "an idle backend is closed", func() bool {
		return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE pid = "+idle) == 0
	})
	p = startProxy(t, pg, with("timeouts/server_lifetime", "1s"), func(p *proxy) { p.database("app", "app", "session", 1) })
	pid := func() string {
		w := p.as(tenantA).login(t)
		defer depart(w, "Terminate")
		return w.value("SELECT pg_backend_pid()")
	}
	first := pid()
	eventually(t, 10*time.Second, "the backend is replaced", func() bool { return pid() != first })
	if m := p.metrics(t); m.sum("server_connections") > 1 {
		t.Errorf("%v", m.of("server_connections", "server_discarded_total"))
	}
}

// TestAServerThatNeverAnswersIsGivenUp dials a port that accepts and says nothing.
func TestAServerThatNeverAnswersIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pg := sharedPostgres(t)
	p := newProxy(t, pg, with("timeouts/server_connect_timeout", "1500ms"), with("timeouts/query_wait_timeout", "20s"), func(p *proxy) {
		p.set("databases/silent", map[string]any{
			"dsn":           fmt.Sprintf("host=127.0.0.1 port=%d dbname=app user=app_user sslmode=disable", l.Addr().(*net.TCPAddr).Port),
			"password_file": filepath.Join(p.dir, "app_password"), "pool_size": 2,
		})
	})
	p.launch(t)
	defer p.finish(t)
	eventually(t, 10*time.Second, "the proxy serves its other databases", func() bool {
		w, err := p.as(tenantA).tryDial(t)
		if err == nil {
			w.close()
		}
		return err == nil
	})
	if p.ready() {
		t.Error("the proxy says that it is ready although a database is not")
	}
	started := time.Now()
	if got := refusal(t, p.as(tenantA).in("silent")); got != "08006" {
		t.Errorf("a silent server: %q", got)
	}
	if took := time.Since(started); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := p.as(tenantA).login(t).value("SELECT count(*) FROM users"); got != "10" {
		t.Error(got)
	}
}

// TestASessionDoesNotOutliveItsToken holds that an expired token ends an idle
// session at once and a busy one when it is done, unless the operator says otherwise.
func TestASessionDoesNotOutliveItsToken(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	for n, long := range p.everyMode(tenantA) {
		soon := func() endpoint { return p.everyMode(tenantA, claims{"exp": time.Now().Add(2 * time.Second).Unix()})[n] }
		idle, busy, open, other := soon().login(t), soon().login(t), soon().login(t), long.login(t)
		busy.send(simple("SELECT 'done', pg_sleep(3)"))
		open.do(simple("BEGIN"))
		ends(t, idle, "57P01", 0, 4*time.Second)
		if got := show(busy.until('Z', 1)); !strings.Contains(got, "D[done|]") {
			t.Errorf("the running statement ended with %s", got)
		}
		ends(t, busy, "57P01", 0, 2*time.Second)
		open.send(simple("COMMIT"))
		ends(t, open, "57P01", 0, 2*time.Second)
		if got := other.value("SELECT count(*) FROM users"); got != "10" {
			t.Error(got)
		}
	}
	p = startProxy(t, pg, with("auth/on_expiry", "ignore"))
	w := p.as(tenantA, claims{"exp": time.Now().Add(2 * time.Second).Unix()}).login(t)
	time.Sleep(3 * time.Second) // past the expiry
	if got := w.value("SELECT count(*) FROM users"); got != "10" {
		t.Error(got)
	}
}

// TestARevocationEndsSessions writes each kind of line into the file.
func TestARevocationEndsSessions(t *testing.T) {
	pg := sharedPostgres(t)
	file := filepath.Join(workDir(t, "revoked"), "revoked")
	write := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("# nobody yet\n")
	p := startProxy(t, pg, with("auth/revoked_file", file))
	lines := ""
	for _, c := range []struct {
		line  string
		ep    endpoint
		spare endpoint
	}{
		{"jti=number-one", p.as(tenantA, claims{"jti": "number-one"}), p.as(tenantA, claims{"jti": "number-two"})},
		{"sub=mallory", p.as(tenantA, claims{"sub": "mallory"}), p.as(tenantA, claims{"sub": "alice"})},
		{"tenant=" + tenantB.id, p.as(tenantB), p.as(tenantA)},
	} {
		w, spare := c.ep.login(t), c.spare.login(t)
		lines += c.line + "\n"
		write(lines)
		ends(t, w, "57P01", 0, 3*time.Second)
		if got := refusal(t, c.ep); got != "28P01" {
			t.Errorf("%s: a new login got %q", c.line, got)
		}
		if got := spare.value("SELECT count(*) FROM users"); got != "10" {
			t.Errorf("%s: the other session sees %s users", c.line, got)
		}
		if got := refusal(t, c.spare); got != "" {
			t.Errorf("%s: the other token got %q", c.line, got)
		}
	}
}
