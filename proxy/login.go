package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/session"
	"github.com/tenantgate/tenantgate/wire"
)

// login is one connection from accept to hand-over, in a goroutine of its own on
// a blocking connection. One absolute deadline covers all of it.
type login struct {
	server *Server
	config *Config
	raw    *handoverConn
	conn   net.Conn // raw, or the TLS connection over it
	peer   netip.Addr
	local  bool // the peer is on this machine
	unix   bool
	id     uint64 // session id, for the log

	accepted time.Time

	encrypted bool
	asked     struct{ ssl, gss bool }
	version   uint32
	startup   session.Startup
	badParam  error // told after authentication: nothing is, before it
	identity  auth.Identity
	db        *database
}

// errNothing ends a login without a word: a cancel, a probe, a broken peer.
var errNothing = errors.New("closed without a word")

// run takes the login to its end: a client in a loop, or a refusal.
func (g *login) run() {
	defer func() {
		if p := recover(); p != nil {
			g.server.log().Error("login failed by a fault of tenantgate", "session", g.id, "panic", fmt.Sprint(p))
			_ = g.conn.Close()
		}
	}()
	err := g.steps()
	if err == nil {
		err = g.handOver()
		if err == nil {
			return
		}
	}
	g.fail(err)
}

// steps are the phases of a login, in order.
func (g *login) steps() error {
	packet, err := g.negotiate()
	if err != nil {
		return err
	}
	if err := g.readStartup(packet); err != nil {
		return err
	}
	if err := g.allowPassword(); err != nil {
		return err
	}
	if err := g.authenticate(); err != nil {
		return err
	}
	return g.authorize()
}

// negotiate answers encryption requests until the startup packet is read. Each
// may come once.
func (g *login) negotiate() (wire.Packet, error) {
	for {
		packet, err := g.readPacket()
		if err != nil {
			return packet, err
		}
		switch packet.Kind() {
		case wire.KindSSL:
			if g.asked.ssl || g.encrypted && !g.direct() {
				return packet, unsupportedVersion(packet.Code)
			}
			g.asked.ssl = true
			if err := g.answerSSL(); err != nil {
				return packet, err
			}
		case wire.KindGSSENC:
			if g.asked.gss {
				return packet, unsupportedVersion(packet.Code)
			}
			g.asked.gss = true
			if _, err := g.conn.Write([]byte{'N'}); err != nil {
				return packet, errNothing
			}
		case wire.KindCancel:
			g.cancel(packet.Body)
			return packet, errNothing
		case wire.KindStartup:
			return packet, nil
		default:
			return packet, unsupportedVersion(packet.Code)
		}
	}
}

// direct says that TLS began with the first byte, without an SSLRequest.
func (g *login) direct() bool { return g.encrypted && !g.asked.ssl }

func unsupportedVersion(code uint32) error {
	return &refusal{reason: endProtocol, code: "0A000", text: fmt.Sprintf(
		"unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", wire.Major(code), wire.Minor(code))}
}

// readPacket reads one packet of the startup phase and not a byte more. A TLS
// record in the place of the very first one starts TLS directly.
func (g *login) readPacket() (wire.Packet, error) {
	var first [1]byte
	if _, err := io.ReadFull(g.conn, first[:]); err != nil {
		return wire.Packet{}, errNothing
	}
	const handshakeRecord = 0x16
	if first[0] == handshakeRecord && !g.encrypted && !g.asked.ssl && !g.asked.gss {
		g.raw.head = first[:]
		if err := g.startTLS(true); err != nil {
			return wire.Packet{}, err
		}
		return g.readPacket()
	}
	packet, err := wire.ReadPacket(io.MultiReader(bytes.NewReader(first[:]), g.conn))
	return packet, g.readFault(err)
}

// readFault turns an error of reading into how the login ends.
func (g *login) readFault(err error) error {
	var v *wire.Violation
	var n net.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &v) && v.Silent:
		return errNothing
	case errors.As(err, &v):
		return &refusal{reason: endProtocol, cause: err, text: v.Text}
	case errors.As(err, &n) && n.Timeout():
		return &refusal{reason: endLoginTimeout}
	}
	return errNothing
}

