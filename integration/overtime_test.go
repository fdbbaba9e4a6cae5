package integration

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cancelled checks that frames are a cancelled statement's, answered after least
// to most.
func cancelled(t *testing.T, what string, frames []frame, took, least, most time.Duration) {
	t.Helper()
	if severity, code := lastError(frames); severity != "ERROR" || code != "57014" {
		t.Errorf("%s: %s", what, show(frames))
	}
	if took < least || took > most {
		t.Errorf("%s: took %v, want %v to %v", what, took, least, most)
	}
}

// TestAStatementThatRunsTooLongIsCancelled holds statement_timeout against a
// client that has switched PostgreSQL's own off; the session goes on.
func TestAStatementThatRunsTooLongIsCancelled(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("timeouts/statement_timeout", "600ms"), with("limits/statement_buffer", "4KiB"))
	count := 0.0
	for _, ep := range p.everyMode(tenantA) {
		w := ep.login(t)
		w.do(simple("SET statement_timeout = 0"))
		for what, slow := range map[string][]byte{
			"simple":                simple("SELECT pg_sleep(8)"),
			"extended":              join(extended("SELECT pg_sleep(8)"), syncMessage),
			"the second of a query": simple("SELECT pg_sleep(0.3); SELECT pg_sleep(8)"),
			"the second of a batch": join(extended("SELECT pg_sleep(0.3)"), extended("SELECT pg_sleep(8)"), syncMessage),
			"behind a pipeline":     join(simple("SELECT pg_sleep(0.3)"), simple("SELECT pg_sleep(8)")),
		} {
			begun, answers, least := time.Now(), 1, 500*time.Millisecond
			if what == "behind a pipeline" {
				answers, least = 2, 800*time.Millisecond
			}
			w.send(slow)
			cancelled(t, what, w.until('Z', answers), time.Since(begun), least, 4*time.Second)
			if got := w.value("SELECT count(*) FROM users"); got != "10" {
				t.Errorf("%s: behind it the session sees %s users", what, got)
			}
			count++
		}
		w.do(simple("BEGIN"))
		w.do(simple("SELECT pg_sleep(8)"))
		if _, code := lastError(w.do(simple("SELECT 1"))); code != "25P02" {
			t.Errorf("in a transaction whose statement was cancelled: %q", code)
		}
		w.do(simple("ROLLBACK"))
		if got := w.value("SELECT 1"); got != "1" {
			t.Error(got)
		}
		count++
		// Each of these is short, and a slow upload is no statement yet.
		w.send(simple("SELECT pg_sleep(0.35)"), simple("SELECT pg_sleep(0.35)"), extended("SELECT pg_sleep(0.35)"), syncMessage)
		if frames := w.until('Z', 3); strings.Contains(show(frames), "E[") {
			t.Errorf("short statements were answered with %s", show(frames))
		}
		long := simple("SELECT '" + strings.Repeat("x", 100_000) + "' = ''")
		w.send(long[:60_000])
		time.Sleep(900 * time.Millisecond) // longer than a statement may run
		if frames := w.do(long[60_000:]); strings.Contains(show(frames), "E[") {
			t.Errorf("a statement that was sent slowly was answered with %s", show(frames))
		}
	}
	if m := p.metrics(t); m.sum("statement_timeouts_total") != count || m.sum("cancel_requests_total") != 0 {
		t.Errorf("%v statements were cancelled: %v", count, m.of("statement_timeouts_total", "cancel_requests_total"))
	}
}

