package integration

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// runningSleep starts a statement that sleeps and waits until the server runs it.
func runningSleep(t *testing.T, pg *postgres, w *wire, mark string) {
	t.Helper()
	w.send(simple("SELECT pg_sleep(30), '" + mark + "'"))
	eventually(t, 10*time.Second, "the statement runs", func() bool {
		return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%"+mark+"%'") == 1
	})
}

// TestACancelReachesItsStatement cancels by a patient and by a hasty canceller.
// The hasty one is last: the server signals a process and then its group, and
// only who waits for the end of the cancel's socket knows that both are through.
func TestACancelReachesItsStatement(t *testing.T) {
	pg := sharedPostgres(t)
	run := func(t *testing.T, ep endpoint) {
		w := ep.login(t)
		for n, wait := range []bool{true, true, false} {
			runningSleep(t, pg, w, fmt.Sprintf("%s %s %d", t.Name(), ep.database, n))
			if err := w.cancel(wait); err != nil {
				t.Errorf("%s: %v", ep.name, err)
			}
			frames := w.until('Z', 1)
			if _, code := lastError(frames); code != "57014" {
				t.Errorf("%s: %s", ep.name, show(frames))
			}
			eventually(t, 10*time.Second, ep.name+": the session goes on", func() bool {
				w.send(simple("SELECT count(*) FROM users"))
				text := show(w.until('Z', 1))
				if !strings.Contains(text, "D[10]") && (wait || !strings.Contains(text, "57014")) {
					t.Fatalf("%s, afterwards: %s", ep.name, text)
				}
				return strings.Contains(text, "D[10]")
			})
		}
	}
	everywhere(t, pg, run)
}

// TestACancelWhileIdleHitsNothing cancels a session that runs nothing; what it
// runs next must not feel it.
func TestACancelWhileIdleHitsNothing(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	for _, ep := range append(p.everyMode(tenantA), pg.direct(tenantA)) {
		w := ep.login(t)
		for range 20 {
			if err := w.cancel(true); err != nil {
				t.Fatal(err)
			}
			if got := w.value("SELECT count(*) FROM users, pg_sleep(0.01)"); got != "10" {
				t.Fatal(got)
			}
		}
	}
}

// TestAWrongCancelHitsNothing tries keys that are nearly right.
func TestAWrongCancelHitsNothing(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	for _, ep := range p.everyMode(tenantA) {
		w := ep.login(t)
		w.send(simple("SELECT 'undisturbed', pg_sleep(1)"))
		for _, key := range [][]byte{
			{}, w.key[:3], append(append([]byte{}, w.key...), 0), {0, 0, 0, 0}, {w.key[0] ^ 1, w.key[1], w.key[2], w.key[3]}, make([]byte, 32),
		} {
			for _, pid := range []uint32{w.pid, w.pid + 1, 0} {
				if len(key) == 4 && pid == w.pid && string(key) == string(w.key) {
					continue
				}
				guess := *w
				guess.pid, guess.key = pid, key
				if err := guess.cancel(true); err != nil {
					t.Errorf("pid %d, key %x: %v", pid, key, err)
				}
			}
		}
		if got := show(w.until('Z', 1)); !strings.Contains(got, "D[undisturbed|]") {
			t.Errorf("a wrong cancel hit: %s", got)
		}
	}
}

// TestCancelKeysTellNothing holds that keys are random and no backend's own.
func TestCancelKeysTellNothing(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	seen := map[string]bool{}
	for range 40 {
		w := p.as(tenantA).login(t)
		if len(w.key) != 4 {
			t.Fatalf("protocol 3.0 got a key of %d bytes", len(w.key))
		}
		key := fmt.Sprintf("%x", w.key)
		if seen[key] || seen[fmt.Sprint(w.pid)] {
			t.Errorf("pid %d, key %s: seen before", w.pid, key)
		}
		seen[key], seen[fmt.Sprint(w.pid)] = true, true
		w.close()
	}
}

// TestALongKeyCancels speaks protocol 3.2, whose keys are longer.
func TestALongKeyCancels(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	ep := p.as(tenantA)
	w := ep.dial(t)
	w.send(untyped(3<<16|2, append(cstrings("user", ep.user, "database", ep.database), 0)...))
	f, err := w.read()
	if err != nil {
		t.Fatal(err)
	}
	if f.typ == 'v' {
		t.Logf("the proxy negotiates: %v", f)
	} else if f.typ == 'R' {
		w.send(password(ep.password))
	}
	if err := w.authenticate(); err != nil {
		t.Fatal(err)
	}
	runningSleep(t, pg, w, "long key")
	if err := w.cancel(true); err != nil {
		t.Error(err)
	}
	if _, code := lastError(w.until('Z', 1)); code != "57014" {
		t.Errorf("the cancel with a key of %d bytes came to %q", len(w.key), code)
	}
}

