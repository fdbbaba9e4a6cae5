package integration

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wire is a client that says exactly the bytes it is told to.
type wire struct {
	t      testing.TB
	ep     endpoint
	conn   net.Conn
	r      *bufio.Reader
	pid    uint32
	key    []byte
	params map[string]string // ParameterStatus values of the login
}

// frame is one message of the server, type and body.
type frame struct {
	typ  byte
	body []byte
}

// wireTimeout bounds every read of a wire client.
const wireTimeout = 30 * time.Second

// dial opens a bare connection to the endpoint.
func (e endpoint) dial(t testing.TB) *wire {
	t.Helper()
	w, err := e.tryDial(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// tryDial opens the socket, for goroutines that may not fail the test themselves.
func (e endpoint) tryDial(t testing.TB) (*wire, error) {
	c, err := net.DialTimeout("tcp", e.address(), 10*time.Second)
	if err != nil {
		return nil, err
	}
	w := newWire(t, e, c)
	if e.tls != nil {
		err = w.requestTLS(e.tls)
	}
	return w, err
}

// newWire makes a wire client of an open socket.
func newWire(t testing.TB, e endpoint, c net.Conn) *wire {
	return &wire{t: t, ep: e, conn: c, r: bufio.NewReaderSize(c, 64<<10)}
}

// login connects and logs in with the endpoint's identity.
func (e endpoint) login(t testing.TB, params ...string) *wire {
	t.Helper()
	w, err := e.tryLogin(t, params...)
	if err != nil {
		t.Fatalf("login, %s: %v", e.name, err)
	}
	return w
}

// tryLogin is login that returns what went wrong.
func (e endpoint) tryLogin(t testing.TB, params ...string) (*wire, error) {
	t.Helper()
	w, err := e.tryDial(t)
	if err != nil {
		return nil, err
	}
	t.Cleanup(w.close)
	w.send(startup(append([]string{"user", e.user, "database", e.database}, params...)...))
	return w, w.authenticate()
}

// authenticate answers the password request and reads up to the first ReadyForQuery.
func (w *wire) authenticate() error {
	for {
		f, err := w.read()
		if err != nil {
			return err
		}
		switch f.typ {
		case 'R':
			if binary.BigEndian.Uint32(f.body) == 3 {
				w.send(password(w.ep.password))
			}
		case 'S':
			name, value, _ := strings.Cut(strings.TrimSuffix(string(f.body), "\x00"), "\x00")
			if w.params == nil {
				w.params = map[string]string{}
			}
			w.params[name] = value
		case 'K':
			w.pid, w.key = binary.BigEndian.Uint32(f.body), f.body[4:]
		case 'Z':
			return nil
		case 'E':
			return errors.New(f.String())
		}
	}
}

// requestTLS sends an SSLRequest and starts TLS, which the server must offer.
func (w *wire) requestTLS(config *tls.Config) error {
	w.send(untyped(codeSSL))
	_ = w.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b, err := w.r.ReadByte(); err != nil || b != 'S' {
		return fmt.Errorf("the SSLRequest was answered with %q, %w", b, err)
	}
	return w.startTLS(config)
}

// startTLS wraps the connection in TLS as a client.
func (w *wire) startTLS(config *tls.Config) error {
	c := tls.Client(w.conn, config)
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := c.Handshake(); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	w.conn, w.r = c, bufio.NewReaderSize(c, 64<<10)
	return nil
}

// send writes the messages in one write; a peer that is gone is not an error
// here, the next read tells.
func (w *wire) send(messages ...[]byte) {
	w.t.Helper()
	_ = w.conn.SetWriteDeadline(time.Now().Add(wireTimeout))
	if _, err := w.conn.Write(join(messages...)); err != nil && !gone(err) {
		w.t.Errorf("write, %s: %v", w.ep.name, err)
	}
}

// gone says that an error means that the peer closed the connection.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, net.ErrClosed)
}

// read returns the next message of the server.
func (w *wire) read() (frame, error) {
	return w.readWithin(wireTimeout)
}

// readWithin is read with a bound of its own.
func (w *wire) readWithin(d time.Duration) (frame, error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(d))
	var head [5]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return frame{}, err
	}
	n := int(binary.BigEndian.Uint32(head[1:])) - 4
	if n < 0 || n > 1<<30 {
		return frame{}, fmt.Errorf("the server sent type %q with length %d", head[0], n+4)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(w.r, body)
	return frame{head[0], body}, err
}

// until reads up to and with the n-th message of the type.
func (w *wire) until(typ byte, n int) []frame {
	w.t.Helper()
	var all []frame
	for n > 0 {
		f, err := w.read()
		if err != nil {
			w.t.Fatalf("%s: %v after %v", w.ep.name, err, all)
		}
		all = append(all, f)
		if f.typ == typ {
			n--
		}
	}
	return all
}

// do sends the messages and reads one answer, up to ReadyForQuery.
func (w *wire) do(messages ...[]byte) []frame {
	w.t.Helper()
	w.send(messages...)
	return w.until('Z', 1)
}

// rest reads until the server closes; it must do so within the time.
func (w *wire) rest(within time.Duration) []frame {
	w.t.Helper()
	var all []frame
	for deadline := time.Now().Add(within); ; {
		f, err := w.readWithin(time.Until(deadline))
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				w.t.Fatalf("%s: still open after %v, having sent %v", w.ep.name, within, all)
			}
			return all
		}
		all = append(all, f)
	}
}

// value runs SQL that gives one value.
func (w *wire) value(sql string) string {
	w.t.Helper()
	for _, f := range w.do(simple(sql)) {
		switch f.typ {
		case 'D':
			return f.cells()[0]
		case 'E':
			w.t.Fatalf("%s: %v\n%s", w.ep.name, f, sql)
		}
	}
	w.t.Fatalf("%s: no row for %s", w.ep.name, sql)
	return ""
}

// close closes the socket without a Terminate.
func (w *wire) close() {
	_ = w.conn.Close()
}

// reset closes the socket so that the peer gets a RST.
func (w *wire) reset() {
	c := w.conn
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// cancel sends a CancelRequest on a connection of its own in plain TCP and, when
// wait is set, waits for the server to close it.
func (w *wire) cancel(wait bool) error {
	c, err := net.DialTimeout("tcp", w.ep.address(), 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err = c.Write(cancelRequest(w.pid, w.key)); err != nil || !wait {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, err := c.Read(make([]byte, 1))
	if n == 0 && gone(err) {
		return nil
	}
	return fmt.Errorf("the cancel socket answered %d bytes, %w", n, err)
}

// loginBurst renders the ParameterStatus values, sorted.
func (w *wire) loginBurst() string {
	var lines []string
	for name, value := range w.params {
		lines = append(lines, name+"="+value)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}
