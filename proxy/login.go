package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/session"
	"github.com/tenantgate/tenantgate/wire"
)

// login is one connection from accept until it is a client, on the loop that owns
// its socket. Top to bottom: packets of the startup phase (negotiate.go), then the
// token, then hand-over. What takes longer than a moment (a TLS handshake, a token
// that was not seen before, a cancel) a goroutine does aside. One absolute deadline
// covers all of it.
type login struct {
	server *Server
	config *Config
	loop   *loop
	sock   *socket
	timer  timer
	shaker fileConn // the connection while a goroutine shakes hands on it
	peer   netip.Addr
	local  bool // the peer is on this machine
	unix   bool
	stage  loginStage
	id     uint64 // session id, for the log

	accepted int64 // on the loops' clock

	encrypted bool
	cancelled bool // it was a cancel request
	asked     struct{ ssl, gss bool }
	version   uint32
	startup   session.Startup
	badParam  error // told after authentication: nothing is, before it
	identity  auth.Identity
	db        *database
}

// loginStage is what a login waits for.
type loginStage uint8

const (
	loginPacket   loginStage = iota // the next packet of the startup phase
	loginPassword                   // the token
	loginAside                      // a goroutine that works for it
	loginTold                       // that a client that was refused has read why
	loginOver                       // nothing: it is closed, or has become a client
)

// errNothing ends a login without a word: a cancel, a probe, a broken peer.
var errNothing = errors.New("closed without a word")

// start lets the login begin, on its loop.
func (g *login) start() {
	if err := g.loop.attach(g.sock, wantRead); err != nil {
		g.leave()
		return
	}
	g.loop.timers.set(&g.timer, g.accepted+int64(g.config.Timeouts.ClientLogin))
}

// readable takes the next step of the login, or more.
func (g *login) readable() {
	switch g.stage {
	case loginPacket:
		g.proceed(g.negotiate())
	case loginPassword:
		g.proceed(g.readPassword())
	case loginAside:
		g.sock.reading(false) // what is sent ahead waits
	case loginTold:
		if !g.sock.discard() {
			g.close()
		}
	}
}

// drained is called when the client has taken everything.
func (g *login) drained() {
	if g.stage == loginTold {
		g.sock.shutdown()
	}
}

// hungUp is called when the client has gone while a goroutine works for it. The
// connection counts until that is done.
func (g *login) hungUp() {
	g.sock.ended = true
	g.sock.park()
}

// deadline is called when the login has taken too long, or a client that was
// refused has had its time to read why.
func (g *login) deadline(int64) {
	switch {
	case g.stage == loginTold:
		g.close()
	case g.shaker.File != nil:
		_ = g.shaker.Close() // the handshake fails by that
	default:
		g.end(&refusal{reason: endLoginTimeout})
	}
}

// giveWay ends the login from any goroutine.
func (g *login) giveWay() { g.loop.postFor(g.sock, func() { g.end(errNothing) }) }

// aside lets a goroutine do what takes longer than a moment, and then the loop
// what it returned.
func (g *login) aside(work func() (then func())) {
	g.stage = loginAside
	go func() {
		then := func() { g.end(&refusal{reason: endInternal}) }
		defer func() {
			if p := recover(); p != nil {
				g.server.log().Error("login failed by a fault of tenantgate", "session", g.id, "panic", fmt.Sprint(p))
			}
			if !g.loop.postFor(g.sock, then) {
				then() // the loop has ended, and the login with it
			}
		}()
		then = work()
	}()
}

// readFault turns an error of reading into how the login ends.
func readFault(err error) error {
	var v *wire.Violation
	if errors.As(err, &v) && !v.Silent {
		return &refusal{reason: endProtocol, cause: err, text: v.Text}
	}
	return errNothing
}

// begin takes the startup packet: parameters, the protocol version, and whether a
// password may be asked for; then it asks.
func (g *login) begin(packet wire.Packet) error {
	var room [8]wire.Param
	params, err := wire.ParseParams(packet.Body, room[:])
	if err != nil {
		return readFault(err)
	}
	g.version = packet.Code
	g.negotiateVersion(params)
	g.startup, g.badParam = session.ParseStartup(params, g.config.Context)
	if g.startup.User == "" {
		return paramRefusal(g.badParam)
	}
	if err := g.allowPassword(); err != nil {
		return err
	}
	if !g.config.Throttle.Allowed(g.peer, g.loop.time()) {
		return &refusal{reason: endThrottled, about: g.startup.User}
	}
	g.stage = loginPassword
	g.sock.send(askPassword)
	if g.sock.more {
		g.loop.resume(g.sock) // it may have sent it already, in the same TLS record
	}
	return nil
}

// askPassword is an AuthenticationCleartextPassword.
var askPassword = wire.AppendAuthCleartext(nil)

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

