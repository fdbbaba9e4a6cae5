package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handoverConn is a network connection that can be taken over by an event loop.
// Until then it is an ordinary net.Conn for a goroutine: for the TLS handshake of a
// client, and for all that opens a backend. After takeOver its file descriptor
// belongs to the loop, and for a tls.Conn on top of it, Read and Write work on the
// memory in in and out.
type handoverConn struct {
	net.Conn
	taken atomic.Bool
	head  []byte // read already, and to be read again
	in    []byte // ciphertext that the loop has read
	out   []byte // ciphertext for the loop to write
}

// errEmpty ends a Read of a tls.Conn when the loop has no more ciphertext.
// crypto/tls does not remember an error that is a temporary net.Error, so the
// next Read goes on where this one stopped.
type emptyError struct{}

func (emptyError) Error() string   { return "no more bytes for now" }
func (emptyError) Timeout() bool   { return true }
func (emptyError) Temporary() bool { return true }

var errEmpty net.Error = emptyError{}

func (c *handoverConn) Read(p []byte) (int, error) {
	if !c.taken.Load() {
		if len(c.head) > 0 {
			n := copy(p, c.head)
			c.head = c.head[n:]
			return n, nil
		}
		return c.Conn.Read(p)
	}
	if len(c.in) == 0 {
		return 0, errEmpty
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *handoverConn) Write(p []byte) (int, error) {
	if !c.taken.Load() {
		return c.Conn.Write(p)
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

// SetDeadline and its kin do nothing once the loop owns the connection: its
// timers take their place, and crypto/tls sets deadlines when it closes.
func (c *handoverConn) SetDeadline(t time.Time) error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

func (c *handoverConn) SetReadDeadline(t time.Time) error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *handoverConn) SetWriteDeadline(t time.Time) error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// Close closes the connection unless the loop owns its file descriptor.
func (c *handoverConn) Close() error {
	if c.taken.Load() {
		return nil
	}
	return c.Conn.Close()
}

// errNotASocket is returned for a connection that no event loop can watch.
var errNotASocket = errors.New("connection has no file descriptor")

// takeOver moves conn, a handoverConn or a TLS connection over one, out of the
// runtime's hands: it returns a non-blocking file descriptor that the caller
// owns, and the two layers above it, both nil for plain text.
func takeOver(conn net.Conn) (fd int, tlsConn *tls.Conn, raw *handoverConn, err error) {
	under := conn
	if t, ok := conn.(*tls.Conn); ok {
		tlsConn, under = t, t.NetConn()
	}
	raw, ok := under.(*handoverConn)
	if !ok {
		return -1, nil, nil, errNotASocket
	}
	if fd, err = duplicate(raw.Conn); err != nil {
		return -1, nil, nil, err
	}
	_ = raw.Conn.Close() // the duplicate keeps the socket open, and the flag O_NONBLOCK is the socket's
	raw.taken.Store(true)
	if tlsConn == nil {
		return fd, nil, nil, nil
	}
	raw.Conn = nil // none of its methods is called from here on: it need not take memory
	return fd, tlsConn, raw, nil
}

// duplicate returns another descriptor of a connection or a listener.
func duplicate(conn any) (fd int, err error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return -1, errNotASocket
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := rc.Control(func(f uintptr) { fd, err = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}

// fileConn is a socket that a loop has detached, as a connection for a goroutine.
// net.FileConn would set the keep-alive of its own taste.
type fileConn struct{ *os.File }

// handBack is takeOver the other way round: fd belongs to the connection.
func handBack(fd int) fileConn { return fileConn{os.NewFile(uintptr(fd), "client")} }

// LocalAddr and RemoteAddr are asked for by nobody.
func (fileConn) LocalAddr() net.Addr  { return nil }
func (fileConn) RemoteAddr() net.Addr { return nil }

// Keep-alive finds peers that vanished without a word. The user timeout bounds
// how long sent bytes may stay unacknowledged: a peer that was cut off while it
// had a window open.
const (
	keepAliveIdle     = 60 // seconds
	keepAliveInterval = 15 // seconds
	keepAliveCount    = 4
	unackedMillis     = 120_000 // TCP_USER_TIMEOUT
)

// tune sets what every TCP connection of the proxy has; on a listener, what its
// connections inherit ("accept" of Linux).
func tune(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		for _, option := range [...]struct{ level, name, value int }{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveIdle},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveInterval},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, unackedMillis},
		} {
			_ = unix.SetsockoptInt(int(fd), option.level, option.name, option.value) // best effort: without it a dead peer is found later
		}
	})
}

func closeFD(fd int) { _ = unix.Close(fd) }

// dialBackend is the session.DialFunc of the proxy.
func dialBackend(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: tune, KeepAlive: -1} // set already
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &handoverConn{Conn: conn}, nil
}
