package proxy

import (
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// door is the listening socket on the loop that takes connections from it.
type door struct {
	server *Server
	path   string // of a Unix socket's file
	sock   *socket
	timer  timer
}

// openDoor lets the first loop take the connections of ln, which is closed then: Go's
// runtime watches what it has opened, and would wake a thread for every connection.
// On an error it is the caller's to close.
func (s *Server) openDoor(ln net.Listener) (*door, error) {
	fd, err := duplicate(ln)
	if err != nil {
		return nil, err
	}
	d := &door{server: s, sock: &socket{fd: fd}}
	d.sock.owner, d.timer.of = d, d.sock
	opened := make(chan error, 1)
	s.loops[0].post(func() { opened <- s.loops[0].attach(d.sock, wantRead) })
	if err := <-opened; err != nil {
		return nil, err
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
		d.path = ln.Addr().String()
	}
	_ = ln.Close() // the duplicate goes on listening
	return d, nil
}

// shut ends the listening; when it returns no connection is taken any more.
func (d *door) shut() {
	if d.path != "" {
		_ = os.Remove(d.path) // first: once it is closed another process may take the name
	}
	shut := make(chan struct{})
	d.server.loops[0].post(func() {
		d.sock.loop.timers.set(&d.timer, 0)
		d.sock.loop.close(d.sock)
		close(shut)
	})
	<-shut
}

// acceptPause is how long nobody is let in after that has failed.
const acceptPause = 50 * time.Millisecond

// readable takes one connection. Others that wait come in the next turns, so that
// a crowd at the door does not keep those who are in from theirs.
func (d *door) readable() {
	var from unix.RawSockaddrAny
	fd, errno := acceptFD(d.sock.fd, &from)
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED:
		return
	default:
		// Mostly file descriptors running out: others may end soon.
		d.server.log().Error("connection cannot be accepted", "error", errno)
		d.sock.reading(false)
		d.sock.loop.timers.set(&d.timer, d.sock.loop.now+int64(acceptPause))
		return
	}
	g := d.server.admit(fd, &from, d.sock.loop.now)
	switch {
	case g == nil:
		closeFD(fd)
	case g.loop == d.sock.loop:
		g.start()
	case !g.loop.postFor(g.sock, g.start):
		closeFD(fd)
	}
}

func (d *door) deadline(int64) { d.sock.reading(true) }
func (d *door) drained()       {}
func (d *door) hungUp()        {}

// admit makes a connection that came at the time now a login on one of the loops, or
// returns nil when too many are under way.
func (s *Server) admit(fd int, from *unix.RawSockaddrAny, now int64) *login {
	g := &login{server: s, config: s.config.Load(), loop: s.nextLoop(), sock: &socket{fd: fd}, id: s.sessions.Add(1), accepted: now}
	g.sock.owner, g.timer.of = g, g.sock
	g.peer, g.local, g.unix = peerOf(from)
	if !s.arrivals.add(g, g.config.Limits.MaxUnauthenticated) {
		s.metrics.login(endTooMany)
		return nil
	}
	return g
}
