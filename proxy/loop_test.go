package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// longest is how long a test waits for what must come: far more than it takes.
const longest = 20 * time.Second

// running is a loop that runs, for one test.
type running struct {
	*loop
	t      *testing.T
	faults chan *socket // where something panicked; filled by tests that want it
}

// startLoop runs a loop until the end of the test. A fault fails the test unless it asks for faults.
func startLoop(t *testing.T) *running {
	t.Helper()
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{loop: l, t: t}
	l.fault = func(what any, at *socket) {
		if r.faults == nil {
			t.Errorf("fault of the loop: %v", what)
			return
		}
		if at != nil {
			l.close(at)
		}
		r.faults <- at
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run()
	}()
	t.Cleanup(func() {
		l.post(l.stop)
		soon(t, done)
	})
	return r
}

// closeAll closes every socket of the loop.
func (r *running) closeAll() {
	r.do(func() {
		for _, s := range r.sockets {
			if s != nil {
				r.close(s)
			}
		}
	})
}

// soon waits for something that must come and returns it.
func soon[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(longest):
		t.Fatal("it never came")
		panic("unreachable")
	}
}

// do runs f on the loop and waits for it.
func (r *running) do(f func()) {
	r.t.Helper()
	done := make(chan struct{})
	if !r.post(func() { defer close(done); f() }) {
		r.t.Fatal("the loop has ended")
	}
	soon(r.t, done)
}

// probe is an endpoint that does what a test says. What is not set must not happen.
type probe struct {
	t       *testing.T
	s       *socket
	read    func()
	taken   func()
	hangUp  func()
	expired func(now int64)
}

func (p *probe) call(name string, f func()) {
	if f == nil {
		p.t.Errorf("%s was called", name)
		p.s.loop.close(p.s)
		return
	}
	f()
}

func (p *probe) readable() { p.call("readable", p.read) }
func (p *probe) drained()  { p.call("drained", p.taken) }
func (p *probe) hungUp()   { p.call("hungUp", p.hangUp) }
func (p *probe) deadline(now int64) {
	p.call("deadline", func() { p.expired(now) })
}

// plain gives one end of a connection to the loop, not read yet, and returns the other.
func (r *running) plain() (*probe, net.Conn) {
	r.t.Helper()
	near, far := tcpPair(r.t)
	return r.own(&handoverConn{Conn: near}), far
}

// own takes conn into the loop.
func (r *running) own(conn net.Conn) *probe {
	r.t.Helper()
	fd, tlsConn, raw, err := takeOver(conn)
	if err != nil {
		r.t.Fatal(err)
	}
	p := &probe{t: r.t}
	p.s = &socket{fd: fd, tls: tlsConn, raw: raw, owner: p, more: tlsConn != nil}
	r.do(func() { err = r.attach(p.s, wantHangup) })
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.closeAll) // before the peers close
	return p
}

// encrypted is like plain, with TLS 1.3 over it. The peer is still a TCP connection: client makes
// a TLS client of it.
func (r *running) encrypted(client func(net.Conn, *tls.Config) net.Conn) (*probe, net.Conn) {
	r.t.Helper()
	a := newAuthority(r.t)
	near, far := tcpPair(r.t)
	server := tls.Server(&handoverConn{Conn: near}, &tls.Config{
		Certificates: []tls.Certificate{a.pair(r.t, 1)}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
	})
	ended := make(chan error, 1)
	go func() { ended <- server.Handshake() }()
	peer := client(far, &tls.Config{RootCAs: a.roots(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13})
	if err := soon(r.t, ended); err != nil {
		r.t.Fatal(err)
	}
	return r.own(server), peer
}

// echo makes p send back what it reads, and close at the end.
func (r *running) echo(p *probe) {
	r.do(func() {
		p.read = func() {
			b, err := p.s.fill()
			switch {
			case errors.Is(err, errEmpty):
				return
			case err != nil:
				r.close(p.s)
				return
			}
			p.s.send(b)
			if p.s.more {
				r.resume(p.s)
			}
		}
		p.taken = func() {}
		p.s.reading(true)
		if p.s.more {
			r.resume(p.s)
		}
	})
}

// asks writes text and expects it back.
func asks(t *testing.T, peer net.Conn, text string) {
	t.Helper()
	_ = peer.SetDeadline(time.Now().Add(longest))
	if _, err := peer.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != text {
		t.Fatalf("%q came back (%v), want %q", got, err, text)
	}
}

func TestLoopRunsEveryLetterOnceAndInTheOrderOfItsSender(t *testing.T) {
	const senders, letters = 8, 3000
	r := startLoop(t)
	var got [senders][]int
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for n := range letters {
				if !r.post(func() { got[i] = append(got[i], n) }) {
					t.Error("the loop has ended")
				}
			}
		})
	}
	wg.Wait()
	r.do(func() {})
	for i := range senders {
		if len(got[i]) != letters || !slices.IsSorted(got[i]) || got[i][letters-1] != letters-1 {
			t.Errorf("sender %d: %d letters ran, in order: %v", i, len(got[i]), slices.IsSorted(got[i]))
		}
	}
}

