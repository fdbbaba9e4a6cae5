package proxy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantgate/tenantgate/session"
)

// database is one entry of `databases` at run time: its pool, and what carries
// out the pool's decisions. The pool is shared by all loops and guarded by mu;
// it is asked only when a lease begins or ends.
type database struct {
	server  *Server
	name    string
	spec    *session.ContextSpec
	terms   atomic.Pointer[session.Terms]
	config  atomic.Pointer[Database]
	metrics *databaseMetrics

	mu    sync.Mutex
	pool  *session.Pool
	open  map[*session.Server]struct{} // every place taken, for metrics and shutdown
	cause error                        // why the last attempt to open a backend failed

	complained time.Time // when that was last logged

	whole   wholeness // as it was looked at last, under mu
	looked  time.Time
	looking bool

	probe    sync.Mutex // guards the answer that readyz gave last
	probed   time.Time
	probeErr error
}

func newDatabase(s *Server, name string, cfg Database) *database {
	d := &database{
		server: s, name: name, spec: s.config.Load().Context,
		metrics: s.metrics.database(name), open: map[*session.Server]struct{}{},
	}
	d.pool = session.NewPool(s.poolConfig(cfg))
	d.config.Store(&cfg)
	return d
}

func (d *database) timeouts() *Timeouts { return &d.server.config.Load().Timeouts }

// acquire asks for a backend for c; granted or failed is called on c's loop.
func (d *database) acquire(c *client) {
	d.decideOn(c.loop, func(now time.Time) []session.Action {
		w := c.wish() // under mu: what a reload changes behind this, Rebound tells the pool
		c.waiter = &w
		return d.pool.Acquire(now, c.id, c.waiter)
	})
}

// grab is acquire where that needs no waiting: a backend that is idle on the client's
// loop and clean or carries its context is the client's. nil: it is to acquire one.
func (d *database) grab(c *client) *backend {
	d.mu.Lock()
	w := c.wish()
	s, switched := d.pool.Grab(c.id, &w)
	d.mu.Unlock()
	if s == nil {
		return nil
	}
	if switched {
		d.metrics.switches.Add(1)
	}
	return s.Handle.(*backend)
}

// leave takes a request back.
func (d *database) leave(c *client) {
	if c.waiter == nil {
		return
	}
	d.mu.Lock()
	d.pool.Leave(c.waiter)
	d.mu.Unlock()
}

// testing notes that b's lease is over.
func (d *database) testing(b *backend) {
	d.mu.Lock()
	d.pool.Testing(b.slot)
	d.mu.Unlock()
}

// giveBack returns a backend that is proven clean, that its lease left reusable,
// or that was never used. It is called on the backend's loop.
func (d *database) giveBack(b *backend) {
	b.mode, b.client = backendIdle, nil
	d.decideOn(b.sock.loop, func(now time.Time) []session.Action { return d.pool.Release(now, b.slot) })
}

// discarding notes that b is given up, and why.
func (d *database) discarding(b *backend, why session.Reason, cause error) {
	d.mu.Lock()
	d.pool.Discarding(b.slot)
	d.mu.Unlock()
	d.metrics.discarded(why)
	args := []any{"database", d.name, "server_pid", b.be.PID, "reason", string(why)}
	d.server.log().Debug("backend closed", withCause(args, cause)...)
}

// closed frees the place of a backend whose connection is closed.
func (d *database) closed(b *backend) {
	d.decide(func(now time.Time) []session.Action {
		delete(d.open, b.slot)
		return d.pool.Closed(now, b.slot)
	})
}

// tick lets the pool do what time brings.
func (d *database) tick() {
	d.watchWhole()
	d.decide(func(now time.Time) []session.Action {
		if next := d.pool.NextTick(); next.IsZero() || now.Before(next) {
			return nil
		}
		return d.pool.Tick(now)
	})
}

// decide asks the pool under its lock and carries out what it says without.
func (d *database) decide(ask func(now time.Time) []session.Action) { d.decideOn(nil, ask) }

// decideOn is decide for a caller on loop l, if that is not nil: what concerns it
// alone is done at the end of its turn, without a letter.
func (d *database) decideOn(l *loop, ask func(now time.Time) []session.Action) {
	var now time.Time
	if l != nil {
		now = l.time()
	} else {
		now = time.Now()
	}
	d.mu.Lock()
	actions := ask(now)
	for _, a := range actions {
		if a.Kind == session.Open {
			d.open[a.Server] = struct{}{}
		}
	}
	cause := d.cause
	d.mu.Unlock()
	for _, a := range actions {
		d.carryOut(l, a, cause)
	}
}