// readPassword reads the token and verifies it. What came behind it is kept for
// the session.
func (g *login) readPassword() error {
	p, err := g.sock.fill()
	if errors.Is(err, errEmpty) {
		return nil
	}
	if err != nil {
		return errNothing
	}
	token, size, err := wire.Password(p)
	if err != nil {
		return readFault(err)
	}
	if len(p) < size {
		g.sock.keep(p)
		if g.sock.more {
			g.loop.resume(g.sock)
		}
		return nil
	}
	now := time.Now()
	id, known, err := g.config.Verifier.Recall(now, token)
	text := ""
	if !known {
		text = string(token)
	}
	g.sock.keep(p[size:])
	clear(p[:size]) // the buffer is for others, too
	if known {
		return g.verified(id, err)
	}
	g.aside(func() func() {
		id, err := g.config.Verifier.Verify(now, text)
		return func() {
			if g.stage == loginAside {
				g.proceed(g.verified(id, err))
			}
		}
	})
	return nil
}

// proceed ends the login if a step of it has failed.
func (g *login) proceed(err error) {
	if err != nil {
		g.end(err)
	}
}

// verified takes the verdict on the token. Whatever is wrong with it, the client
// is told the same.
func (g *login) verified(id auth.Identity, err error) error {
	if err == nil {
		if user, bound := id.User(); bound && user != g.startup.User {
			err = errOtherUser
		}
	}
	if err != nil {
		g.config.Throttle.Failed(g.peer, time.Now())
		return &refusal{reason: endToken, cause: err, about: g.startup.User}
	}
	g.identity = id
	if g.sock.ended {
		return errNothing
	}
	if err := g.authorize(); err != nil {
		return err
	}
	return g.handOver()
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

// handOver makes the connection a client. From there on the client's own states
// and limits hold.
func (g *login) handOver() error {
	entry, err := g.config.Context.NewEntry(g.id, g.identity, g.startup.Settings, g.config.OnExpiry == ExpiryIgnore)
	if err != nil {
		return &refusal{reason: endInternal, cause: err}
	}
	c := &client{
		server: g.server, db: g.db, id: g.identity, entry: entry, loop: g.loop, sock: g.sock,
		protocol: g.version, expires: g.expires(),
	}
	if err := g.server.entered(c); err != nil {
		return err
	}
	g.leave()
	g.server.metrics.loginTime.Observe(time.Duration(g.loop.now - g.accepted).Seconds())
	if log := g.server.log(); log.Enabled(context.Background(), slog.LevelInfo) {
		log.Info("login", "session", g.id, "client", g.peer, "user", printable(g.startup.User), "database", g.db.name,
			"tenant", g.identity.Tenant(), "subject", g.identity.Subject(), "token_id", g.identity.TokenID())
	}
	c.join()
	return nil
}

// leave ends the login's hold on the connection.
func (g *login) leave() {
	g.stage = loginOver
	g.loop.timers.set(&g.timer, 0)
	g.server.arrivals.remove(g)
}

// longestLife is how long a token can let a session live: what is further away does
// not fit into a Duration together with what is added to it.
const longestLife = 100 * 365 * 24 * time.Hour

// expires is when the session ends for its token's sake, on the loops' clock.
func (g *login) expires() int64 {
	if g.config.OnExpiry == ExpiryIgnore {
		return 0
	}
	left := min(time.Until(g.identity.ExpiresAt()), longestLife) // with the leeway
	if left > g.config.Leeway {
		left -= g.config.Leeway // else it was accepted for the leeway's sake
	}
	return g.loop.now + int64(max(left, time.Millisecond))
}

// end ends the login: it is counted, logged, and the client told why where it is
// to know.
func (g *login) end(err error) {
	if g.stage == loginOver || g.stage == loginTold {
		return
	}
	var r *refusal
	if !errors.As(err, &r) {
		if !g.cancelled {
			g.server.metrics.login(endClientGone)
		}
		g.close()
		return
	}
	g.server.metrics.login(r.reason)
	args := []any{"session", g.id, "client", g.peer, "user", printable(g.startup.User), "database", printable(g.startup.Database), "reason", string(r.reason)}
	g.server.log().Log(context.Background(), r.level(), "login refused", withCause(args, r.cause)...)
	msg := r.message()
	if msg == nil || r.reason == endTLS || g.sock.closed || g.sock.ended {
		g.close()
		return
	}
	g.tell(msg)
}

// tell sends the last message and waits a moment for the client to have read it:
// closing with bytes unread would reset the connection and lose it.
func (g *login) tell(msg []byte) {
	g.stage = loginTold
	g.sock.in = nil
	g.sock.send(msg)
	if len(g.sock.out) == 0 {
		g.sock.shutdown()
	}
	g.sock.reading(true)
	g.loop.timers.set(&g.timer, g.loop.now+int64(lingerTime))
}

// close closes the connection.
func (g *login) close() {
	if g.shaker.File != nil {
		_ = g.shaker.Close()
	}
	g.leave()
	g.loop.close(g.sock)
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

// cancel acts on a CancelRequest: it comes in plain TCP even from clients whose
// session is encrypted, and is never answered. The connection stays open until
// PostgreSQL has taken the cancel, because libpq waits for that.
func (g *login) cancel(body []byte) error {
	g.cancelled = true
	pid, key, err := wire.ParseCancel(body)
	if err != nil {
		g.server.metrics.cancel(resultMalformed)
		return errNothing
	}
	g.loop.timers.set(&g.timer, 0)
	key = slices.Clone(key)
	g.aside(func() func() {
		g.server.cancels.request(pid, key)
		return func() { g.end(errNothing) }
	})
	return nil
}
