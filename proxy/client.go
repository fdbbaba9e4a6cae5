package proxy

import (
	"errors"
	"io"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/session"
	"github.com/tenantgate/tenantgate/wire"
)

// clientState is what a client is doing, in PgBouncer's words.
type clientState uint8

const (
	clientLogin      clientState = iota // not logged in yet: no client of a database
	clientWaiting                       // for a backend, or for its context to be entered
	clientActive                        // the backend owes it an answer
	clientIdle                          // between statements; by transaction, mostly without a backend
	clientCancelling                    // a cancel of its statement is in flight
	clientClosing                       // told to go, or saying goodbye
	clientStates
)

func (s clientState) String() string {
	return [...]string{"login", "waiting", "active", "idle", "cancelling", "closing"}[s]
}

// client is one logged-in client from hand-over to the end. Its life, top to
// bottom: join, granted, welcome, readable and fromServer in turn, then end. All
// of it runs on the loop that owns the socket.
type client struct {
	// What every query touches stands together.
	server  *Server
	db      *database
	sock    *socket
	loop    *loop
	lease   *session.Lease
	backend *backend
	active  int64 // when a byte last passed
	expires int64 // of the token, on the loop's clock; 0: never

	joined   bool // the loop owns it
	welcomed bool // it may send statements
	stalled  bool // bytes in sock.in wait for the lease, not for more bytes
	held     bool // what it sends is only kept for now, see readAhead
	goodbye  bool // Terminate was read: outstanding answers still pass
	closing  bool // told to go: what it still sends is dropped
	muted    bool // its token is long expired: nothing more is taken
	retried  bool // a backend failed before any byte of the client reached it
	ended    bool // the session is over and counted
	asking   bool // it has sent more and waits for a backend, see turns.go
	pin      session.Pin
	timed    bool // its statements or transactions have a time limit, see overtime.go
	stopping bool // a statement of it is being cancelled for that
	watched  watched
	ran      int64 // when the statement at hand began; 0: none runs
	opened   int64 // when the transaction at hand began; 0: none is open
	finishBy int64
	bounds   *Bounds // by boundBy, see limits
	boundBy  *Config

	timer    timer
	id       auth.Identity
	entry    *session.Entry
	waiter   *session.Waiter // nil: it does not stand in line for a backend
	terms    *session.Terms  // of the backend that it has or asks for
	since    int64           // when it began to wait, on the loop's clock
	key      cancelKey
	protocol uint32
}

// join takes the socket over from the login, on the same loop, and asks for a
// backend. Nothing is read before the client was welcomed; that it leaves is seen
// all the same.
func (c *client) join() {
	c.sock.owner, c.timer.of = c, c.sock
	c.active, c.since = c.loop.now, c.loop.now
	c.joined = true
	if c.server.draining.Load() {
		c.end(&refusal{reason: endDrain})
		return
	}
	if c.server.config.Load().Verifier.Revoked(c.id) {
		c.end(&refusal{reason: endRevoked})
		return
	}
	c.asks()
	if b := c.db.grab(c); b != nil { // as mostly
		c.leases(b, c.sock.in)
	} else {
		c.db.acquire(c)
	}
	if !c.ended {
		c.arm()
	}
}

// granted leases b to the client and enters its context.
func (c *client) granted(b *backend) {
	c.waiter = nil
	if c.ended || c.sock.closed {
		c.db.giveBack(b)
		return
	}
	c.leases(b, c.sock.in)
}

// leases begins the lease of b, which is on the same loop. What the client has sent
// already is in p.
func (c *client) leases(b *backend, p []byte) {
	c.backend, b.client, b.mode = b, c, backendLeased
	out := &c.loop.out
	out.Reset()
	var err error
	if c.lease == nil {
		c.lease = &session.Lease{}
		err = c.lease.Begin(c.terms, c.entry, b.be, out)
	} else {
		err = c.lease.Resume(c.terms, b.be, out)
	}
	if err != nil {
		c.end(&refusal{reason: endInternal, cause: err})
		return
	}
	b.sock.send(out.Server...)
	c.sock.send(out.Client...)
	b.sock.reading(true)
	if c.lease.Entered() {
		c.entered(p)
		c.yield()
		return
	}
	c.sock.keep(p)
	b.timeout(c.db.timeouts().ServerReset)
}