func (d *database) carryOut(l *loop, a session.Action, cause error) {
	switch a.Kind {
	case session.Grant:
		c, b := a.Waiter.Handle.(*client), a.Server.Handle.(*backend)
		if a.Switch {
			d.metrics.switches.Add(1)
		}
		b.moveTo(l, c)
	case session.Open:
		go d.dial(a.Server)
	case session.Close:
		b := a.Server.Handle.(*backend)
		b.onLoop(func() { b.discard(a.Reason, nil) })
	case session.Clean:
		b := a.Server.Handle.(*backend)
		b.onLoop(func() {
			if b.mode == backendIdle { // or else it died in the meantime
				b.release()
			}
		})
	case session.Fail:
		c := a.Waiter.Handle.(*client)
		c.loop.postFor(c.sock, func() { c.failed(a.Reason, cause) })
	}
}

// dial opens a backend into slot.
func (d *database) dial(slot *session.Server) {
	begun := time.Now() // before the configuration: a change of it after this is newer
	cfg := d.config.Load()
	be, err := session.Dial(d.server.dialing, cfg.DialConfig, d.spec, dialBackend)
	if err != nil {
		d.metrics.connect(resultFailed)
		d.dialFailed(slot, err)
		return
	}
	be.Created = begun
	b := &backend{db: d, be: be, slot: slot}
	fd, tlsConn, raw, err := takeOver(be.Conn)
	if err != nil {
		_ = be.Conn.Close()
		d.dialFailed(slot, err)
		return
	}
	be.Conn = nil // the loop has what matters of it
	d.metrics.connect(resultOK)
	b.sock = &socket{fd: fd, tls: tlsConn, raw: raw, owner: b}
	l := d.server.nextLoop()
	b.home, slot.Place = l, l.number
	l.postFor(b.sock, func() {
		if err := l.attach(b.sock, wantRead); err != nil {
			d.dialFailed(slot, err)
			return
		}
		slot.Handle = b
		d.decide(func(now time.Time) []session.Action {
			d.cause = nil // what was wrong is over
			return d.pool.Opened(now, slot, be)
		})
	})
}

// complaintPause is how often a database that cannot be reached is logged.
const complaintPause = 10 * time.Second

// complain logs that a backend cannot be opened, once in a while.
func (d *database) complain(err error) {
	d.mu.Lock()
	quiet := d.server.dialing.Err() != nil || time.Since(d.complained) < complaintPause
	if !quiet {
		d.complained = time.Now()
	}
	d.mu.Unlock()
	if !quiet {
		d.server.log().Error("backend cannot be reached", "database", d.name, "error", err)
	}
}

// dialFailed lets the pool decide who is told.
func (d *database) dialFailed(slot *session.Server, err error) {
	d.complain(err)
	why := session.ReasonUnreachable
	if errors.Is(err, session.ErrUnsafeRole) {
		why = session.ReasonUnsafeRole
	}
	d.decide(func(now time.Time) []session.Action {
		d.cause = err
		delete(d.open, slot)
		return d.pool.OpenFailed(now, slot, why)
	})
}

// grant is a backend that was granted to a client of the same loop.
type grant struct {
	b *backend
	c *client
}

// moveTo brings an idle backend to the loop of the client that it was granted to;
// from is the loop that the caller is on, if it is on one.
func (b *backend) moveTo(from *loop, c *client) {
	if from != nil && b.home == from && c.loop == from {
		from.grants = append(from.grants, grant{b, c})
		return
	}
	b.onLoop(func() {
		if b.mode != backendIdle {
			c.loop.postFor(c.sock, c.lost) // it died in the meantime
			return
		}
		if b.sock.loop == c.loop {
			c.granted(b)
			return
		}
		b.untimed()
		b.sock.loop.detach(b.sock)
		b.home = c.loop
		c.loop.postFor(c.sock, func() {
			if err := c.loop.attach(b.sock, wantRead); err != nil {
				b.discard(session.ReasonServerGone, err)
				c.lost()
				return
			}
			c.granted(b)
		})
	})
}

// onLoop runs f on the loop that owns the backend's socket. An idle backend
// stays where it is until a grant moves it, and grants come one at a time.
func (b *backend) onLoop(f func()) bool { return b.home.postFor(b.sock, f) }

// reachable says whether PostgreSQL answered a connection that was opened for
// the question, now or lately.
func (d *database) reachable(ctx context.Context) error {
	if d.name == "*" {
		return nil
	}
	d.probe.Lock()
	defer d.probe.Unlock()
	if time.Since(d.probed) < readyFresh {
		return d.probeErr
	}
	// Who asked may have gone by the time of the answer, which is for others too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyFresh)
	defer cancel()
	_, d.probeErr = session.Examine(ctx, d.config.Load().DialConfig, d.spec)
	d.probed = time.Now()
	return d.probeErr
}