func TestLoopRunsLettersThatLettersPost(t *testing.T) {
	r := startLoop(t)
	done := make(chan struct{})
	n := 0
	var again func()
	again = func() {
		if n++; n == 100 {
			close(done)
			return
		}
		r.post(again)
	}
	r.post(again)
	soon(t, done)
}

func TestPostSaysThatTheLoopHasEnded(t *testing.T) {
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run()
	}()
	if !l.post(l.stop) {
		t.Error("a loop that runs takes no letter")
	}
	soon(t, done)
	if l.post(func() { t.Error("a letter ran after the end") }) {
		t.Error("a loop that has ended takes a letter")
	}
}

func TestLoopEndsOnlyTheEndpointThatPanics(t *testing.T) {
	r := startLoop(t)
	r.faults = make(chan *socket, 10)
	bad, badPeer := r.plain()
	good, goodPeer := r.plain()
	r.echo(good)
	asks(t, goodPeer, "before")
	r.do(func() {
		bad.read = func() { panic("at fault") }
		bad.s.reading(true)
	})
	if _, err := badPeer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if at := soon(t, r.faults); at != bad.s {
		t.Errorf("the fault is told of %p, want %p", at, bad.s)
	}
	asks(t, goodPeer, "after")
	r.do(func() {})
	_ = badPeer.SetDeadline(time.Now().Add(longest))
	if _, err := badPeer.Read(make([]byte, 1)); err == nil {
		t.Error("the endpoint at fault goes on")
	} else if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		t.Error("the endpoint at fault is not closed")
	}
	if len(r.faults) != 0 {
		t.Errorf("%d more faults", len(r.faults))
	}
}

// awaitBytes waits until fd has bytes to read.
func awaitBytes(t *testing.T, fd int) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, int(longest.Milliseconds())); n != 1 || err != nil {
		t.Errorf("no bytes come: %v", err)
	}
}

func TestTimersFireInOrderAndCanBeMovedAndRemoved(t *testing.T) {
	r := startLoop(t)
	var order []string
	done := make(chan struct{})
	set := func(name string, after time.Duration) *timer {
		p := &probe{t: t}
		tm := &timer{of: &socket{owner: p}}
		at := r.now + int64(after)
		p.expired = func(now int64) {
			order = append(order, name)
			if now < tm.at {
				t.Errorf("%s fired %v before its time", name, time.Duration(tm.at-now))
			}
			if name == "last" {
				close(done)
			}
		}
		r.timers.set(tm, at)
		return tm
	}
	r.do(func() {
		set("last", 40*time.Millisecond)
		set("third", 20*time.Millisecond)
		moved := set("first", time.Hour)
		set("second", 10*time.Millisecond)
		later := set("fourth", time.Millisecond)
		removed := set("removed", 5*time.Millisecond)
		r.timers.set(moved, r.now+int64(2*time.Millisecond))
		r.timers.set(later, r.now+int64(30*time.Millisecond))
		r.timers.set(removed, 0)
	})
	soon(t, done)
	r.do(func() {
		if want := []string{"first", "second", "third", "fourth", "last"}; !slices.Equal(order, want) {
			t.Errorf("they fired as %q, want %q", order, want)
		}
	})
}