// TestADeadSessionsKeyHitsNobody lets a client leave and its successor on the
// same backend work while the old key is used over and over.
func TestADeadSessionsKeyHitsNobody(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", "session", 1) })
	for range 5 {
		old := p.as(tenantA).login(t)
		pid := old.value("SELECT pg_backend_pid()")
		depart(old, "Terminate")
		next := p.as(tenantB).login(t)
		if next.value("SELECT pg_backend_pid()") != pid {
			t.Fatal("not the same backend")
		}
		next.send(simple("SELECT 'undisturbed', pg_sleep(0.3)"))
		for range 10 {
			_ = old.cancel(true)
		}
		if got := show(next.until('Z', 1)); !strings.Contains(got, "D[undisturbed|]") {
			t.Errorf("an old key hit: %s", got)
		}
		depart(next, "Terminate")
	}
}

// TestACancelNeverHitsTheNextLease is a storm on one backend: clients cancel at
// the end of their own short sessions, others run statements on the same backend
// and must never be hit.
func TestACancelNeverHitsTheNextLease(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", poolModes[len(poolModes)-1], 1) })
	stop := time.Now().Add(5 * time.Second)
	var group sync.WaitGroup
	cancels := make([]int, 3)
	attacker := p.as(tenantA)
	for n := range cancels {
		group.Go(func() {
			for time.Now().Before(stop) {
				if err := cancelAtTheEnd(t, attacker, time.Duration(cancels[n]%12)*time.Millisecond/4, cancels[n]%2 == 0); err != nil {
					t.Errorf("a canceller: %v", err)
					return
				}
				cancels[n]++
			}
		})
	}
	served := make([]int, 3)
	for n := range served {
		ep := p.as(tenants[(n+1)%2])
		group.Go(func() {
			for ; time.Now().Before(stop); served[n]++ {
				nonce := fmt.Sprintf("victim %d.%d", n, served[n])
				if text, err := undisturbed(t, ep, nonce); err != nil || !strings.Contains(text, "D["+nonce+"|10|1]") {
					t.Errorf("%s: %s %v", nonce, text, err)
					return
				}
			}
		})
	}
	group.Wait()
	t.Logf("%d cancels, %d others: %v", cancels, served, p.metrics(t).of("cancel_requests_total", "server_discarded_total"))
}

// cancelAtTheEnd runs one short session and sends its cancel about when the
// statement ends; the session may be over before the cancel arrives.
func cancelAtTheEnd(t testing.TB, ep endpoint, delay time.Duration, leaveFirst bool) error {
	w, err := ep.tryDial(t)
	if err != nil {
		return err
	}
	defer w.close()
	w.send(startup("user", ep.user, "database", ep.database))
	if err := w.authenticate(); err != nil {
		return err
	}
	var cancel sync.WaitGroup
	defer cancel.Wait()
	w.send(simple("SELECT pg_sleep(0.001)"))
	cancel.Go(func() {
		time.Sleep(delay) // a moment of the race, nothing waits for it
		_ = w.cancel(!leaveFirst)
	})
	for !leaveFirst {
		if f, err := w.read(); err != nil || f.typ == 'Z' {
			return err
		}
	}
	return nil
}

// undisturbed runs one session with a statement that a stray cancel would hit.
func undisturbed(t testing.TB, ep endpoint, nonce string) (string, error) {
	w, err := ep.tryDial(t)
	if err != nil {
		return "", err
	}
	defer w.close()
	w.send(startup("user", ep.user, "database", ep.database))
	if err := w.authenticate(); err != nil {
		return "", err
	}
	w.send(simple("SELECT '" + nonce + "', count(*), 1 FROM users, pg_sleep(0.003)"))
	for text := ""; ; {
		f, err := w.read()
		if err != nil || f.typ == 'Z' {
			return text, err
		}
		text += f.String()
	}
}

// TestAFloodOfWrongCancelsDisturbsNobody opens many cancel sockets at once.
func TestAFloodOfWrongCancelsDisturbsNobody(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	innocent(t, p.as(tenantB))
	var group sync.WaitGroup
	for n := range 300 {
		group.Go(func() {
			c, err := net.DialTimeout("tcp", p.as(tenantA).address(), 5*time.Second)
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Write(cancelRequest(uint32(n), []byte{1, 2, 3, byte(n)}))
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if got, err := c.Read(make([]byte, 1)); got != 0 || isTimeout(err) {
				t.Errorf("a wrong cancel was answered with %d bytes, %v", got, err)
			}
		})
	}
	group.Wait()
}