// answerSSL answers an SSLRequest. Bytes that came behind it were sent before
// anything was encrypted and must never be taken for what is said inside TLS
// (CVE-2021-23214 and its kin): such a client is dropped.
func (g *login) answerSSL() error {
	if unread(g.raw.Conn) > 0 {
		return errNothing
	}
	answer := byte('S')
	if g.encrypted || g.server.tls.off() || g.unix {
		answer = 'N'
	}
	if _, err := g.conn.Write([]byte{answer}); err != nil || answer == 'N' {
		return ignoreNil(err)
	}
	return g.startTLS(false)
}

func ignoreNil(err error) error {
	if err != nil {
		return errNothing
	}
	return nil
}

// startTLS runs the handshake. Of a direct one ALPN is required, so that the
// bytes of another protocol cannot be replayed at this port.
func (g *login) startTLS(direct bool) error {
	config := g.server.tls.config()
	if config == nil {
		return errNothing
	}
	t := tls.Server(g.raw, config)
	if err := t.Handshake(); err != nil {
		return &refusal{reason: endTLS, cause: err}
	}
	if direct && t.ConnectionState().NegotiatedProtocol != alpn {
		return &refusal{reason: endTLS, cause: errNoALPN}
	}
	g.conn, g.encrypted = t, true
	return nil
}

// readStartup reads the startup packet's parameters and settles the protocol version.
func (g *login) readStartup(packet wire.Packet) error {
	params, err := wire.ParseParams(packet.Body)
	if err != nil {
		return g.readFault(err)
	}
	g.version = packet.Code
	if err := g.negotiateVersion(params); err != nil {
		return err
	}
	g.startup, g.badParam = session.ParseStartup(params, g.config.Context)
	if g.startup.User == "" {
		return paramRefusal(g.badParam)
	}
	return nil
}

// negotiateVersion offers what is spoken here where the client wants more
// ("NegotiateProtocolVersion" in "Message Formats").
func (g *login) negotiateVersion(params []wire.Param) error {
	var unknown []string
	for _, p := range params {
		if len(p.Name) >= 5 && p.Name[:5] == "_pq_." {
			unknown = append(unknown, p.Name)
		}
	}
	const newest = wire.Version32
	if g.version <= newest && len(unknown) == 0 {
		return nil
	}
	g.version = min(g.version, newest)
	if _, err := g.conn.Write(wire.NegotiateVersion(nil, g.version, unknown)); err != nil {
		return errNothing
	}
	return nil
}

func paramRefusal(err error) error {
	var p *session.ParamError
	if !errors.As(err, &p) {
		return &refusal{reason: endInternal, cause: err}
	}
	return &refusal{reason: endParameter, cause: err, code: p.Code, text: p.Text}
}

// allowPassword refuses, before a password is asked for, a connection on which
// it would cross a network in clear text.
func (g *login) allowPassword() error {
	if g.encrypted || g.unix {
		return nil
	}
	if g.server.tls.required() || !g.local && !g.config.Listen.AllowPlaintextPassword {
		return &refusal{reason: endNoTLS}
	}
	return nil
}

// authenticate asks for the token and verifies it. Whatever is wrong with it,
// the client is told the same.
func (g *login) authenticate() error {
	now := time.Now()
	if !g.config.Throttle.Allowed(g.peer, now) {
		return &refusal{reason: endThrottled, about: g.startup.User}
	}
	if _, err := g.conn.Write(wire.AppendAuthCleartext(nil)); err != nil {
		return errNothing
	}
	token, err := wire.ReadPassword(g.conn)
	if err != nil {
		return g.readFault(err)
	}
	id, err := g.config.Verifier.Verify(now, token)
	if err == nil {
		if user, bound := id.User(); bound && user != g.startup.User {
			err = errOtherUser
		}
	}
	if err != nil {
		g.config.Throttle.Failed(g.peer, now)
		return &refusal{reason: endToken, cause: err, about: g.startup.User}
	}
	g.identity = id
	return nil
}

var errOtherUser = errors.New("the startup user is not the one that the token names")

