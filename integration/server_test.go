package integration

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClientsLearnThatTheServerWentAway stops the server under idle and busy
// clients and starts it again: clean FATALs, then logins work.
func TestClientsLearnThatTheServerWentAway(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(pg *postgres)
	}{
		{"fast shutdown", func(pg *postgres) { pg.stop() }},
		{"immediate shutdown", func(pg *postgres) { pg.signal(t, syscall.SIGQUIT); <-pg.exited }},
		{"kill -9", func(pg *postgres) { pg.signal(t, syscall.SIGKILL); <-pg.exited }},
	} {
		t.Run(c.name, func(t *testing.T) {
			pg := startPostgres(t)
			p := startProxy(t, pg, with("timeouts/server_connect_timeout", "2s"))
			idle, busy := p.as(tenantA).login(t), p.as(tenantB).login(t)
			busy.send(simple("SELECT pg_sleep(20)"))
			c.stop(pg)
			for name, w := range map[string]*wire{"idle": idle, "busy": busy} {
				frames := w.rest(10 * time.Second)
				if severity, code := lastError(frames); severity != "FATAL" || code != "57P01" && code != "57P02" && code != "08006" {
					t.Errorf("the %s client read %s", name, show(frames))
				}
			}
			started := time.Now()
			if got := refusal(t, p.as(tenantA)); got != "08006" && got != "57P01" {
				t.Errorf("a login without a server: %q", got)
			}
			if took := time.Since(started); took > 10*time.Second {
				t.Errorf("the refusals took %v", took)
			}
			pg.start(t)
			eventually(t, 15*time.Second, "logins work again", func() bool { return refusal(t, p.as(tenantB)) == "" })
			for _, ep := range p.everyMode(tenantB) {
				if got := ep.login(t).value("SELECT count(*) FROM users"); got != "10" {
					t.Error(got)
				}
			}
		})
	}
}

// TestAFrozenServerHoldsNobodyForever stops the server's processes without
// ending them: logins end with a clean FATAL in time, and all works again later.
func TestAFrozenServerHoldsNobodyForever(t *testing.T) {
	pg := startPostgres(t)
	p := startProxy(t, pg, with("timeouts/server_connect_timeout", "2s"), with("timeouts/query_wait_timeout", "4s"))
	w := p.as(tenantA).login(t)
	pg.signal(t, syscall.SIGSTOP)
	started := time.Now()
	if got := refusal(t, p.as(tenantB)); got != "08006" && got != "53300" {
		t.Errorf("a login at a frozen server: %q", got)
	}
	if took := time.Since(started); took > 8*time.Second {
		t.Errorf("the refusal took %v", took)
	}
	if got := w.value("SELECT count(*) FROM users"); got != "10" {
		t.Errorf("the session that exists sees %s users", got)
	}
	impatient := p.as(tenantB).dial(t)
	impatient.send(startup("user", "x", "database", "app"), password(impatient.ep.password))
	depart(impatient, "RST")
	pg.signal(t, syscall.SIGCONT)
	eventually(t, 15*time.Second, "logins work again", func() bool { return refusal(t, p.as(tenantB)) == "" })
	eventually(t, 10*time.Second, "the client that left is forgotten", func() bool { return p.metrics(t).sum("client_connections") == 1 })
}

// TestAServerThatRefusesTheProxyTellsTheClientLittle changes the role's powers
// to log in: the client gets a clean FATAL without the server's own words about it.
func TestAServerThatRefusesTheProxyTellsTheClientLittle(t *testing.T) {
	pg := startPostgres(t)
	p := startProxy(t, pg)
	for name, sql := range map[string][2]string{
		"no login":         {"ALTER ROLE app_user NOLOGIN", "ALTER ROLE app_user LOGIN"},
		"another password": {"ALTER ROLE app_user PASSWORD 'another'", "ALTER ROLE app_user PASSWORD '" + strings.ReplaceAll(appPassword, "'", "''") + "'"},
		"no room":          {"ALTER ROLE app_user CONNECTION LIMIT 0", "ALTER ROLE app_user CONNECTION LIMIT -1"},
		"database closed":  {"UPDATE pg_database SET datallowconn = false WHERE datname = 'app'", "UPDATE pg_database SET datallowconn = true WHERE datname = 'app'"},
	} {
		pg.exec(t, "postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app_user'")
		noBackends(t, p)
		pg.exec(t, "postgres", sql[0])
		_, err := p.as(tenantA).tryLogin(t)
		if err == nil || !strings.Contains(err.Error(), "V=FATAL") || !strings.Contains(err.Error(), "C=08006") && !strings.Contains(err.Error(), "C=53300") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "app_user") || strings.Contains(err.Error(), appPassword)) {
			t.Errorf("%s: the client learns %v", name, err)
		}
		pg.exec(t, "postgres", sql[1])
		eventually(t, 10*time.Second, "logins work again", func() bool { return refusal(t, p.as(tenantA)) == "" })
	}
}

// TestTheProxyOutlivesACrashOfABackend kills one backend with SIGSEGV's big
// brother: PostgreSQL restarts all of its processes, the proxy goes on.
func TestTheProxyOutlivesACrashOfABackend(t *testing.T) {
	pg := startPostgres(t)
	p := startProxy(t, pg)
	w, other := p.as(tenantA).login(t), p.as(tenantB).login(t)
	pid := pg.count(t, "postgres", "SELECT min(pid) FROM pg_stat_activity WHERE usename = 'app_user'")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*wire{w, other} {
		frames := c.rest(10 * time.Second)
		if severity, _ := lastError(frames); severity != "FATAL" {
			t.Errorf("a client read %s", show(frames))
		}
	}
	eventually(t, 20*time.Second, "logins work again", func() bool { return refusal(t, p.as(tenantA)) == "" })
}
