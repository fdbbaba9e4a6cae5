package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

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
	cancelled bool // it was a cancel request
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
	if g.config.OnExpiry == ExpiryIgnore {
		entry.Outlive()
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
	g.server.log().Info("login", "session", g.id, "client", g.peer, "user", printable(g.startup.User), "database", g.db.name,
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
		if !g.cancelled {
			g.server.metrics.login(endClientGone)
		}
		_ = g.conn.Close()
		return
	}
	g.server.metrics.login(r.reason)
	args := []any{"session", g.id, "client", g.peer, "user", printable(g.startup.User), "database", printable(g.startup.Database), "reason", string(r.reason)}
	g.server.log().Log(context.Background(), r.level(), "login refused", withCause(args, r.cause)...)
	if r.reason != endTLS {
		if msg := r.message(); msg != nil {
			g.say(msg)
		}
	}
	_ = g.conn.Close()
}

// printable is a name of the client's as it may stand in a log: short, and no
// token that was put in the wrong field.
func printable(name string) string {
	const longest = 63 // of a name in PostgreSQL
	if strings.Count(name, ".") >= 2 && (strings.HasPrefix(name, "eyJ") || len(name) > longest) {
		return "[redacted]"
	}
	return name[:min(len(name), longest)]
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
	g.cancelled = true
	pid, key, err := wire.ParseCancel(body)
	if err != nil {
		g.server.metrics.cancel(resultMalformed)
		return
	}
	_ = g.conn.SetDeadline(time.Time{})
	g.server.cancels.request(pid, key)
}
