package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantgate/tenantgate/wire"
)

// DialConfig says how a backend of one database is reached.
type DialConfig struct {
	DSN             string // libpq keyword/value or URL form
	Password        string // from password_file; empty: the DSN's own or none
	ConnectTimeout  time.Duration
	AllowUnsafeRole bool    // accept a role that row security does not bind
	Seal            SealKey // seals the context; zero: it is entered unsealed
}

// DialFunc opens a network connection. The proxy passes one whose connections
// its event loop can take over.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Backend is one authenticated PostgreSQL connection, hijacked from pgconn.
// Nothing is buffered: the next byte read from Conn is the next protocol byte.
type Backend struct {
	Conn    net.Conn   // a *tls.Conn when the connection is encrypted
	PID     uint32     // process id of the server process
	Params  Parameters // in force on it now
	Created time.Time
	Tenant  string // whose context it last carried; a hint for affinity, never a permission

	escapes bool         // standard_conforming_strings is off
	seal    *backendSeal // nil: the context is entered unsealed
	whole   bool         // the database was sealed whole when the connection was opened
	cancel  cancelRoute

	carried *Entry // of the session that it has served last; nil: it is clean
	stirred bool   // that session may have left something behind
	left    *Entry // what it carried before its last reset
	stay    stay
	shelf   shelf
	moved   map[string]change // parameters that have changed since it was entered
}

// change is of a parameter.
type change struct {
	was   string // when the context was entered
	heard bool   // PostgreSQL has reported it, and the client has read that
}

// cancelRoute is how a cancel reaches the server process of a backend.
type cancelRoute struct {
	network, address string
	dial             pgconn.DialFunc
	tls              *tls.Config // nil: the backend is not encrypted
	direct           bool        // TLS begins without being asked for
	key              []byte
}

// routeOf takes out of a connection what a cancel needs, so that the rest of what
// it was opened with is not kept as long as it lives.
func routeOf(hc *pgconn.HijackedConn) cancelRoute {
	cfg, addr := hc.Config, hc.Conn.RemoteAddr()
	r := cancelRoute{
		network: addr.Network(), address: addr.String(), dial: cfg.DialFunc,
		tls: hc.TLSConfig, direct: cfg.SSLNegotiation == "direct", key: hc.SecretKey,
	}
	if r.network == "unix" { // the peer's name is relative to its own directory
		r.network, r.address = pgconn.NetworkAddress(cfg.Host, cfg.Port)
	}
	return r
}

// ErrUnsafeRole is wrapped by Dial when row security does not bind the role
// that the DSN logs in with.
var ErrUnsafeRole = errors.New("row security does not bind the backend role")

// Dial opens a backend: TCP or Unix socket, TLS, authentication, multiple hosts
// and target_session_attrs as the DSN says, then examines the role. The caller
// owns the returned backend and closes its Conn.
func Dial(ctx context.Context, cfg DialConfig, spec *ContextSpec, dial DialFunc) (*Backend, error) {
	ctx, cancel := cfg.limit(ctx)
	defer cancel()
	conn, err := connect(ctx, cfg, dial)
	if err != nil {
		return nil, err
	}
	b, err := adopt(ctx, conn, cfg, spec)
	if err != nil {
		closeNow(conn)
		return nil, err
	}
	return b, nil
}

// Findings are what Examine found and what is no error by itself.
type Findings struct {
	// Forgeable are the settings that policies decide by and that the context does
	// not enter, so that every client can set them to what it likes.
	Forgeable []string
	Seal      SealState
}

// Examine opens a connection as Dial does, examines its role and the seal of its
// database, and closes it.
func Examine(ctx context.Context, cfg DialConfig, spec *ContextSpec) (f Findings, err error) {
	ctx, cancel := cfg.limit(ctx)
	defer cancel()
	conn, err := connect(ctx, cfg, nil)
	if err != nil {
		return f, err
	}
	defer closeNow(conn)
	if err := examineRole(ctx, conn, cfg, spec); err != nil {
		return f, err
	}
	if f.Seal, _, err = readSeal(ctx, conn, cfg, spec); err != nil {
		return f, err
	}
	f.Forgeable, err = forgeable(ctx, conn, spec)
	return f, err
}

// limit bounds everything until the backend is usable.
func (cfg DialConfig) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if cfg.ConnectTimeout > 0 {
		return context.WithTimeout(ctx, cfg.ConnectTimeout)
	}
	return context.WithCancel(ctx)
}

func connect(ctx context.Context, cfg DialConfig, dial DialFunc) (*pgconn.PgConn, error) {
	pc, err := ParseDSN(cfg)
	if err != nil {
		return nil, err
	}
	if dial != nil {
		pc.DialFunc = pgconn.DialFunc(dial)
	}
	return pgconn.ConnectConfig(ctx, pc)
}

// closeNow ends a connection without waiting for the server.
func closeNow(conn *pgconn.PgConn) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = conn.Close(ctx) // the context is over: only the socket is closed
}

