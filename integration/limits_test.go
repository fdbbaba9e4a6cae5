package integration

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// refusal logs in and returns the SQLSTATE of the refusal, empty for a session.
func refusal(t testing.TB, ep endpoint) string {
	t.Helper()
	w, err := ep.tryLogin(t)
	if err == nil {
		w.close()
		return ""
	}
	if code := wordWith(err.Error(), "C="); code != "" && strings.Contains(err.Error(), "V=FATAL") {
		return strings.TrimPrefix(code, "C=")
	}
	return err.Error()
}

// TestTooManyClientsAreRefused fills max_client_conn.
func TestTooManyClientsAreRefused(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("limits/max_client_conn", 5))
	var in []*wire
	for n := range 5 {
		in = append(in, p.as(tenants[n%2]).login(t))
	}
	for range 3 {
		if got := refusal(t, p.as(tenantA)); got != "53300" {
			t.Errorf("the sixth client got %q", got)
		}
	}
	in[0].close()
	eventually(t, 5*time.Second, "a client gets the free place", func() bool { return refusal(t, p.as(tenantB)) == "" })
	for _, w := range in[1:] {
		if got := w.value("SELECT count(*) FROM users"); got != "10" {
			t.Error(got)
		}
	}
}

// TestHalfOpenLoginsHaveABoundOfTheirOwn fills max_unauthenticated; sessions go
// on, and the places are free again when the login deadline has passed.
func TestHalfOpenLoginsHaveABoundOfTheirOwn(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("limits/max_unauthenticated", 5), with("timeouts/client_login_timeout", "3s"))
	innocent(t, p.as(tenantB))
	for range 5 {
		p.as(tenantA).dial(t)
	}
	w := p.as(tenantA).dial(t)
	w.send(startup("user", "x", "database", "app"))
	if got := outcome(w); !strings.HasSuffix(got, "closed") || strings.Contains(got, "R3") {
		t.Errorf("one half-open login too many came to %q", got)
	}
	eventually(t, 10*time.Second, "logins work again", func() bool { return refusal(t, p.as(tenantA)) == "" })
}

// TestATenantsOwnBounds holds that one tenant's bound is not the other's.
func TestATenantsOwnBounds(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("limits/max_tenant_client_conn", 2))
	for range 2 {
		p.as(tenantA).login(t)
	}
	if got := refusal(t, p.as(tenantA)); got != "53300" {
		t.Errorf("the tenant's third client got %q", got)
	}
	if got := refusal(t, p.as(tenantB)); got != "" {
		t.Errorf("the other tenant's first client got %q", got)
	}
	p = startProxy(t, pg, with("limits/max_tenant_server_conn", 1), with("timeouts/query_wait_timeout", "1s"), func(p *proxy) { p.database("app", "app", "session", 3) })
	first := p.as(tenantA).login(t)
	if got := refusal(t, p.as(tenantA)); got != "53300" {
		t.Errorf("the tenant's second backend: %q", got)
	}
	if m := p.metrics(t); m.sum("logins_total", `result="tenant_wait_timeout"`) != 1 || m.sum("logins_total", `result="wait_timeout"`) != 0 {
		t.Errorf("%v", m.of("logins_total"))
	}
	if got := refusal(t, p.as(tenantB)); got != "" {
		t.Errorf("the other tenant's backend: %q", got)
	}
	first.close()
	eventually(t, 5*time.Second, "the tenant gets its backend again", func() bool { return refusal(t, p.as(tenantA)) == "" })
}

