package integration

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// flood keeps n clients of an endpoint busy until stop: each comes, runs four
// statements that wait rather than compute, goes, and comes again.
func flood(t *testing.T, ep endpoint, n int, stop <-chan struct{}) *sync.WaitGroup {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				w, err := ep.tryDial(t)
				if err != nil {
					t.Error(err)
					return
				}
				w.send(startup("user", ep.user, "database", ep.database))
				if err := w.authenticate(); err != nil {
					t.Error(err)
					return
				}
				for range 4 {
					w.do(simple("SELECT pg_sleep(0.025)"))
				}
				depart(w, "Terminate")
			}
		})
	}
	return &all
}

// pace is how long the sessions of three clients take, each for a login, one statement
// of 20 ms and the farewell: the 99th percentile and the middle of 200.
func pace(t *testing.T, ep endpoint) (p99, median time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 67 {
				begun := time.Now()
				if err := shortSession(t, ep, "SELECT count(*), pg_sleep(0.02) FROM users"); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(begun))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(took) < 200 {
		t.Fatal("the tenant was not served")
	}
	slices.Sort(took)
	return took[len(took)*99/100], took[len(took)/2]
}

// TestAFloodLeavesAnotherTenantItsPace lets 60 clients of one tenant want 16
// backends all the time. A client of another tenant then waits for the next
// backend that comes back and no more; and where the first tenant has a bound, for
// none: the 99th percentile of its sessions is below twice what it is when all is
// quiet. What else runs on the machine can only add to that, so three attempts are
// made to see it.
func TestAFloodLeavesAnotherTenantItsPace(t *testing.T) {
	const bound, session = 12, 100 * time.Millisecond // of the flood's sessions
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", "session", 16) })
	quiet := p.as(tenantB)
	measure := func(what string, fits func(calm, p99 time.Duration) bool) {
		t.Helper()
		for attempt := 1; ; attempt++ {
			calm, calmMedian := pace(t, quiet)
			stop := make(chan struct{})
			others := flood(t, p.as(tenantA), 60, stop)
			eventually(t, 10*time.Second, "there is a queue", func() bool { return p.metrics(t).sum("client_connections", `state="waiting"`) > 20 })
			p99, median := pace(t, quiet)
			waiting, active := p.metrics(t).sum("client_connections", `state="waiting"`), p.metrics(t).sum("server_connections", `state="active"`)
			close(stop)
			others.Wait()
			t.Logf("%s: p99 %v, when it is quiet %v; median %v and %v; %v waited, %v backends were busy", what, p99, calm, median, calmMedian, waiting, active)
			if fits(calm, p99) {
				return
			}
			if attempt == 3 {
				t.Errorf("%s: p99 %v, when it is quiet %v", what, p99, calm)
				return
			}
		}
	}
	measure("no bound", func(calm, p99 time.Duration) bool { return p99 < 2*calm+session })
	p.set("limits/tenants", []any{map[string]any{"tenant": tenantA.id, "max_tenant_server_conn": bound}})
	const reloaded = "config_last_reload_success_timestamp_seconds"
	before := p.metrics(t)[reloaded]
	p.reload(t)
	eventually(t, 10*time.Second, "the bound is in force", func() bool { return p.metrics(t)[reloaded] > before })
	measure("with a bound", func(calm, p99 time.Duration) bool { return p99 < 2*calm })
}