// lost is told that a granted backend went away before it could be used.
func (c *client) lost() {
	if !c.ended && !c.sock.closed {
		c.acquire()
	}
}

// failed is told that there is no backend for it.
func (c *client) failed(why session.Reason, cause error) {
	if c.ended || c.backend != nil {
		return
	}
	r, ok := waitReasons[why]
	if !ok {
		r = endInternal
	}
	c.end(&refusal{reason: r, cause: cause, about: c.db.name})
}

// welcome ends the login: the parameters in force on this backend now, the
// proxy's own cancel key, and ReadyForQuery ("Start-up" in "Message Flow").
func (c *client) welcome() {
	c.welcomed = true
	c.server.cancels.register(c)
	b := wire.AppendAuthOK(c.loop.join[:0])
	b = append(b, c.backend.be.Params.Messages()...)
	b = wire.AppendBackendKeyData(b, c.key.pid, c.key.secret())
	c.sock.send(wire.AppendReadyForQuery(b, 'I'))
	c.db.metrics.waited(c.loop.now - c.since)
	c.server.metrics.login(endSuccess)
	c.sock.reading(true)
	c.stalled = len(c.sock.in) > 0 // pipelined behind the password
	if c.stalled || c.sock.more {
		c.loop.resume(c.sock)
	}
}

// readable takes what the client sent.
func (c *client) readable() {
	if c.closing {
		c.discardInput()
		return
	}
	if !c.welcomed {
		c.sock.reading(false) // only now: few send anything so early
		return
	}
	if c.stopping {
		c.sock.reading(false) // it was switched on because nothing can be written any more
		return
	}
	if c.backend == nil {
		c.away()
		return
	}
	if c.held {
		c.readAhead()
		return
	}
	p, ok := c.sock.in, true
	if !c.stalled {
		p, ok = c.receive()
	}
	c.stalled = false
	if ok {
		c.take(p)
		c.yield() // nobody answers what PostgreSQL would ignore
	}
}

// receive reads what the client has sent, behind what is kept of it. ok is false when
// there is nothing, or when the client has gone, which ends the session.
func (c *client) receive() (p []byte, ok bool) {
	p, err := c.sock.fill()
	switch {
	case errors.Is(err, errEmpty):
		return nil, false
	case err != nil:
		c.gone()
		return nil, false
	}
	c.db.metrics.received.Add(uint64(c.sock.got))
	return p, true
}

// take gives bytes of the client to the lease.
func (c *client) take(p []byte) {
	c.active = c.loop.now
	out := &c.loop.out
	out.Reset()
	n, err := c.lease.FromClient(p, out)
	c.backend.sock.send(out.Server...)
	if c.lease.Early() && c.backend.due == 0 { // once: more that it sends gives PostgreSQL no more time
		c.backend.timeout(c.db.timeouts().ServerReset)
	}
	c.sock.keep(p[n:])
	if err != nil {
		c.end(clientFault(err))
		return
	}
	if c.lease.Leaving() && !c.goodbye {
		c.goodbye = true
		c.sock.in = nil
	}
	if c.timed {
		c.clocks()
	}
	c.step()
}

// clientFault turns an error of the client's stream into what it is told.
func clientFault(err error) *refusal {
	var long *session.LongStatementError
	var violation *wire.Violation
	switch {
	case errors.As(err, &long):
		return &refusal{reason: endGuard, cause: err, text: long.Rule.Message()}
	case errors.As(err, &violation):
		return &refusal{reason: endProtocol, cause: err, text: violation.Text}
	}
	return &refusal{reason: endInternal, cause: err}
}

// fromServer takes bytes of the backend and returns how many were consumed.
func (c *client) fromServer(p []byte) int {
	c.active = c.loop.now
	out := &c.loop.out
	out.Reset()
	before := c.lease.Entered()
	n, err := c.lease.FromServer(p, out)
	for _, piece := range out.Client {
		c.db.metrics.sent.Add(uint64(len(piece)))
	}
	c.sock.send(out.Client...)
	c.backend.sock.send(out.Server...)
	if c.timed {
		c.clocks()
	}
	c.db.metrics.count(&c.lease.Stats)
	if err != nil {
		c.serverFault(err)
		return n
	}
	if !before && c.lease.Entered() {
		c.entered(c.sock.in)
	}
	c.step()
	c.yield()
	return n
}

