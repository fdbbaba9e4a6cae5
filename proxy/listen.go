package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// defaultPort names the socket file in a Unix socket directory.
const defaultPort = "6432"

// listen opens the address: host:port, or a directory for a Unix socket.
func listen(l Listen) (net.Listener, error) {
	if !strings.HasPrefix(l.Address, "/") {
		ln, err := net.Listen("tcp", l.Address)
		if err != nil {
			return nil, fmt.Errorf("listen.address: %w", err)
		}
		return ln, nil
	}
	port := l.Port
	if port == "" {
		port = defaultPort
	}
	path := filepath.Join(l.Address, ".s.PGSQL."+port)
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen.address: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen.address: %w", err)
	}
	// Anyone on this machine may connect; the token decides, as on TCP loopback.
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // a socket that clients of other users connect to
		_ = ln.Close()
		return nil, fmt.Errorf("listen.address: %w", err)
	}
	return ln, nil
}

// removeStale removes the socket file of a process that is gone.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is in the way and is not a socket", path)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	return os.Remove(path)
}

// accept takes connections until the listener is closed.
func (s *Server) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Mostly file descriptors running out: others may end soon.
			s.log().Error("connection cannot be accepted", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		s.admit(conn)
	}
}

// admit starts a login unless too many are under way.
func (s *Server) admit(conn net.Conn) {
	config := s.config.Load()
	raw := &handoverConn{Conn: conn}
	g := &login{server: s, config: config, raw: raw, conn: raw, id: s.sessions.Add(1), accepted: time.Now()}
	g.peer, g.local, g.unix = peerOf(conn)
	if !s.arrivals.add(g, config.Limits.MaxUnauthenticated) {
		s.metrics.login(endTooMany)
		_ = conn.Close()
		return
	}
	tune(conn)
	if err := conn.SetDeadline(time.Now().Add(config.Timeouts.ClientLogin)); err != nil {
		s.arrivals.remove(g)
		_ = conn.Close()
		return
	}
	go func() {
		defer s.arrivals.remove(g)
		g.run()
	}()
}

// peerOf says who is at the other end. The address of a Unix socket is zero.
func peerOf(conn net.Conn) (peer netip.Addr, local, unix bool) {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return peer, true, true
	}
	peer = tcp.AddrPort().Addr().Unmap()
	return peer, peer.IsLoopback(), false
}