// adopt examines the role behind conn and takes its socket away from pgconn.
func adopt(ctx context.Context, conn *pgconn.PgConn, cfg DialConfig, spec *ContextSpec) (*Backend, error) {
	if err := examineRole(ctx, conn, cfg, spec); err != nil {
		return nil, err
	}
	var state SealState
	var seal *backendSeal
	if cfg.Seal != (SealKey{}) {
		var err error
		if state, seal, err = readSeal(ctx, conn, cfg, spec); err != nil {
			return nil, err
		}
	}
	if err := conn.SyncConn(ctx); err != nil {
		return nil, fmt.Errorf("synchronize the connection: %w", err)
	}
	hc, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	if n := hc.Frontend.ReadBufferLen(); n != 0 || hc.TxStatus != 'I' {
		_ = hc.Conn.Close() // it is refused for more than what Close could say
		return nil, fmt.Errorf("the server sent %d bytes that nobody asked for", n)
	}
	if unsafeEncoding(hc.ParameterStatuses["client_encoding"]) {
		_ = hc.Conn.Close()
		return nil, fmt.Errorf("the default of client_encoding on this server: %w", ErrUnsafeEncoding)
	}
	return &Backend{
		Conn: hc.Conn, PID: hc.PID, Params: newParameters(hc.ParameterStatuses),
		Created: time.Now(), escapes: hc.ParameterStatuses["standard_conforming_strings"] == "off",
		seal: seal, whole: state.Whole(), cancel: routeOf(hc),
	}, nil
}

// Cancel asks the server to cancel what b is running now and waits until the
// server has closed the cancel connection: only then can the cancel no longer
// hit a later statement. See "Canceling Requests in Progress" in the PostgreSQL
// documentation.
//
// doubtful says that it may still arrive: it was sent, at least in part, and
// nobody saw the server take it.
func (b *Backend) Cancel(ctx context.Context) (doubtful bool, err error) {
	conn, err := b.dialCancel(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // what matters was read by then
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return false, err
		}
	}
	if _, err := conn.Write(wire.AppendCancelRequest(nil, b.PID, b.cancel.key)); err != nil {
		return true, err
	}
	// The server answers nothing and closes; over TLS it does so without a close_notify.
	switch _, err := conn.Read(make([]byte, 1)); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false, nil
	case err == nil:
		return true, errDesync
	default:
		return true, err
	}
}

// dialCancel connects to the server process's own host, encrypted as b is: the
// cancel key must not be readable on the way.
func (b *Backend) dialCancel(ctx context.Context) (net.Conn, error) {
	r := &b.cancel
	conn, err := r.dial(ctx, r.network, r.address)
	if err != nil || r.tls == nil {
		return conn, err
	}
	if !r.direct {
		if err := requestTLS(ctx, conn); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	encrypted := tls.Client(conn, r.tls)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return encrypted, nil
}

// requestTLS asks the server to go on with TLS ("SSL Session Encryption").
func requestTLS(ctx context.Context, conn net.Conn) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write(wire.AppendSSLRequest(nil)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return errors.New("the server refuses TLS for a cancel request")
	}
	return nil
}

// ParseDSN reads a DSN for pgconn, and takes out what must not depend on the
// environment of the process or on the network: run-time parameters and the
// silent fallback from TLS to plain text.
func ParseDSN(cfg DialConfig) (*pgconn.Config, error) {
	pc, err := pgconn.ParseConfig(cfg.DSN)
	if err != nil {
		return nil, err // pgconn hides the password in its text
	}
	if cfg.Password != "" {
		pc.Password = cfg.Password
	}
	// What stands here would be the value that DISCARD ALL restores, for every
	// tenant; PGOPTIONS, PGAPPNAME and PGTZ of our own environment end up here.
	// The one exception is how string literals are read: a backend that begins
	// otherwise could read a pipelined statement in another way than the guard.
	pc.RuntimeParams = map[string]string{"standard_conforming_strings": "on"}
	withoutPlaintext(pc)
	pc.OnNotice = nil
	return pc, nil
}

// withoutPlaintext drops the attempts without TLS at a host that is also tried
// with TLS (sslmode prefer and allow): whoever stands between could choose. On
// loopback and Unix sockets there is no network to protect from.
func withoutPlaintext(pc *pgconn.Config) {
	attempts := append([]*pgconn.FallbackConfig{{Host: pc.Host, Port: pc.Port, TLSConfig: pc.TLSConfig}}, pc.Fallbacks...)
	var kept []*pgconn.FallbackConfig
	for _, a := range attempts {
		if a.TLSConfig != nil || local(a.Host) || !hasTLS(pc, a.Host, a.Port) {
			kept = append(kept, a)
		}
	}
	pc.Host, pc.Port, pc.TLSConfig = kept[0].Host, kept[0].Port, kept[0].TLSConfig
	pc.Fallbacks = kept[1:]
}

func hasTLS(pc *pgconn.Config, host string, port uint16) bool {
	if pc.Host == host && pc.Port == port && pc.TLSConfig != nil {
		return true
	}
	for _, f := range pc.Fallbacks {
		if f.Host == host && f.Port == port && f.TLSConfig != nil {
			return true
		}
	}
	return false
}

// local says that host never leaves this machine.
func local(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// note follows which parameters are not what they were when the context was entered.
func (b *Backend) note(name, value string) {
	known, old := b.Params.known(name)
	first, ok := b.moved[name]
	switch {
	case ok && first.was == value:
		delete(b.moved, name)
	case ok:
		b.move(known, change{first.was, true})
	case old != value:
		b.move(known, change{old, true})
	}
}

// move notes a change.
func (b *Backend) move(name string, c change) {
	if b.moved == nil {
		b.moved = map[string]change{}
	}
	b.moved[name] = c
}

// Report takes the body of a ParameterStatus message of the backend.
func (b *Backend) Report(body []byte) error {
	name, value, ok := wire.ParameterStatus(body)
	if !ok {
		return errDesync
	}
	b.note(name, value)
	b.Params.set(name, value)
	switch name {
	case "standard_conforming_strings":
		b.escapes = value == "off"
	case "client_encoding":
		if unsafeEncoding(value) {
			return ErrUnsafeEncoding
		}
	}
	return nil
}
