package proxy

import (
	"net"
	"testing"
)

// joined returns a client that is logged in at s and has no backend, and its other end.
// When it has left s, s.empty is closed.
func joined(t *testing.T, s *Server) (*running, *client, net.Conn) {
	t.Helper()
	r := &running{loop: s.loops[0], t: t}
	p, peer := r.plain()
	c := &client{server: s, db: s.databases["app"], sock: p.s, loop: r.loop, joined: true, welcomed: true}
	r.do(func() { p.s.owner, c.timer.of = c, p.s })
	s.draining.Store(true)
	s.mu.Lock()
	s.clients[c] = struct{}{}
	s.mu.Unlock()
	return r, c, peer
}

// TestAClientThatIsGoneIsSeenWhileItsStatementIsCancelled has it seen by what could not
// be written to it, which is no reason to read it before the cancel is over.
func TestAClientThatIsGoneIsSeenWhileItsStatementIsCancelled(t *testing.T) {
	s := looping(t)
	r, c, peer := joined(t, s)
	r.do(func() {
		c.stopping = true
		c.sock.broken()
	})
	_ = peer.Close()
	soon(t, s.empty)
}