func TestASocketWithBytesWithoutEndStarvesNoOther(t *testing.T) {
	r := startLoop(t)
	reads := map[*probe]int{}
	var greedy [2]*probe
	for i := range greedy {
		p, _ := r.plain()
		greedy[i] = p
		p.read = func() {
			reads[p]++
			if a, b := reads[greedy[0]], reads[greedy[1]]; a-b > 1 || b-a > 1 {
				t.Errorf("%d reads of one, %d of the other", a, b)
			}
			r.resume(p.s)
			r.resume(p.s) // once more counts once
		}
	}
	other, peer := r.plain()
	r.echo(other)
	r.do(func() {
		for _, p := range greedy {
			p.s.reading(true)
			r.resume(p.s)
		}
	})
	fired := make(chan struct{})
	r.do(func() {
		p := &probe{t: t, expired: func(int64) { close(fired) }}
		r.timers.set(&timer{of: &socket{owner: p}}, r.now+1)
	})
	soon(t, fired)
	for range 20 {
		asks(t, peer, "still there?")
	}
	r.do(func() {
		for _, p := range greedy {
			if reads[p] == 0 {
				t.Error("a socket that was to be read again was not")
			}
			p.read = func() {}
		}
	})
}

func TestNoEventOfAClosedSocketReachesTheNextOne(t *testing.T) {
	r := startLoop(t)
	a, aPeer := r.plain()
	b, bPeer := r.plain()
	next, _ := r.plain()
	closed := make(chan *probe, 1)
	r.do(func() {
		for _, p := range []*probe{a, b} {
			p.read = func() {
				victim := a
				if p == a {
					victim = b
				}
				p.s.reading(false)
				r.close(victim.s)
				r.close(victim.s) // once more changes nothing
				victim.read = nil // and must not be called
				// A descriptor that is taken now is not the victim's.
				fd, err := unix.FcntlInt(uintptr(next.s.fd), unix.F_DUPFD_CLOEXEC, victim.s.fd)
				if err != nil || fd == victim.s.fd {
					t.Errorf("descriptor %d was free before the end of the turn (%v)", fd, err)
				}
				late := &probe{t: t}
				late.s = &socket{fd: fd, owner: late}
				if err := r.attach(late.s, wantRead); err != nil {
					t.Error(err)
				}
				closed <- victim
			}
			p.s.reading(true)
		}
		for _, w := range []struct {
			peer net.Conn
			p    *probe
		}{{aPeer, a}, {bPeer, b}} {
			if _, err := w.peer.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			awaitBytes(t, w.p.s.fd) // both are ready when the loop looks next
		}
	})
	victim := soon(t, closed)
	peer := aPeer
	if victim == b {
		peer = bPeer
	}
	_ = peer.SetDeadline(time.Now().Add(longest))
	_, err := peer.Read(make([]byte, 1))
	if e := net.Error(nil); err == nil || errors.As(err, &e) && e.Timeout() {
		t.Errorf("the descriptor was not freed: %v", err)
	}
	r.do(func() {
		if len(r.dead) != 0 {
			t.Errorf("%d descriptors wait to be freed", len(r.dead))
		}
	})
}

func TestADetachedSocketIsLeftAlone(t *testing.T) {
	r := startLoop(t)
	p, peer := r.plain()
	r.do(func() {
		p.s.reading(true)
		p.s.received(gatherAfter) // one that gathers, too, which the other loop must not wait for
		if !p.s.gathers {
			t.Error("it does not gather")
		}
		r.detach(p.s)
		if p.s.gathers || len(r.bulk) != 0 {
			t.Errorf("it gathers on: %v, known to the loop: %d", p.s.gathers, len(r.bulk))
		}
	})
	if _, err := peer.Write([]byte("for another loop")); err != nil {
		t.Fatal(err)
	}
	other := startLoop(t)
	got := make(chan []byte, 1)
	other.do(func() {
		p.read = func() {
			b, err := p.s.fill()
			if err != nil {
				t.Error(err)
			}
			got <- bytes.Clone(b)
		}
		if err := other.attach(p.s, wantRead); err != nil {
			t.Error(err)
		}
	})
	if b := soon(t, got); string(b) != "for another loop" {
		t.Errorf("the other loop read %q", b)
	}
}
