package integration

import (
	"sync"
	"testing"
	"time"
)

// runLoad drives 40 clients until the time is over and fails the test for every
// promise that was broken.
func runLoad(t *testing.T, pg *postgres, d time.Duration, ep func(x tenant) endpoint) {
	t.Helper()
	l := &load{t: t, endpoint: ep, deadline: time.Now().Add(d)}
	var clients sync.WaitGroup
	for n := range 40 {
		clients.Go(func() { l.client(n) })
	}
	clients.Wait()
	for _, text := range l.broken {
		t.Error(text)
	}
	t.Logf("%d sessions, %d exchanges, %d rows judged, %d clients vanished, %d cancels", l.sessions.Load(), l.exchanges.Load(), l.rows.Load(),
		l.kills.Load(), l.cancels.Load())
	if least := int64(d.Seconds()); l.rows.Load() < 100*least || l.kills.Load() < least || l.cancels.Load() < least {
		t.Error("the load was too thin to show anything")
	}
	for _, x := range tenants {
		if n := pg.count(t, "app", "SELECT count(*) FROM load_rows WHERE tenant_id = '"+x.id+"' AND marker <> '"+x.marker+"'"); n != 0 {
			t.Errorf("%d rows of somebody else were written for %s", n, x.marker)
		}
	}
	if n := pg.count(t, "app", "SELECT count(*) FROM load_rows WHERE nonce IN ('forged', 'taken back')"); n != 0 {
		t.Errorf("%d rows are there that were refused or rolled back", n)
	}
}

// TestTwoTenantsNeverMeet is the promise that everything else serves: two
// tenants, two backends, forty clients that die at any byte, and not one row,
// answer or trace of one client reaches another.
func TestTwoTenantsNeverMeet(t *testing.T) {
	d := *loadTime
	if testing.Short() {
		d = min(d, 10*time.Second)
	}
	t.Run("direct", func(t *testing.T) {
		runLoad(t, sharedPostgres(t), min(d, 3*time.Second), sharedPostgres(t).direct)
	})
	for _, mode := range poolModes {
		t.Run("proxy/"+mode, func(t *testing.T) {
			pg := startPostgres(t)
			p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", mode, 2) })
			// One token a tenant for the whole run, so that the load is on sessions, not on signatures.
			eps := map[tenant]endpoint{tenantA: p.as(tenantA), tenantB: p.as(tenantB)}
			runLoad(t, pg, d*5/6/time.Duration(len(poolModes)), func(x tenant) endpoint { return eps[x] })
			accountForBackends(t, p)
		})
	}
	t.Run("proxy/tls", func(t *testing.T) {
		pg, cert := startPostgres(t), newCertificate(t, "localhost", "localhost", "127.0.0.1")
		p := startProxy(t, pg, servingTLS(t, cert, "require"), func(p *proxy) { p.database("app", "app", "session", 2) })
		eps := map[tenant]endpoint{tenantA: p.as(tenantA), tenantB: p.as(tenantB)}
		runLoad(t, pg, d/6, func(x tenant) endpoint {
			ep := eps[x]
			ep.tls = cert.client()
			return ep
		})
		accountForBackends(t, p)
	})
}

// accountForBackends checks that every backend that was ever opened is either
// open or was discarded for a stated reason, and that PostgreSQL sees the same.
func accountForBackends(t *testing.T, p *proxy) {
	t.Helper()
	eventually(t, 15*time.Second, "all clients are gone from /metrics", func() bool { return p.metrics(t).sum("client_connections") == 0 })
	var m metrics
	balanced := func() bool {
		m = p.metrics(t)
		open := m.sum("server_connections")
		return m.sum("server_connects_total", `result="ok"`) == m.sum("server_discarded_total")+open &&
			int(open) == p.pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_user'")
	}
	for deadline := time.Now().Add(10 * time.Second); !balanced(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("backends opened, discarded and open do not add up: %v, PostgreSQL sees %s", m.of("server_connects_total", "server_discarded_total",
				"server_connections"), p.pg.exec(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_user'"))
		}
	}
	if open := m.sum("server_connections"); open > 2 {
		t.Errorf("%v backends are open, the pool holds 2", open)
	}
	t.Logf("%v", m.of("server_connects_total", "server_discarded_total", "server_connections", "server_resets_total", "tenant_switches_total", "cancel_requests_total"))
}