// serverFault ends the session because of what the backend said.
func (c *client) serverFault(err error) {
	var enter *session.EnterError
	switch {
	case errors.As(err, &enter) && c.replace(err):
	case errors.As(err, &enter) && !c.welcomed:
		c.end(&refusal{reason: endEnter, cause: err, code: enter.Code, text: enter.Message})
	case errors.As(err, &enter) && enter.Fatal:
		c.end(&refusal{reason: endServerGone, cause: err})
	case errors.As(err, &enter):
		c.end(&refusal{reason: endEnter, cause: err})
	case errors.Is(err, session.ErrUnsealed):
		c.end(&refusal{reason: endEnter, cause: err})
	case errors.Is(err, session.ErrUnsafeEncoding):
		c.end(&refusal{reason: endEncoding, cause: err})
	default:
		c.end(&refusal{reason: endDesync, cause: err})
	}
}

// replace asks for another backend in place of one that failed by itself before
// any byte of the client reached it. It does so once.
func (c *client) replace(cause error) bool {
	var enter *session.EnterError
	if errors.As(cause, &enter) && !enter.Fatal {
		return false // PostgreSQL's verdict on what was asked: the next would say the same
	}
	if c.lease.Entered() || c.retried {
		return false
	}
	c.retried = true
	b := c.backend
	c.backend = nil
	if c.welcomed {
		c.lease.Abandon()
	} else {
		c.lease = nil
	}
	b.discard(session.ReasonServerGone, cause)
	c.acquire()
	return true
}

// serverGone is told that the backend's stream has ended.
func (c *client) serverGone() {
	if c.replace(io.EOF) {
		return
	}
	// What PostgreSQL said about its going has passed already.
	c.end(&refusal{reason: endServerGone, quiet: c.lease.Farewell()})
}

// timeProxy bounds what the backend does for the proxy amid a session: the context is
// entered again, or settings are read back.
func (c *client) timeProxy() {
	b := c.backend
	switch occupied := c.lease.Occupied(); {
	case occupied && b.due == 0:
		b.timeout(c.db.timeouts().ServerReset)
	case !occupied && b.due != 0 && c.lease.Entered() && !c.lease.Early():
		b.timeout(0)
	}
}

// step decides what follows from the last bytes, in either direction: whether
// the session is over, and who may be read.
func (c *client) step() {
	if c.ended || c.backend == nil {
		return
	}
	if why := c.lease.Pinned(); why != c.pin && (why == session.PinNone || c.lease.Idle()) {
		c.keeps(why)
	}
	c.timeProxy()
	if c.goodbye && (!c.lease.Busy() || c.lease.AwaitsClient()) {
		c.end(&refusal{reason: endClient})
		return
	}
	if c.due() {
		if why := c.overdue(c.loop.now); why != "" {
			c.end(&refusal{reason: why})
			return
		}
	}
	c.flowControl()
}

// drained is called when the client has taken everything.
func (c *client) drained() {
	if c.closing {
		c.sock.shutdown()
		return
	}
	if c.backend != nil {
		c.flowControl()
		if c.backend.sock.more {
			c.loop.resume(c.backend.sock)
		}
	}
}

// hungUp is called when the client has gone while nothing was read from it.
func (c *client) hungUp() {
	if c.lease != nil && c.lease.Entering() {
		c.sock.park() // its last bytes are read in a moment
		return
	}
	c.gone()
}

// gone ends the session of a client that has closed or lost its connection.
func (c *client) gone() {
	if c.goodbye && !c.ended {
		// Outstanding answers have nowhere to go, but are awaited for a moment:
		// PostgreSQL, too, runs what came before Terminate.
		c.loop.close(c.sock)
		c.finishBy = c.loop.now + int64(lingerTime)
		c.arm()
		c.flowControl()
		return
	}
	c.end(&refusal{reason: endClientGone})
}

// state is what SHOW CLIENTS and the metrics call what the client is doing.
func (c *client) state() clientState {
	switch {
	case c.closing || c.goodbye || c.ended:
		return clientClosing
	case !c.welcomed || c.asking:
		return clientWaiting
	case c.backend != nil && c.backend.cancels > 0:
		return clientCancelling
	case c.lease.Busy():
		return clientActive
	}
	return clientIdle
}