// TestATenantsOwnBoundOfBackends holds that max_tenant_server_conn of an entry counts in
// the place of the general one, and that a reload frees those who wait already.
func TestATenantsOwnBoundOfBackends(t *testing.T) {
	pg := sharedPostgres(t)
	plan := func(name string) claims { return claims{"plan": name} }
	bounds := func(free, gold int) []any {
		return []any{
			map[string]any{"claim": "plan", "equals": "free", "max_tenant_server_conn": free},
			map[string]any{"claim": "plan", "equals": "gold", "max_tenant_server_conn": gold},
		}
	}
	p := startProxy(t, pg, with("limits/max_tenant_server_conn", 1), with("limits/tenants", bounds(1, 3)), with("timeouts/query_wait_timeout", "20s"),
		func(p *proxy) { p.database("app", "app", "session", 6) })
	for range 3 {
		p.as(tenantA, plan("gold")).login(t)
	}
	p.as(tenantB, plan("free")).login(t)
	in := make(chan error, 2)
	for _, ep := range []endpoint{p.as(tenantA, plan("gold")), p.as(tenantB, plan("free"))} {
		go func() {
			_, err := ep.tryLogin(t)
			in <- err
		}()
	}
	eventually(t, 5*time.Second, "both wait", func() bool { return p.metrics(t).sum("client_connections", `state="waiting"`) == 2 })
	if m := p.metrics(t); m.sum("server_connections", `database="app"`, `state="active"`) != 4 {
		t.Errorf("%v", m.of("server_connections"))
	}
	p.set("limits/tenants", bounds(2, 0))
	p.reload(t)
	for range 2 {
		if err := <-in; err != nil {
			t.Errorf("who waited before the reload got %v", err)
		}
	}
}

// TestAClientWaitsForABackendOnlySoLong fills the pool.
func TestAClientWaitsForABackendOnlySoLong(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("timeouts/query_wait_timeout", "1s"), func(p *proxy) { p.database("app", "app", "session", 1) })
	held := p.as(tenantA).login(t)
	started := time.Now()
	if got := refusal(t, p.as(tenantB)); got != "53300" {
		t.Errorf("session mode: %q", got)
	}
	if took := time.Since(started); took < 900*time.Millisecond || took > 4*time.Second {
		t.Errorf("the wait took %v", took)
	}
	held.close()
	eventually(t, 5*time.Second, "the backend is free", func() bool { return refusal(t, p.as(tenantB)) == "" })
}

// TestABusyTenantDoesNotStarveAnother counts the sessions that one client gets
// against twenty of the other tenant's on one backend.
func TestABusyTenantDoesNotStarveAnother(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", "session", 1) })
	var busy, quiet atomic.Int64
	stop := time.Now().Add(4 * time.Second)
	var group sync.WaitGroup
	turns := func(ep endpoint, count *atomic.Int64) {
		for time.Now().Before(stop) {
			if err := shortSession(t, ep, "SELECT pg_sleep(0.01)"); err != nil {
				t.Error(err)
				return
			}
			count.Add(1)
		}
	}
	crowd, single := p.as(tenantA), p.as(tenantB)
	for range 20 {
		group.Go(func() { turns(crowd, &busy) })
	}
	group.Go(func() { turns(single, &quiet) })
	group.Wait()
	t.Logf("sessions: %d of the busy tenant, %d of the quiet one", busy.Load(), quiet.Load())
	if quiet.Load()*8 < busy.Load() {
		t.Errorf("the quiet tenant got %d sessions, the busy one %d", quiet.Load(), busy.Load())
	}
}

// shortSession logs in, runs one statement and leaves.
func shortSession(t testing.TB, ep endpoint, sql string) error {
	w, err := ep.tryDial(t)
	if err != nil {
		return err
	}
	defer w.close()
	w.send(startup("user", ep.user, "database", ep.database))
	if err := w.authenticate(); err != nil {
		return err
	}
	w.send(simple(sql))
	for {
		if f, err := w.read(); err != nil || f.typ == 'Z' {
			return err
		}
	}
}

// TestFailedLoginsAreThrottled holds that guessing is refused unasked after some
// failures from one address.
func TestFailedLoginsAreThrottled(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("limits/max_login_failures", 5))
	bad := p.as(tenantA)
	bad.password = "guess"
	for range 5 {
		if got := refusal(t, bad); got != "28P01" {
			t.Errorf("a guess got %q", got)
		}
	}
	w := p.as(tenantA).dial(t)
	w.send(startup("user", "x", "database", "app"))
	if got := outcome(w); !strings.HasSuffix(got, "closed") || strings.Contains(got, "R3") {
		t.Errorf("after five failures a login came to %q", got)
	}
}