// authorize decides what the verified client may use.
func (g *login) authorize() error {
	if g.badParam != nil {
		return paramRefusal(g.badParam)
	}
	if g.server.draining.Load() {
		return &refusal{reason: endDrain}
	}
	g.db = g.server.database(g.startup.Database)
	if g.db == nil {
		return &refusal{reason: endDatabase, about: g.startup.Database}
	}
	if !g.identity.Carries(g.db.config.Load().Require) {
		g.config.Throttle.Failed(g.peer, time.Now())
		return &refusal{reason: endToken, about: g.startup.User, cause: errClaims}
	}
	return nil
}

var errClaims = errors.New("the token does not carry what the database requires")

// handOver gives the socket to an event loop. From there on the client's own
// states and limits hold.
func (g *login) handOver() error {
	entry, err := g.config.Context.NewEntry(g.id, g.identity, g.startup.Settings)
	if err != nil {
		return &refusal{reason: endInternal, cause: err}
	}
	c := &client{
		server: g.server, db: g.db, id: g.identity, entry: entry, log: g.id,
		protocol: g.version, expires: g.expires(),
	}
	if err := g.server.entered(c); err != nil {
		return err
	}
	if err := g.conn.SetDeadline(time.Time{}); err != nil {
		g.server.left(c)
		return errNothing
	}
	fd, tlsConn, raw, err := takeOver(g.conn)
	if err != nil {
		g.server.left(c)
		return &refusal{reason: endInternal, cause: err}
	}
	c.sock = &socket{fd: fd, tls: tlsConn, raw: raw, owner: c, more: tlsConn != nil}
	g.server.metrics.loginTime.Observe(time.Since(g.accepted).Seconds())
	g.server.log().Info("login", "session", g.id, "client", g.peer, "user", g.startup.User, "database", g.startup.Database,
		"tenant", g.identity.Tenant(), "subject", g.identity.Subject(), "token_id", g.identity.TokenID())
	c.loop.post(c.join)
	return nil
}

// expires is when the session ends for its token's sake, on the loops' clock.
func (g *login) expires() int64 {
	if g.config.OnExpiry == ExpiryIgnore {
		return 0
	}
	left := time.Until(g.identity.ExpiresAt()) // with the leeway
	if left > g.config.Leeway {
		left -= g.config.Leeway // else it was accepted for the leeway's sake
	}
	return clock() + int64(max(left, time.Millisecond))
}

// fail tells the client why, counts and logs it, and closes.
func (g *login) fail(err error) {
	var r *refusal
	if !errors.As(err, &r) {
		_ = g.conn.Close()
		return
	}
	g.server.metrics.login(r.reason)
	args := []any{"session", g.id, "client", g.peer, "user", g.startup.User, "database", g.startup.Database, "reason", string(r.reason)}
	g.server.log().Log(context.Background(), r.level(), "login refused", withCause(args, r.cause)...)
	if r.reason != endTLS {
		if msg := r.message(); msg != nil {
			g.say(msg)
		}
	}
	_ = g.conn.Close()
}

// say sends the last message and waits a moment for the client to have read it:
// closing with bytes unread would reset the connection and lose it.
func (g *login) say(msg []byte) {
	_ = g.conn.SetDeadline(time.Now().Add(lingerTime))
	if _, err := g.conn.Write(msg); err != nil {
		return
	}
	if c, ok := g.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	} else if c, ok := g.raw.Conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, g.conn, 1<<20)
}

// cancel acts on a CancelRequest: it comes in plain TCP even from clients whose
// session is encrypted, and is never answered. The connection stays open until
// PostgreSQL has taken the cancel, because libpq waits for that.
func (g *login) cancel(body []byte) {
	pid, key, err := wire.ParseCancel(body)
	if err != nil {
		g.server.metrics.cancel(resultMalformed)
		return
	}
	_ = g.conn.SetDeadline(time.Time{})
	g.server.cancels.request(pid, key)
}

// unread asks the kernel how many bytes wait to be read (FIONREAD by another name).
func unread(conn net.Conn) int {
	n := 0
	onFD(conn, func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.TIOCINQ) })
	return n
}
