package integration

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// middleman stands between the proxy and PostgreSQL and passes everything on, except
// for the connections that carry a CancelRequest in the clear.
type middleman struct {
	listener net.Listener
	target   string
	onCancel func(c net.Conn)         // owns the connection; nil: it is passed on too
	toServer func(server, c net.Conn) // passes on what a session sends; nil: at once, and its end
	cancels  atomic.Int32             // how many cancel requests it has read in the clear
	mu       sync.Mutex
	conns    []net.Conn // closed with the test
}

// startMiddleman passes on to pg until the end of the test.
func startMiddleman(t *testing.T, pg *postgres, onCancel func(c net.Conn)) *middleman {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &middleman{listener: l, target: pg.directAdmin().address(), onCancel: onCancel}
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, c := range r.conns {
			c.Close()
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.keep(c)
			go r.serve(c)
		}
	}()
	return r
}

// port is where it listens, on 127.0.0.1.
func (r *middleman) port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// keep remembers a connection for the end of the test.
func (r *middleman) keep(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, c)
}

// serve reads the first packet's head, which tells a cancel from a session.
func (r *middleman) serve(c net.Conn) {
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		c.Close()
		return
	}
	if binary.BigEndian.Uint32(head[4:]) == codeCancel {
		r.cancels.Add(1)
		if r.onCancel != nil {
			r.onCancel(c)
			return
		}
	}
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		c.Close()
		return
	}
	r.keep(server)
	if _, err := server.Write(head[:]); err != nil {
		c.Close()
		return
	}
	toServer := r.toServer
	if toServer == nil {
		toServer = passOn
	}
	go toServer(server, c)
	_, _ = io.Copy(c, server)
	c.Close()
}

// passOn copies to the server what c sends, and that it ends.
func passOn(server, c net.Conn) {
	_, _ = io.Copy(server, c)
	_ = server.(*net.TCPConn).CloseWrite()
}

// behind makes a database of the proxy whose server is reached through r.
func behind(r *middleman, name string, size int) option {
	return func(p *proxy) {
		p.set("databases/"+name, map[string]any{
			"dsn":           fmt.Sprintf("host=127.0.0.1 port=%d dbname=app user=app_user sslmode=disable", r.port()),
			"password_file": filepath.Join(p.dir, "app_password"), "pool_mode": poolModes[len(poolModes)-1], "pool_size": size,
		})
	}
}