// TestAStalledReaderCostsNoMemory stalls a client in the middle of 100 MB and
// another behind 5,000 pipelined queries, then reads on: all must arrive.
func TestAStalledReaderCostsNoMemory(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	for _, ep := range p.everyMode(tenantA) {
		before := p.residentBytes(t)
		large, many := ep.login(t), ep.login(t)
		large.send(simple("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"))
		if err := many.conn.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(16 << 10); err != nil {
			t.Fatal(err)
		}
		query := simple("SELECT repeat('y', 4000), 'number'")
		go func() {
			for range 5000 {
				if _, err := many.conn.Write(query); err != nil {
					return
				}
			}
		}()
		large.until('D', 1)
		// The time in which an unbounded proxy would take all of it in.
		time.Sleep(1500 * time.Millisecond)
		if grown := p.residentBytes(t) - before; grown > 48<<20 {
			t.Errorf("%s: the proxy grew by %d MiB before stalled readers", ep.database, grown>>20)
		}
		if got := p.as(tenantB).login(t).value("SELECT count(*) FROM users"); got != "10" {
			t.Error(got)
		}
		if size, _ := hashRows(t, large); size < 100_000_000 {
			t.Errorf("%d bytes of the large result arrived", size)
		}
		for n := range 5000 {
			if size, _ := hashRows(t, many); size < 4000 {
				t.Fatalf("answer %d has %d bytes", n, size)
			}
		}
		large.close()
		many.close()
	}
}

// TestAnAnnouncedLengthIsNotMemory announces gigabytes and sends nothing more.
func TestAnAnnouncedLengthIsNotMemory(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	before := p.residentBytes(t)
	for range 4 {
		for _, ep := range p.everyMode(tenantA) {
			ep.login(t).send(framed('Q', 1<<29))
			ep.login(t).send(framed('P', 1<<29), []byte("\x00SELECT 1"))
			ep.login(t).send(framed('B', 1<<29))
			w := ep.dial(t)
			w.send(startup("user", ep.user, "database", ep.database))
			w.until('R', 1)
			w.send(framed('p', 1<<29))
		}
	}
	time.Sleep(500 * time.Millisecond) // the time in which a careless reader would allocate
	if grown := p.residentBytes(t) - before; grown > 48<<20 {
		t.Errorf("the proxy grew by %d MiB", grown>>20)
	}
}

// TestALongStatementIsJudgedWhileItStreams holds the guard's promise beyond its
// buffer: a violation found late ends the client, and nothing of it was run.
func TestALongStatementIsJudgedWhileItStreams(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("limits/statement_buffer", "4KiB"))
	filler := strings.Repeat("/* filler */ ", 40000)
	for _, ep := range p.everyMode(tenantA) {
		for name, bytes := range map[string][]byte{
			"simple":   simple("INSERT INTO plain_arrivals VALUES ('smuggled'); " + filler + "SET app.is_admin = 'true'"),
			"extended": join(parse("", "SELECT "+filler+"set_config('app.is_admin', 'true', false)"), bind("", ""), execute("", 0), syncMessage),
			"behind":   join(simple("SELECT 1"), simple(filler+"SET app.current_tenant_id = '"+tenantB.id+"'")),
		} {
			w := ep.login(t)
			w.send(bytes)
			frames := w.rest(10 * time.Second)
			if severity, code := lastError(frames); severity != "FATAL" || code != "42501" {
				t.Errorf("%s: %s", name, show(frames))
			}
		}
		w := ep.login(t)
		w.do(simple("BEGIN"))
		if got := w.value("SELECT " + filler + fmt.Sprintf("'%s'", "long and harmless")); got != "long and harmless" {
			t.Error(got)
		}
	}
	if n := pg.count(t, "app", "SELECT count(*) FROM plain_arrivals"); n != 0 {
		t.Errorf("%d smuggled rows arrived", n)
	}
}
