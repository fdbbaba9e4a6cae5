package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// manyTime is how long the load of many tenants runs.
var manyTime = flag.Duration("many", 6*time.Second, "how long fifty tenants share four backends")

// inTransactions starts a proxy whose database app has that many backends in
// transaction mode.
func inTransactions(t testing.TB, pg *postgres, size int, options ...option) *proxy {
	return startProxy(t, pg, append([]option{func(p *proxy) { p.database("app", "app", "transaction", size) }}, options...)...)
}

// TestManyClientsShareFewBackends holds that a client has a backend for its
// transactions only: twenty sessions on two backends, all logged in at once.
func TestManyClientsShareFewBackends(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 2)
	var clients []*wire
	for n := range 20 {
		clients = append(clients, p.as(tenants[n%2]).login(t))
	}
	pids := map[string]bool{}
	for range 3 {
		for _, w := range clients {
			pids[w.value("SELECT pg_backend_pid()")] = true
			frames := w.do(simple("BEGIN"), simple("SELECT current_setting('app.current_tenant_id'), count(*) FROM users"), simple("COMMIT"))
			if len(frames) == 0 {
				t.Fatal("no answer")
			}
			w.until('Z', 2)
			if got := w.value("SELECT current_setting('app.current_tenant_id')"); got != w.ep.tenant.id {
				t.Fatalf("%s works as %s", w.ep.tenant.marker, got)
			}
		}
	}
	if len(pids) > 2 {
		t.Errorf("%d backends served, want at most 2", len(pids))
	}
	if m := p.metrics(t); m.sum("client_connections", `state="idle"`) != 20 {
		t.Errorf("%v", m.of("client_connections", "server_connections"))
	}
	open := clients[0]
	open.do(simple("BEGIN"))
	pid := open.value("SELECT pg_backend_pid()")
	for _, w := range clients[1:] {
		if got := w.value("SELECT pg_backend_pid()"); got == pid {
			t.Fatal("a client got the backend on which another one's transaction is open")
		}
	}
	if got := open.value("SELECT pg_backend_pid()"); got != pid {
		t.Errorf("a transaction went on on backend %s after %s", got, pid)
	}
}

// TestSessionStateKeepsItsBackend holds that what a statement leaves in the
// session is still there in the next transaction, whoever works in between, that
// an operator sees why, and that DISCARD ALL ends it.
func TestSessionStateKeepsItsBackend(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 3, with("context/guard/channels", "off"))
	for _, c := range []struct{ kind, make, see, want string }{
		{"set", "SET temp_buffers = '5MB'", "SHOW temp_buffers", "5MB"},
		{"set", "SELECT set_config('my.own', 'x', false)", "SHOW my.own", "x"},
		{"set", "SELECT set_config('search_path', repeat('nowhere,', 400) || 'public', false)", "SELECT length(current_setting('search_path'))", "3206"},
		{"set", "SELECT set_config('search_path', repeat('nowhere,', 10000) || 'public', false)", "SELECT length(current_setting('search_path'))", "80006"},
		{"listen", "LISTEN here", "SELECT pg_listening_channels()", "here"},
		{"temporary", "CREATE TEMP TABLE mine AS SELECT 42 AS a", "SELECT a FROM mine", "42"},
		{"advisory_lock", "SELECT pg_advisory_lock(4711)", "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'", "1"},
		{"prepare", "PREPARE mine AS SELECT 43", "EXECUTE mine", "43"},
		{"cursor_with_hold", "DECLARE mine SCROLL CURSOR WITH HOLD FOR SELECT 44", "FETCH ABSOLUTE 1 FROM mine", "44"},
	} {
		t.Run(c.make, func(t *testing.T) {
			label := fmt.Sprintf(`kind="%s"`, c.kind)
			before := p.metrics(t).sum("client_pins_total", label)
			w, other := p.as(tenantA).login(t), p.as(tenantA).login(t)
			defer depart(w, "Terminate")
			defer depart(other, "Terminate")
			if _, code := lastError(w.do(simple(c.make))); code != "" {
				t.Fatal(code)
			}
			counted := func() float64 { return p.metrics(t).sum("client_pins_total", label) - before }
			eventually(t, 5*time.Second, "it is counted while the client rests", func() bool { return counted() == 1 })
			pid := w.value("SELECT pg_backend_pid()")
			for range 3 {
				if got := other.value("SELECT pg_backend_pid()"); got == pid {
					t.Fatal("another client got the backend")
				}
				if got := w.value(c.see); got != c.want {
					t.Fatalf("%s answers %q, want %q", c.see, got, c.want)
				}
			}
			if got := counted(); got != 1 {
				t.Errorf("%v pins of %s were counted", got, c.kind)
			}
			if !strings.Contains(p.log.String(), "kind="+c.kind) {
				t.Error("the log does not say why")
			}
			w.do(simple("DISCARD ALL"))
			eventually(t, 5*time.Second, "the backend is free again", func() bool {
				return p.metrics(t).sum("server_connections", `database="app"`, `state="active"`) == 0
			})
			if got := w.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
				t.Errorf("behind DISCARD ALL the tenant is %q", got)
			}
		})
	}
}

