package integration

import (
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