// TestNoSpellingHidesAStatementFromItsTimeout plays what could make a statement
// that runs look as if none did.
func TestNoSpellingHidesAStatementFromItsTimeout(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("timeouts/statement_timeout", "500ms"))
	for _, ep := range p.everyMode(tenantA) {
		for what, hidden := range map[string][]byte{
			"no Sync":               extended("SELECT pg_sleep(8)"),
			"a Flush":               join(extended("SELECT pg_sleep(8)"), flush),
			"a half CopyData":       join(simple("SELECT pg_sleep(8)"), framed('d', 1000), []byte("half")),
			"a half Bind":           join(simple("SELECT pg_sleep(8)"), framed('B', 1000), []byte("half")),
			"half a header":         join(simple("SELECT pg_sleep(8)"), []byte{'Q', 0, 0}),
			"RESET ALL in a batch":  join(extended("RESET ALL"), extended("SELECT pg_sleep(8)"), flush),
			"RESET ALL in front":    join(simple("RESET ALL"), simple("SELECT pg_sleep(8)")),
			"a COPY in front":       join(simple("COPY (SELECT 1) TO STDOUT; SELECT pg_sleep(8)")),
			"a portal in parts":     join(parse("", "SELECT pg_sleep(0.2 * n) FROM generate_series(0, 20) n"), bind("", ""), execute("", 1), execute("", 20), flush),
			"Terminate, to its end": join(simple("SELECT pg_sleep(8)"), terminate),
		} {
			w := ep.login(t)
			begun := time.Now()
			w.send(hidden)
			for {
				f, err := w.readWithin(6 * time.Second)
				if err != nil {
					t.Errorf("%s, %s: %v after %v", ep.database, what, err, time.Since(begun))
					break
				}
				if f.typ == 'E' {
					if f.field('C') != "57014" {
						t.Errorf("%s, %s: %v", ep.database, what, f)
					}
					break
				}
			}
			w.close()
		}
	}
}

// TestATimeoutHitsNobodyElsesStatement has one tenant whose statements take just
// the time that they may, and another one on the same two backends.
func TestATimeoutHitsNobodyElsesStatement(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) {
		for _, mode := range poolModes {
			name := "app"
			if mode != "session" {
				name += "_" + mode
			}
			p.database(name, "app", mode, 2)
		}
	}, with("limits/tenants", []any{map[string]any{"tenant": tenantA.id, "statement_timeout": "30ms"}}))
	for _, mode := range p.everyMode(tenantA) {
		var hit, missed, others atomic.Int64
		until := time.Now().Add(3 * time.Second)
		var group sync.WaitGroup
		for n := range 3 {
			group.Go(func() {
				for k := 0; time.Now().Before(until); k++ {
					w, err := mode.tryLogin(t)
					if err != nil {
						t.Error(err)
						return
					}
					w.send(simple(fmt.Sprintf("SELECT pg_sleep(%f)", 0.027+0.002*float64((n+k)%6))))
					first := w.until('Z', 1)
					if _, code := lastError(first); code == "57014" {
						hit.Add(1)
					} else {
						missed.Add(1)
					}
					if frames := w.do(simple("SELECT 1")); strings.Contains(show(frames), "E[") {
						t.Errorf("the statement behind it was answered with %s", show(frames))
					}
					depart(w, "Terminate")
				}
			})
		}
		group.Go(func() {
			for time.Now().Before(until) {
				w, err := p.as(tenantB).in(mode.database).tryLogin(t)
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					if frames := w.do(simple("SELECT count(*), pg_sleep(0.015) FROM users")); strings.Contains(show(frames), "E[") {
						t.Errorf("the other tenant was answered with %s", show(frames))
					}
					others.Add(1)
				}
				depart(w, "Terminate")
			}
		})
		group.Wait()
		t.Logf("%s: %d statements were cancelled, %d were not, the other tenant ran %d", mode.database, hit.Load(), missed.Load(), others.Load())
		if hit.Load() == 0 || missed.Load() == 0 || others.Load() == 0 {
			t.Error("the test has seen only one side")
		}
	}
}

