package integration

import (
	"strings"
	"testing"
	"time"
)

// TestATimeoutIsNotPutOffByWhatTheClientSends lets a client send on and on behind
// the first statement of a transaction, whose context was entered ahead of it.
func TestATimeoutIsNotPutOffByWhatTheClientSends(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("one", "app", "transaction", 1) }, with("timeouts/statement_timeout", "600ms"))
	w, other := p.as(tenantA).in("one").login(t), p.as(tenantB).in("one").login(t)
	for name, drip := range map[string][]byte{"Flush": message('H'), "a part of a message": {0}} {
		w.value("SELECT 1")
		other.value("SELECT 1") // the backend's context is another's
		begun, over := time.Now(), make(chan struct{})
		w.send(extended("SELECT pg_sleep(8)"), message('H'))
		if name != "Flush" {
			w.send(parse("", string(make([]byte, 4000)))[:5])
		}
		go func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(10 * time.Millisecond):
					_, _ = w.conn.Write(drip)
				}
			}
		}()
		frames := w.until('E', 1)
		close(over)
		cancelled(t, name, frames, time.Since(begun), 500*time.Millisecond, 4*time.Second)
		w.close()
		w = p.as(tenantA).in("one").login(t)
	}
}

// TestAnUnfinishedMessageHoldsNoBackendPastTheLimits has a client that sends enough of
// a message to be given the one backend, and then nothing more, or hardly anything.
func TestAnUnfinishedMessageHoldsNoBackendPastTheLimits(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("one", "app", "transaction", 1) }, with("limits/statement_buffer", "128KiB"),
		with("timeouts/idle_transaction_timeout", "700ms"), with("timeouts/transaction_timeout", "1500ms"))
	other, copied := p.as(tenantB).in("one").login(t), message('d', make([]byte, 200_000)...)
	for name, long := range map[string][]byte{
		"a statement that is held until it is whole": simple("SELECT '" + strings.Repeat("x", 100_000) + "' = ''"),
		"a statement that is passed in parts":        simple("SELECT '" + strings.Repeat("x", 900_000) + "' = ''"),
		"a message that nobody wants":                copied,
	} {
		for _, drips := range []bool{false, true} {
			w := p.as(tenantA).in("one").login(t)
			over := make(chan struct{})
			w.send(long[:70_000])
			if name == "a statement that is passed in parts" {
				w.send(long[70_000:150_000])
			}
			go func() {
				for drips {
					select {
					case <-over:
						return
					case <-time.After(10 * time.Millisecond):
						_, _ = w.conn.Write([]byte("x"))
					}
				}
			}()
			want := map[bool]string{false: "25P03", true: "25P04"}[drips]
			if severity, code := lastError(w.rest(8 * time.Second)); severity != "FATAL" || code != want {
				t.Errorf("%s, more of it comes: %v: ended with %s %s, want %s", name, drips, severity, code, want)
			}
			close(over)
			if got := other.value("SELECT 1"); got != "1" {
				t.Errorf("%s, more of it comes: %v: the next client got %q", name, drips, got)
			}
		}
	}
	// Between its transactions a client has as much time as before.
	w := p.as(tenantA).in("one").login(t)
	w.send(copied[:150_000])
	eventually(t, 5*time.Second, "it has the backend", func() bool {
		return p.metrics(t).sum("server_connections", `database="one"`, `state="active"`) == 1
	})
	w.send(copied[150_000:])
	other.value("SELECT pg_sleep(0.9)")
	other.value("SELECT pg_sleep(0.9)")
	if got := w.value("SELECT 1"); got != "1" {
		t.Error(got)
	}
}
