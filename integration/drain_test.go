package integration

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestADrainLetsWorkFinish sends SIGTERM: idle clients end at once, running
// statements and transactions finish, nobody new comes in, the exit is 0.
func TestADrainLetsWorkFinish(t *testing.T) {
	pg := sharedPostgres(t)
	for n := range poolModes {
		p := startProxy(t, pg)
		ep := p.everyMode(tenantA)[n]
		idle, busy, open := ep.login(t), ep.login(t), ep.login(t)
		open.do(simple("BEGIN"))
		busy.send(simple("SELECT 'finished', pg_sleep(1.5)"))
		eventually(t, 5*time.Second, "the statement runs", func() bool {
			return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%finished%' AND pid <> pg_backend_pid()") == 1
		})
		p.signal(t, syscall.SIGTERM)
		ends(t, idle, "57P01", 0, 2*time.Second)
		if r, err := p.get("/readyz"); err == nil && r.StatusCode == http.StatusOK {
			t.Error("a draining proxy says that it is ready")
		}
		if _, err := ep.tryLogin(t); err == nil {
			t.Error("a draining proxy took a new client")
		}
		if got := open.value("SELECT count(*) FROM users"); got != "10" {
			t.Errorf("in the open transaction: %s users", got)
		}
		if got := show(busy.until('Z', 1)); !strings.Contains(got, "D[finished|]") {
			t.Errorf("the running statement came to %s", got)
		}
		ends(t, busy, "57P01", 0, 2*time.Second)
		open.send(simple("COMMIT"))
		frames := open.rest(5 * time.Second)
		if text := show(frames); !strings.Contains(text, "COMMIT") || !strings.Contains(text, "57P01") {
			t.Errorf("the open transaction ended with %s", text)
		}
		if code := p.waitExit(5 * time.Second); code != 0 {
			t.Errorf("exit %d", code)
		}
		noBackends(t, p)
	}
}

// noBackends waits until PostgreSQL has no connection of the proxy's role left that
// is younger than the proxy: what another test has left is not the proxy's.
func noBackends(t *testing.T, p *proxy) {
	t.Helper()
	eventually(t, 5*time.Second, "no backend is left", func() bool {
		return p.pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_user' AND backend_start >= '"+
			p.launched.Format(time.RFC3339Nano)+"'") == 0
	})
}

// TestASecondSignalEndsAtOnce does not wait for a busy client.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	pg := sharedPostgres(t)
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := startProxy(t, pg)
		w := p.as(tenantA).login(t)
		runningSleep(t, pg, w, "second signal "+second.String())
		p.signal(t, second)
		if code := p.waitExit(700 * time.Millisecond); code != -1 {
			t.Fatalf("the first signal ended the proxy with %d", code)
		}
		p.signal(t, second)
		if code := p.waitExit(2 * time.Second); code == -1 {
			t.Error("the second signal did not end the proxy at once")
		}
		noBackends(t, p)
	}
}

// TestADrainEndsInTime holds shutdown_timeout against a statement that goes on.
func TestADrainEndsInTime(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("timeouts/shutdown_timeout", "1s"))
	w := p.as(tenantA).login(t)
	runningSleep(t, pg, w, "shutdown timeout")
	p.signal(t, syscall.SIGTERM)
	started := time.Now()
	if code := p.waitExit(5 * time.Second); code == -1 {
		t.Error("the proxy still runs")
	} else if took := time.Since(started); took < 800*time.Millisecond {
		t.Errorf("the proxy ended after %v with %d", took, code)
	}
	frames := w.rest(2 * time.Second)
	if _, code := lastError(frames); code != "57P01" && len(frames) > 0 {
		t.Errorf("the client read %s", show(frames))
	}
	noBackends(t, p)
}

// TestSIGTERMWhileABackendIsAwaited ends a client that has not got one yet.
func TestSIGTERMWhileABackendIsAwaited(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", "session", 1) })
	holder, waiting := p.as(tenantA).login(t), p.as(tenantB).dial(t)
	holder.do(simple("BEGIN"))
	waiting.send(startup("user", "x", "database", "app"), password(p.as(tenantB).password))
	eventually(t, 5*time.Second, "the client waits", func() bool { return p.metrics(t).sum("client_connections", `state="waiting"`) == 1 })
	p.signal(t, syscall.SIGTERM)
	holder.send(simple("COMMIT"))
	holder.rest(5 * time.Second)
	waiting.rest(10 * time.Second)
	if code := p.waitExit(5 * time.Second); code != 0 {
		t.Errorf("exit %d", code)
	}
}