// TestATimeoutsCancelThatComesLateHitsNothingElse delays the cancel until its
// statement has ended by itself: it must not hit what the client sends next, nor
// the next client.
func TestATimeoutsCancelThatComesLateHitsNothingElse(t *testing.T) {
	pg := sharedPostgres(t)
	release := make(chan struct{})
	var r *middleman
	r = startMiddleman(t, pg, func(c net.Conn) {
		defer c.Close()
		var key [8]byte
		if _, err := io.ReadFull(c, key[:]); err != nil {
			return
		}
		<-release
		server, err := net.Dial("tcp", r.target)
		if err != nil {
			return
		}
		defer server.Close()
		_, _ = server.Write(untyped(codeCancel, key[:]...))
		_, _ = io.Copy(io.Discard, server)
	})
	p := startProxy(t, pg, behind(r, "late", 1), with("limits/tenants", []any{map[string]any{"tenant": tenantA.id, "statement_timeout": "400ms"}}))
	for what, then := range map[string]func(w *wire) *wire{
		"its own next statement": func(w *wire) *wire {
			w.send(simple("SELECT 'unharmed', pg_sleep(0.3)"))
			return w
		},
		"the next client": func(w *wire) *wire {
			depart(w, "Terminate")
			next := p.as(tenantB).in("late").dial(t)
			next.send(startup("user", "x", "database", "late"), password(next.ep.password), simple("SELECT 'unharmed', pg_sleep(0.3)"))
			return next
		},
	} {
		asked := r.cancels.Load()
		w := p.as(tenantA).in("late").login(t)
		if got := w.value("SELECT 'ends by itself', pg_sleep(0.7)"); got != "ends by itself" {
			t.Errorf("%s: the statement gave %q", what, got)
		}
		if r.cancels.Load() != asked+1 {
			t.Errorf("%s: %d cancels were sent", what, r.cancels.Load()-asked)
		}
		last := then(w)
		time.Sleep(150 * time.Millisecond) // in which it would begin, if it were let
		release <- struct{}{}
		for answered := false; !answered; {
			f, err := last.read()
			if err != nil || f.typ == 'E' {
				t.Errorf("%s was answered with %v, %v", what, f, err)
				break
			}
			answered = f.typ == 'D'
		}
		last.until('Z', 1)
		depart(last, "Terminate")
	}
	if got := discarded(t, p); got != 0 {
		t.Errorf("%v backends were discarded", got)
	}
}

// TestATransactionThatIsOpenTooLongEndsItsSession holds transaction_timeout for
// blocks, idle and busy, and for what is a transaction without saying so.
func TestATransactionThatIsOpenTooLongEndsItsSession(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("timeouts/transaction_timeout", "900ms"))
	for _, ep := range p.everyMode(tenantA) {
		works := ep.login(t)
		until := time.Now().Add(2 * time.Second)
		for what, open := range map[string]func(w *wire){
			"idle":                func(w *wire) { w.send(simple("BEGIN")) },
			"failed":              func(w *wire) { w.send(simple("BEGIN; SELECT 1/0")) },
			"one statement":       func(w *wire) { w.send(simple("SELECT pg_sleep(8)")) },
			"a batch":             func(w *wire) { w.send(extended("SELECT 1"), flush) },
			"a batch without end": func(w *wire) { w.send(extended("SELECT pg_sleep(8)")) },
			"a COPY":              func(w *wire) { w.send(simple("COPY plain_arrivals FROM STDIN")) },
			"in a pipeline":       func(w *wire) { w.send(simple("SELECT 1"), simple("BEGIN"), simple("SELECT 1")) },
			"busy": func(w *wire) {
				w.do(simple("BEGIN"))
				for range 6 {
					w.send(simple("SELECT pg_sleep(0.25)"))
				}
			},
		} {
			w := ep.login(t)
			pid := w.value("SELECT pg_backend_pid()")
			begun := time.Now()
			open(w)
			frames := w.rest(6 * time.Second)
			if severity, code := lastError(frames); severity != "FATAL" || code != "25P04" {
				t.Errorf("%s, %s: %s", ep.database, what, show(frames))
			}
			if took := time.Since(begun); took < 800*time.Millisecond || took > 4*time.Second {
				t.Errorf("%s, %s: ended after %v", ep.database, what, took)
			}
			if ep.database == "app" {
				eventually(t, 5*time.Second, "the backend of "+what+" is closed", func() bool {
					return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE pid = "+pid) == 0
				})
			}
		}
		for time.Now().Before(until) {
			if got := works.value("SELECT count(*) FROM users, pg_sleep(0.1)"); got != "10" {
				t.Error(got)
			}
		}
		works.send(simple("SELECT pg_sleep(0.5)"), simple("SELECT pg_sleep(0.5)"), extended("SELECT pg_sleep(0.5)"), syncMessage)
		if frames := works.until('Z', 3); strings.Contains(show(frames), "E[") {
			t.Errorf("three short transactions in a row: %s", show(frames))
		}
	}
	if m := p.metrics(t); m.sum("sessions_total", `end="transaction_timeout"`) != float64(8*len(poolModes)) {
		t.Errorf("%v", m.of("sessions_total"))
	}
}