// TestAnUnnamedStatementOutlivesItsBackend holds that Parse and Bind in different
// transactions find each other, and that nobody finds another one's.
func TestAnUnnamedStatementOutlivesItsBackend(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1)
	a, b, c := p.as(tenantA).login(t), p.as(tenantA).login(t), p.as(tenantB).login(t)
	run := join(bind("", ""), execute("", 0), syncMessage)
	for n, w := range []*wire{a, b, c} {
		w.do(parse("", fmt.Sprintf("SELECT 'statement %d'", n)), syncMessage)
	}
	for range 3 {
		for n, w := range []*wire{a, b, c} {
			if got := show(w.do(run)); !strings.Contains(got, fmt.Sprintf("statement %d", n)) {
				t.Fatalf("client %d gets %s", n, got)
			}
		}
	}
	for _, w := range []*wire{p.as(tenantA).login(t), p.as(tenantB).login(t)} {
		a.do(parse("", "SELECT 'of a'"), syncMessage)
		if _, code := lastError(w.do(run)); code != "26000" {
			t.Errorf("a client that has prepared nothing gets %q", code)
		}
	}
}

// TestACancelReachesAStatementThatWaits holds that a statement which waits for a
// backend can be cancelled: the client cancels once, and does not know that it waits.
// What it waits with fails, however harmless it is.
func TestACancelReachesAStatementThatWaits(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1)
	first, w := p.as(tenantA).login(t), p.as(tenantA).login(t)
	first.do(simple("BEGIN"))
	w.send(simple("BEGIN"), simple("SELECT pg_sleep(60)"))
	waits := func() bool { return p.metrics(t).sum("client_connections", `state="waiting"`) == 1 }
	eventually(t, 5*time.Second, "the statement waits", waits)
	if err := w.cancel(true); err != nil {
		t.Fatal(err)
	}
	first.do(simple("COMMIT"))
	if _, code := lastError(w.until('Z', 1)); code != "57014" {
		t.Errorf("the first statement ended with %q", code)
	}
	if err := w.cancel(true); err != nil { // of the next one, which runs
		t.Fatal(err)
	}
	if _, code := lastError(w.until('Z', 1)); code != "57014" {
		t.Errorf("the second one ended with %q", code)
	}
	for _, batch := range [][]byte{parse("mine", "SELECT 1"), join(bind("", "mine"), execute("", 0)), extended("SELECT 2")} {
		first.do(simple("BEGIN"))
		w.send(batch, syncMessage)
		eventually(t, 5*time.Second, "the batch waits", waits)
		if err := w.cancel(true); err != nil {
			t.Fatal(err)
		}
		first.do(simple("COMMIT"))
		if got := show(w.until('Z', 1)); !strings.Contains(got, "57014") {
			t.Errorf("%q is answered with %s", batch, got)
		}
		w.do(parse("mine", "SELECT 1"), syncMessage)
	}
	if got := w.value("SELECT 'goes on'"); got != "goes on" {
		t.Error(got)
	}
}

// TestNobodyCanBindToTheProxysStatement holds, in every mode, that what enters
// the context cannot be executed again with other values.
func TestNobodyCanBindToTheProxysStatement(t *testing.T) {
	for _, ep := range startProxy(t, sharedPostgres(t)).everyMode(tenantA) {
		w := ep.login(t)
		for _, portal := range []string{"", "tenantgate_enter"} {
			if _, code := lastError(w.do(message('D', append([]byte("S"+portal), 0)...), syncMessage)); code != "26000" {
				t.Errorf("%s: the statement %q is there: %q", ep.database, portal, code)
			}
		}
	}
}

// TestFiftyTenantsShareFourBackends is the load of transaction mode: every
// client checks every answer, while sessions come, go and die.
func TestFiftyTenantsShareFourBackends(t *testing.T) {
	t.Run("guarded", func(t *testing.T) {
		pg := startPostgres(t)
		shareAmongFifty(t, pg, inTransactions(t, pg, 4))
	})
	t.Run("sealed", func(t *testing.T) {
		pg := startPostgres(t)
		shareAmongFifty(t, pg, sealedProxy(t, pg, "app", func(p *proxy) { p.database("app", "app", "transaction", 4) }))
	})
}