// holdCancel never closes a cancel connection.
func holdCancel(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// resetCancel takes the request and breaks the connection.
func resetCancel(c net.Conn) {
	_, _ = io.CopyN(io.Discard, c, 8) // process id and key
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// sendCancel sends w's cancel and tells, in a while, how long the proxy kept the
// canceller's connection open.
func sendCancel(t *testing.T, w *wire) <-chan time.Duration {
	t.Helper()
	took := make(chan time.Duration, 1)
	started := time.Now()
	go func() {
		if err := w.cancel(true); err != nil {
			t.Errorf("the canceller: %v", err)
		}
		took <- time.Since(started)
	}()
	return took
}

// discarded is how many backends the proxy closed as not clean.
func discarded(t *testing.T, p *proxy) float64 {
	t.Helper()
	return p.metrics(t).sum("server_discarded_total", `reason="unclean"`)
}

// TestACancelThatNeverEndsCostsItsBackendAlone lets PostgreSQL's side of a
// cancel hang: the client leaves meanwhile, its backend goes to nobody and is
// closed when cancel_wait_timeout is over, and the canceller learns nothing
// earlier.
func TestACancelThatNeverEndsCostsItsBackendAlone(t *testing.T) {
	pg := sharedPostgres(t)
	r := startMiddleman(t, pg, holdCancel)
	p := startProxy(t, pg, behind(r, "slow", 1), with("timeouts/cancel_wait_timeout", "1s"))
	innocent(t, p.as(tenantB).in("slow"))
	for range 3 {
		w := p.as(tenantA).in("slow").login(t)
		pid := w.value("SELECT pg_backend_pid()")
		before := discarded(t, p)
		asked := r.cancels.Load()
		w.send(simple("SELECT 'unharmed', pg_sleep(0.3)"))
		eventually(t, 5*time.Second, "the statement runs", func() bool {
			return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%unharmed%' AND pid = "+pid) == 1
		})
		started := time.Now()
		took := sendCancel(t, w)
		eventually(t, 5*time.Second, "the cancel is on its way", func() bool { return r.cancels.Load() > asked })
		w.until('Z', 1)
		depart(w, "Terminate")
		next := p.as(tenantB).in("slow").login(t)
		if waited := time.Since(started); waited < 900*time.Millisecond || waited > 4*time.Second {
			t.Errorf("the next client was served %v after the cancel, want about a second", waited)
		}
		if got := next.value("SELECT pg_backend_pid()"); got == pid {
			t.Errorf("the next client has backend %s, for which a cancel may still arrive", got)
		}
		if got := discarded(t, p) - before; got != 1 {
			t.Errorf("%v backends were discarded", got)
		}
		if open := <-took; open < 900*time.Millisecond || open > 4*time.Second {
			t.Errorf("the canceller's connection was open for %v, want about a second", open)
		}
		depart(next, "Terminate")
	}
}

// TestABackendWithADoubtfulCancelIsNotPooled lets the cancel hang for longer than
// cancel_wait_timeout, or breaks it, while the client stays: it goes on working,
// and its backend is closed when its lease ends.
func TestABackendWithADoubtfulCancelIsNotPooled(t *testing.T) {
	pg := sharedPostgres(t)
	for name, c := range map[string]struct {
		onCancel    func(net.Conn)
		least, most time.Duration // of the canceller's connection
	}{
		"it hangs":    {holdCancel, 900 * time.Millisecond, 4 * time.Second},
		"it is reset": {resetCancel, 0, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := startMiddleman(t, pg, c.onCancel)
			p := startProxy(t, pg, behind(r, "slow", 1), with("timeouts/cancel_wait_timeout", "1s"))
			innocent(t, p.as(tenantB).in("slow"))
			before := discarded(t, p)
			w := p.as(tenantA).in("slow").login(t)
			pid := w.value("SELECT pg_backend_pid()")
			w.send(simple("SELECT 'doubtful', pg_sleep(2)"))
			eventually(t, 5*time.Second, "the statement runs", func() bool {
				return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%doubtful%' AND pid = "+pid) == 1
			})
			if took := <-sendCancel(t, w); took < c.least || took > c.most {
				t.Errorf("the canceller's connection was open for %v, want %v to %v", took, c.least, c.most)
			}
			if _, code := lastError(w.until('Z', 1)); code != "" {
				t.Errorf("a cancel that never arrived ended the statement with %s", code)
			}
			if got := w.value("SELECT count(*) FROM users"); got != "10" {
				t.Errorf("the client sees %s users afterwards", got)
			}
			depart(w, "Terminate")
			if got := p.as(tenantB).in("slow").login(t).value("SELECT pg_backend_pid()"); got == pid {
				t.Errorf("the next client has backend %s, for which a cancel may still arrive", got)
			}
			if got := discarded(t, p) - before; got != 1 {
				t.Errorf("%v backends were discarded", got)
			}
			if m := p.metrics(t); m.sum("cancel_requests_total", `result="failed"`) != 1 {
				t.Errorf("%v", m.of("cancel_requests_total"))
			}
		})
	}
}

// TestARelayedCancelArrives is the same way without a fault: the cancel hits its
// statement, and the backend is pooled as ever.
func TestARelayedCancelArrives(t *testing.T) {
	pg := sharedPostgres(t)
	r := startMiddleman(t, pg, nil)
	p := startProxy(t, pg, behind(r, "relayed", 1), with("timeouts/cancel_wait_timeout", "5s"))
	w := p.as(tenantA).in("relayed").login(t)
	pid := w.value("SELECT pg_backend_pid()")
	runningSleep(t, pg, w, "through a relay")
	if err := w.cancel(true); err != nil {
		t.Error(err)
	}
	if _, code := lastError(w.until('Z', 1)); code != "57014" {
		t.Errorf("the cancel came to %q", code)
	}
	depart(w, "Terminate")
	if got := p.as(tenantB).in("relayed").login(t).value("SELECT pg_backend_pid()"); got != pid {
		t.Errorf("the next client has backend %s, not %s", got, pid)
	}
	if got := discarded(t, p); got != 0 {
		t.Errorf("%v backends were discarded", got)
	}
}