// TestATenantHasLimitsOfItsOwn selects by tenant and by claim: the first entry
// that fits counts, and what it leaves out is the general value. A reload holds
// for sessions that are there.
func TestATenantHasLimitsOfItsOwn(t *testing.T) {
	pg := sharedPostgres(t)
	free := claims{"app": map[string]any{"plan": "free"}}
	entries := []any{
		map[string]any{"tenant": strings.ToUpper(tenantB.id), "max_tenant_client_conn": 3, "statement_timeout": "0s"},
		map[string]any{"claim": "app.plan", "equals": "free", "max_tenant_client_conn": 1, "transaction_timeout": "700ms"},
	}
	p := startProxy(t, pg, with("limits/max_tenant_client_conn", 2), with("timeouts/statement_timeout", "500ms"), with("limits/tenants", entries))
	var a, b []*wire
	for range 2 {
		a = append(a, p.as(tenantA).login(t))
	}
	for range 3 {
		b = append(b, p.as(tenantB, free).login(t))
	}
	for _, ep := range []endpoint{p.as(tenantA), p.as(tenantA, free), p.as(tenantB), p.as(tenantB, free)} {
		if got := refusal(t, ep); got != "53300" {
			t.Errorf("one client of its tenant too many got %q", got)
		}
	}
	if m := p.metrics(t); m.sum("logins_total", `result="tenant_too_many"`) != 4 || m.sum("logins_total", `result="too_many"`) != 0 {
		t.Errorf("%v", m.of("logins_total"))
	}
	begun := time.Now()
	cancelled(t, "the general limit", a[0].do(simple("SELECT pg_sleep(8)")), time.Since(begun), 0, 4*time.Second)
	if frames := b[0].do(simple("SELECT pg_sleep(0.8)")); strings.Contains(show(frames), "E[") {
		t.Errorf("the tenant without limit: %s", show(frames))
	}
	a[0].close()
	a[1].close()
	eventually(t, 5*time.Second, "the claim's client gets in", func() bool {
		w, err := p.as(tenantA, free).tryLogin(t)
		if err != nil {
			return false
		}
		a[0] = w
		return true
	})
	a[0].send(simple("BEGIN"))
	if severity, code := lastError(a[0].rest(5 * time.Second)); severity != "FATAL" || code != "25P04" {
		t.Errorf("the claim's transaction ended with %s %s", severity, code)
	}

	running, waits := b[1], b[2]
	running.send(simple("SELECT pg_sleep(20)"))
	waits.do(simple("BEGIN"))
	p.set("limits/tenants", []any{map[string]any{"tenant": tenantB.id, "statement_timeout": "300ms", "transaction_timeout": "700ms"}})
	p.reload(t)
	begun = time.Now()
	cancelled(t, "a statement from before the reload", running.until('Z', 1), time.Since(begun), 0, 8*time.Second)
	if severity, code := lastError(waits.rest(8 * time.Second)); severity != "FATAL" || code != "25P04" {
		t.Errorf("a transaction from before the reload ended with %s %s", severity, code)
	}
}
