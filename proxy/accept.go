package proxy

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// door is the listening socket on the loop that takes connections from it.
type door struct {
	server *Server
	ln     net.Listener // that it was opened as: closing it removes a Unix socket's file
	sock   *socket
	timer  timer
}

// openDoor lets the first loop take the connections of ln.
func (s *Server) openDoor(ln net.Listener) (*door, error) {
	fd, err := duplicate(ln)
	if err != nil {
		return nil, err
	}
	d := &door{server: s, ln: ln, sock: &socket{fd: fd}}
	d.sock.owner, d.timer.owner = d, d
	opened := make(chan error, 1)
	s.loops[0].post(func() { opened <- s.loops[0].attach(d.sock, wantRead) })
	return d, <-opened
}

// shut ends the listening; when it returns no connection is taken any more.
func (d *door) shut() {
	shut := make(chan struct{})
	d.server.loops[0].post(func() {
		d.sock.loop.timers.set(&d.timer, 0)
		d.sock.loop.close(d.sock)
		close(shut)
	})
	<-shut
	_ = d.ln.Close()
}

// acceptPause is how long nobody is let in after that has failed.
const acceptPause = 50 * time.Millisecond

// readable takes one connection. Others that wait come in the next turns, so that
// a crowd at the door does not keep those who are in from theirs.
func (d *door) readable() {
	fd, from, err := unix.Accept4(d.sock.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		return
	case err != nil:
		// Mostly file descriptors running out: others may end soon.
		d.server.log().Error("connection cannot be accepted", "error", err)
		d.sock.reading(false)
		d.sock.loop.timers.set(&d.timer, d.sock.loop.now+int64(acceptPause))
		return
	}
	g := d.server.admit(fd, from)
	switch {
	case g == nil:
		closeFD(fd)
	case g.loop == d.sock.loop:
		g.start()
	case !g.loop.post(g.start):
		closeFD(fd)
	}
}

func (d *door) deadline(int64) { d.sock.reading(true) }
func (d *door) drained()       {}
func (d *door) hungUp()        {}

// admit makes a connection a login on one of the loops, or returns nil when too
// many are under way.
func (s *Server) admit(fd int, from unix.Sockaddr) *login {
	g := &login{server: s, config: s.config.Load(), loop: s.nextLoop(), sock: &socket{fd: fd}, id: s.sessions.Add(1), accepted: clock()}
	g.sock.owner, g.timer.owner = g, g
	g.peer, g.local, g.unix = peerOf(from)
	if !s.arrivals.add(g, g.config.Limits.MaxUnauthenticated) {
		s.metrics.login(endTooMany)
		return nil
	}
	return g
}

// peerOf says who is at the other end. The address of a Unix socket is zero.
func peerOf(from unix.Sockaddr) (peer netip.Addr, local, viaUnix bool) {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		peer = netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		peer = netip.AddrFrom16(a.Addr).Unmap()
	default:
		return peer, true, true
	}
	return peer, peer.IsLoopback(), false
}