// shareAmongFifty runs the load of TestFiftyTenantsShareFourBackends.
func shareAmongFifty(t *testing.T, pg *postgres, p *proxy) {
	var all []tenant
	var fill strings.Builder
	for n := range 50 {
		x := tenant{id: fmt.Sprintf("33333333-3333-4333-8333-%012d", n), marker: fmt.Sprintf("tenant%02d", n)}
		all = append(all, x)
		fmt.Fprintf(&fill, "INSERT INTO load_rows (tenant_id, marker, nonce) SELECT '%s', '%s', 'seed' FROM generate_series(1, 5);", x.id, x.marker)
	}
	pg.exec(t, "app", fill.String())
	eps := map[tenant]endpoint{}
	for _, x := range all {
		eps[x] = p.as(x)
	}
	var clients sync.WaitGroup
	var rows, sessions atomic.Int64
	deadline := time.Now().Add(*manyTime / 2)
	for n := range 100 {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), *loadSeed))
			x := all[n%len(all)]
			for time.Now().Before(deadline) && !t.Failed() {
				w := eps[x].login(t)
				for range r.IntN(30) {
					rows.Add(int64(workAs(t, w, x, r)))
				}
				sessions.Add(1)
				depart(w, []string{"Terminate", "FIN", "RST"}[r.IntN(3)])
			}
		})
	}
	clients.Wait()
	m := p.metrics(t)
	t.Logf("%d sessions, %d rows; %v", sessions.Load(), rows.Load(), m.of("tenant_switches_total", "server_resets_total", "transactions_total"))
	if rows.Load() < 1000 || m.sum("tenant_switches_total") < 100 {
		t.Error("the load was too thin to show anything")
	}
}

// workAs does one thing as a tenant and judges the answer; it returns how many rows it saw.
func workAs(t *testing.T, w *wire, x tenant, r *rand.Rand) (rows int) {
	nonce := strconv.FormatUint(r.Uint64(), 36)
	ask := fmt.Sprintf("SELECT '%s', current_setting('app.current_tenant_id'), tenant_id, marker FROM load_rows", nonce)
	var frames []frame
	results := 1
	switch r.IntN(5) {
	case 0:
		frames = w.do(simple(ask))
	case 1:
		frames = w.do(extended(ask), syncMessage)
	case 2:
		w.send(simple("BEGIN"), simple(ask), simple("SELECT pg_sleep(0.0005)"), simple(ask), simple("ROLLBACK"))
		frames, results = w.until('Z', 5), 2
	case 3:
		w.do(parse("", ask), syncMessage)
		frames = w.do(bind("", ""), execute("", 0), syncMessage)
	default:
		w.send(extended(ask), syncMessage, extended(ask), syncMessage)
		frames, results = w.until('Z', 2), 2
	}
	for _, f := range frames {
		if f.typ == 'E' {
			t.Errorf("%s gets %v", x.marker, f)
		}
		if f.typ != 'D' {
			continue
		}
		cells := f.cells()
		if len(cells) != 4 {
			continue // of pg_sleep
		}
		if rows++; cells[0] != nonce || cells[1] != x.id || cells[2] != x.id || cells[3] != x.marker {
			t.Errorf("%s (%s) gets %q", x.marker, nonce, cells)
		}
	}
	if rows != 5*results {
		t.Errorf("%s sees %d rows, want %d", x.marker, rows, 5*results)
	}
	return rows
}

// TestAFloodOfOneTenantLeavesAnotherItsTurn lets thirty clients of one tenant keep
// both backends busy: a client of another one must not wait behind all of them.
// With a bound on the backends of a tenant it waits for none.
func TestAFloodOfOneTenantLeavesAnotherItsTurn(t *testing.T) {
	const busy = 10 * time.Millisecond // of a statement of the flood: behind all of them it takes 30 / 2 times that
	pg := startPostgres(t)
	for bound, most := range map[int]time.Duration{0: 6 * busy, 1: 3 * busy} {
		p := inTransactions(t, pg, 2, with("limits/max_tenant_server_conn", bound))
		stop := make(chan struct{})
		var flood sync.WaitGroup
		for range 30 {
			w := p.as(tenantB).login(t)
			flood.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						w.do(simple("SELECT pg_sleep(0.01)"))
					}
				}
			})
		}
		w := p.as(tenantA).login(t)
		var took []time.Duration
		for range 60 {
			begin := time.Now()
			if got := w.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
				t.Fatalf("it works as %q", got)
			}
			took = append(took, time.Since(begin))
		}
		close(stop)
		flood.Wait()
		slices.Sort(took)
		t.Logf("max_tenant_server_conn %d: median %v, slowest %v", bound, took[len(took)/2], took[len(took)-1])
		if median := took[len(took)/2]; median > most {
			t.Errorf("max_tenant_server_conn %d: half of the statements took more than %v", bound, median)
		}
	}
}

// TestAnEndlessPipelineLeavesOthersTheirTurn has one client that never lets its
// backend run dry, on the only one there is.
func TestAnEndlessPipelineLeavesOthersTheirTurn(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1)
	hog := p.as(tenantB).login(t)
	stop := make(chan struct{})
	var ends sync.WaitGroup
	ends.Go(func() {
		for burst := manyQueries(200); ; {
			select {
			case <-stop:
				_ = hog.conn.Close()
				return
			default:
				_, _ = hog.conn.Write(burst)
			}
		}
	})
	ends.Go(func() {
		for {
			if f, err := hog.readWithin(10 * time.Second); err != nil {
				return
			} else if f.typ == 'E' {
				t.Errorf("the pipeline gets %v", f)
				return
			}
		}
	})
	w := p.as(tenantA).login(t)
	for range 20 {
		begin := time.Now()
		if got := w.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
			t.Errorf("it works as %q", got)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it waited for %v", took)
		}
	}
	close(stop)
	ends.Wait()
}
