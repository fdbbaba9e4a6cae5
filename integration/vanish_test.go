package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// stuck are the ways in which a client holds a backend, and a lock, by sending
// nothing more; each takes the advisory lock of the given number in a transaction.
var stuck = map[string]func(w *wire, lock int){
	"half a Bind": func(w *wire, lock int) {
		w.do(simple(fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", lock)))
		whole := bind("", "", "a parameter")
		w.send(parse("", "SELECT $1::text"), whole[:len(whole)-6])
	},
	"half a long Bind": func(w *wire, lock int) {
		w.do(simple(fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", lock)))
		whole := bind("", "", strings.Repeat("a long parameter ", 20000))
		w.send(parse("", "SELECT $1::text"), whole[:len(whole)/2])
	},
	"a batch without Sync": func(w *wire, lock int) {
		w.send(parse("", "BEGIN"), bind("", ""), execute("", 0),
			parse("", fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", lock)), bind("", ""), execute("", 0))
	},
	"half a statement longer than the buffer": func(w *wire, lock int) {
		w.do(simple(fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", lock)))
		whole := simple("SELECT length('" + strings.Repeat("a long statement ", 20000) + "')")
		w.send(whole[:len(whole)/2])
	},
	"half a statement longer than the buffer, in a Parse": func(w *wire, lock int) {
		w.do(simple(fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", lock)))
		whole := parse("", "SELECT length('"+strings.Repeat("a long statement ", 20000)+"')")
		w.send(whole[:len(whole)/2])
	},
}

// lockHeld says whether somebody has the advisory lock of that number.
func lockHeld(t *testing.T, pg *postgres, lock int) bool {
	t.Helper()
	return pg.count(t, "postgres", fmt.Sprintf("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = %d", lock)) != 0
}

// ending is what a client saw of its end, and when.
type ending struct {
	frames []frame
	took   time.Duration
	err    error
}

// endings reads all the clients to their ends at the same time.
func endings(clients map[string]*wire, within time.Duration) map[string]ending {
	started := time.Now()
	var mu sync.Mutex
	var group sync.WaitGroup
	all := map[string]ending{}
	for name, w := range clients {
		group.Go(func() {
			var e ending
			for {
				var f frame
				if f, e.err = w.readWithin(within - time.Since(started)); e.err != nil {
					break
				}
				e.frames = append(e.frames, f)
			}
			e.took = time.Since(started)
			mu.Lock()
			defer mu.Unlock()
			all[name] = e
		})
	}
	group.Wait()
	return all
}

// TestAClientThatHoldsStillIsEnded stops in the middle of a transaction, a batch
// or a message: idle_transaction_timeout ends it, and so does the end of its
// token when the time to finish is over. Its locks are released.
func TestAClientThatHoldsStillIsEnded(t *testing.T) {
	t.Parallel()
	pg := sharedPostgres(t)
	small := with("limits/statement_buffer", "64KiB")
	impatient := startProxy(t, pg, small, with("timeouts/idle_transaction_timeout", "1500ms"))
	patient := startProxy(t, pg, small)
	lock := 810000
	for _, c := range []struct {
		why, code   string
		p           *proxy
		changes     func() claims
		least, most time.Duration
	}{
		{"idle_transaction_timeout", "25P03", impatient, func() claims { return nil }, 0, 5 * time.Second},
		// Ten seconds behind the expiry are for finishing.
		{"token expiry", "57P01", patient, func() claims { return claims{"exp": time.Now().Add(3 * time.Second).Unix()} }, 9 * time.Second, 16 * time.Second},
	} {
		clients, locks := map[string]*wire{}, map[string]int{}
		for how, hold := range stuck {
			for _, ep := range c.p.everyMode(tenantA, c.changes()) {
				name := ep.database + ", " + how
				lock++
				clients[name], locks[name] = ep.login(t), lock
				hold(clients[name], lock)
				eventually(t, 5*time.Second, "the lock is taken", func() bool { return lockHeld(t, pg, locks[name]) })
			}
		}
		for name, e := range endings(clients, c.most+2*time.Second) {
			if severity, code := lastError(e.frames); severity != "FATAL" || code != c.code || isTimeout(e.err) {
				t.Errorf("%s, %s: ended with %s%v, want FATAL %s", c.why, name, show(e.frames), e.err, c.code)
			}
			if e.took < c.least || e.took > c.most {
				t.Errorf("%s, %s: ended after %v, want %v to %v", c.why, name, e.took, c.least, c.most)
			}
			eventually(t, 3*time.Second, "the lock is released: "+name, func() bool { return !lockHeld(t, pg, locks[name]) })
		}
	}
}

// TestHalfAStatementOutsideOfATransactionIsEnded holds still in the middle of a
// message that PostgreSQL has a part of, outside of a transaction.
func TestHalfAStatementOutsideOfATransactionIsEnded(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("limits/statement_buffer", "64KiB"), with("timeouts/idle_transaction_timeout", "1500ms"))
	for _, ep := range p.everyMode(tenantA) {
		w := ep.login(t)
		pid := w.value("SELECT pg_backend_pid()")
		whole := simple("SELECT length('" + strings.Repeat("a long statement ", 20000) + "')")
		w.send(whole[:len(whole)/2])
		ends(t, w, "25P03", time.Second, 5*time.Second)
		eventually(t, 3*time.Second, "its backend is closed", func() bool {
			return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE pid = "+pid) == 0
		})
	}
}

// TestAClientThatIsGoneFreesItsBackend leaves in the middle of a statement that
// would run on for long: the place is somebody else's soon.
func TestAClientThatIsGoneFreesItsBackend(t *testing.T) {
	const soon = 3 * time.Second
	pg := sharedPostgres(t)
	goodbyes := map[string][]byte{
		"nothing":          nil,
		"70,000 Syncs":     []byte(strings.Repeat(string(syncMessage), 70000)),
		"Terminate":        terminate,
		"Syncs, Terminate": join([]byte(strings.Repeat(string(syncMessage), 70000)), terminate),
		"half a message":   parse("", "SELECT 1")[:7],
		"a further Query":  simple("SELECT pg_sleep(26)"),
		"Query, Terminate": join(simple("SELECT pg_sleep(26)"), terminate),
	}
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", poolModes[len(poolModes)-1], 1) })
	for name, behind := range goodbyes {
		for _, how := range []string{"FIN", "RST"} {
			t.Run(name+", "+how, func(t *testing.T) {
				w := p.as(tenantA).login(t)
				pid := w.value("SELECT pg_backend_pid()")
				w.send(simple("SELECT pg_sleep(25)"))
				eventually(t, 10*time.Second, "the statement runs", func() bool {
					return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid = "+pid) == 1
				})
				w.send(behind)
				depart(w, how)
				left := time.Now()
				next := p.as(tenantB).login(t)
				if got := next.value("SELECT count(*) FROM users"); got != "10" {
					t.Errorf("the next client sees %s users", got)
				}
				if took := time.Since(left); took > soon {
					t.Errorf("the place was free after %v", took)
				}
				eventually(t, soon, "the statement has ended", func() bool {
					return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(2_)%' AND pid = "+pid) == 0
				})
				depart(next, "Terminate")
			})
		}
	}
}

// TestWhatWasSentBeforeTerminateIsDone says goodbye behind a short statement and
// closes at once: PostgreSQL runs it to its end and commits.
func TestWhatWasSentBeforeTerminateIsDone(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	t.Cleanup(func() { pg.exec(t, "app", "DELETE FROM users WHERE email LIKE '%@vanish.test'") })
	for n, ep := range append(p.everyMode(tenantA), pg.direct(tenantA)) {
		for m, insert := range []func(email string) []byte{
			func(email string) []byte {
				return simple("SELECT pg_sleep(0.3); INSERT INTO users (email) VALUES ('" + email + "')")
			},
			func(email string) []byte {
				return join(extended("SELECT pg_sleep(0.3)"), extended("INSERT INTO users (email) VALUES ($1)", email), syncMessage)
			},
		} {
			email := fmt.Sprintf("%s%d.%d@vanish.test", ep.name, n, m)
			w := ep.login(t)
			w.send(insert(email), terminate)
			w.close()
			eventually(t, 5*time.Second, "the row of "+email+" is there", func() bool {
				return pg.count(t, "app", "SELECT count(*) FROM users WHERE email = '"+email+"'") == 1
			})
		}
	}
}

// TestAnAnswerOutlivesTheGoodbye sends Terminate behind a long statement and
// keeps the connection open: the answer still comes, and then the end.
func TestAnAnswerOutlivesTheGoodbye(t *testing.T) {
	t.Parallel()
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	clients := map[string]*wire{}
	for _, ep := range append(p.everyMode(tenantA), pg.direct(tenantA)) {
		w := ep.login(t)
		w.send(simple("SELECT 'late', pg_sleep(6)"), terminate)
		clients[ep.name+" "+ep.database+" "] = w
	}
	for name, e := range endings(clients, 15*time.Second) {
		if got := show(e.frames); !strings.Contains(got, "D[late|]") || !strings.Contains(got, "Z[") || isTimeout(e.err) {
			t.Errorf("%s: %s%v", name, got, e.err)
		}
	}
}
