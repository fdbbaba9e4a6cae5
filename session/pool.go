package session

import (
	"time"

	"github.com/tenantgate/tenantgate/auth"
)

// PoolConfig bounds the pool of one database.
type PoolConfig struct {
	Size     int           // backends at most, counting those being opened, reset or closed
	Min      int           // kept open while idle
	Wait     time.Duration // query_wait_timeout; 0: no bound
	Lifetime time.Duration // server_lifetime; 0: no bound
	Idle     time.Duration // server_idle_timeout; 0: no bound
}

// Pool decides who gets which backend of one database. Waiters are served in
// order within a tenant; among tenants the one that holds the fewest comes first,
// and those that hold as many in turn, so that a tenant with many clients cannot
// keep another one waiting behind all of them. It opens and
// closes nothing itself: its methods return the Actions that the caller carries
// out. It is not safe for concurrent use.
type Pool struct {
	cfg    PoolConfig
	idle   []*Server // the longest idle first; clean, or carrying a context that waits for its own
	total  int       // servers in any state
	logins int       // of them being opened
	ending int       // of them given up and not closed yet
	resets int       // of them being reset because of a Clean
	misses uint32    // of the last grants, one bit each: it needed a server that was reset

	queues  map[string]*queue // by tenant, only those with waiters
	turns   []*queue          // the tenants in the order of their turns, see line.go
	waiting int
	bounded int            // of them with a bound of their tenant's servers
	leased  map[string]int // active servers by tenant

	retired bool      // nothing is handed out or opened any more
	renewed time.Time // servers whose opening began before are not used again
	retryAt time.Time // no server is opened before: the last attempt failed
}

// Server is one place in the pool and, once it is open, the backend in it.
type Server struct {
	Backend   *Backend
	State     ServerState
	Handle    any // the caller's own, never looked at
	Place     int // where it is: that of the waiter that had it last; up to Opened the caller's to set
	tenant    string
	cleaning  bool      // a Clean was asked for
	begun     time.Time // when it was to be opened
	idleSince time.Time
}

// ServerState is what a server is doing, in PgBouncer's words.
type ServerState uint8

// The states of a server.
const (
	ServerLogin   ServerState = iota // being opened
	ServerIdle                       // in the pool: proven clean, or carrying a context
	ServerActive                     // leased to a client
	ServerTested                     // its reset is being proven
	ServerClosing                    // given up, the connection is not closed yet
	ServerStates                     // how many there are
)

// String returns the word that metrics show.
func (s ServerState) String() string {
	return [...]string{"login", "idle", "active", "tested", "closing"}[s]
}

// Waiter is one client that wants a backend.
type Waiter struct {
	Handle any // the caller's own, never looked at
	Most   int // it is given none while its tenant has so many; 0: no bound. Not to be changed while it waits
	// Entry is what the backend will be entered with where it may carry that
	// already; nil: only a clean one will do.
	Entry  *Entry
	Place  int // where it wants the server, a number of the caller's own
	tenant string
	since  time.Time
	queue  *queue // nil unless it waits
}

// ActionKind says what the caller must do.
type ActionKind uint8

// The kinds of actions.
const (
	Grant ActionKind = iota // lease Server to Waiter
	Open                    // dial a backend into Server, then call Opened or OpenFailed
	Close                   // close the idle Server, then call Closed
	Clean                   // reset the idle Server, then call Release
	Fail                    // tell Waiter why it gets none
)

// Action is one thing that the caller must do.
type Action struct {
	Kind   ActionKind
	Waiter *Waiter
	Server *Server
	Reason Reason
	Switch bool // of a Grant: the backend was another tenant's before
}

// retryPause is how long a failed attempt to open a server keeps the next one
// from being made.
const retryPause = 500 * time.Millisecond

// NewPool returns an empty pool.
func NewPool(cfg PoolConfig) *Pool {
	return &Pool{cfg: cfg, queues: map[string]*queue{}, leased: map[string]int{}}
}

// Configure changes the bounds; what is open beyond them is closed as it becomes idle.
func (p *Pool) Configure(now time.Time, cfg PoolConfig) []Action {
	p.cfg = cfg
	return p.Tick(now)
}

// Renew lets no server that is open now be used for another client: the way to
// them has changed.
func (p *Pool) Renew(now time.Time) []Action {
	p.renewed = now
	return p.Tick(now)
}

// Retire ends the pool: all who wait and all who come are refused, and servers
// are closed as they become idle.
func (p *Pool) Retire(now time.Time) []Action {
	p.retired, p.cfg.Size, p.cfg.Min = true, 0, 0
	return append(p.failAll(ReasonRetired, nil), p.Tick(now)...)
}

// Acquire asks for a backend for w on behalf of a verified identity. The answer
// is a Grant or Fail for w, now or from a later call.
func (p *Pool) Acquire(now time.Time, id auth.Identity, w *Waiter) []Action {
	if why := p.refuses(id, w); why != "" {
		return []Action{{Kind: Fail, Waiter: w, Reason: why}}
	}
	w.tenant, w.since = id.Tenant(), now
	if s := p.atHand(w); s != nil {
		return p.serve(now, []Action{{Kind: Grant, Waiter: w, Server: s, Switch: p.lease(s, w)}})
	}
	q := p.queues[w.tenant]
	if q == nil {
		q = &queue{tenant: w.tenant, held: p.leased[w.tenant]}
		p.queues[w.tenant] = q
		p.enterLine(q)
	}
	q.waiters = append(q.waiters, w)
	p.bind(q, w)
	w.queue = q
	p.waiting++
	return p.serve(now, nil)
}

// Leave takes back a wait that was not granted: the client is gone.
func (p *Pool) Leave(w *Waiter) {
	if w.queue == nil {
		return
	}
	for i, other := range w.queue.waiters {
		if other == w {
			p.take(w.queue, i)
			return
		}
	}
}

// Opened puts a backend into a server that an Open asked for.
func (p *Pool) Opened(now time.Time, s *Server, b *Backend) []Action {
	p.logins--
	s.Backend = b
	p.retryAt = time.Time{}
	return p.admit(now, s)
}

// admit takes a server into the pool, or closes one that is not wanted.
func (p *Pool) admit(now time.Time, s *Server) []Action {
	s.idleSince = now
	if reason, over := p.overdue(now, s); over {
		p.close(s)
		return p.serve(now, []Action{{Kind: Close, Server: s, Reason: reason}})
	}
	p.park(now, s)
	return p.serve(now, nil)
}

// close notes that s is given up.
func (p *Pool) close(s *Server) {
	if s.State != ServerClosing {
		s.State = ServerClosing
		p.ending++
	}
}

// kept is how many servers there are beside those that are given up.
func (p *Pool) kept() int { return p.total - p.ending }

// OpenFailed gives up a server that could not be opened. When the database has
// no other, waiting for it is pointless: all waiters fail with reason.
func (p *Pool) OpenFailed(now time.Time, s *Server, reason Reason) []Action {
	p.logins--
	p.total--
	s.State = ServerClosing
	p.retryAt = now.Add(retryPause)
	var actions []Action
	if p.total == 0 {
		actions = p.failAll(reason, actions)
	}
	return p.serve(now, actions)
}

// Testing notes that a lease has ended and the server's reset is under way.
func (p *Pool) Testing(s *Server) {
	p.unlease(s)
	s.State = ServerTested
}

// Release takes a server back whose reset is proven, or whose lease has left it
// reusable, or that was not used.
func (p *Pool) Release(now time.Time, s *Server) []Action {
	p.unlease(s)
	p.cleaned(s)
	return p.admit(now, s)
}

// Discarding notes that a server was given up but is not closed yet. It keeps
// its place: PostgreSQL still counts its connection.
func (p *Pool) Discarding(s *Server) {
	p.unlease(s)
	p.unpark(s)
	p.cleaned(s)
	p.close(s)
}

// cleaned ends a Clean.
func (p *Pool) cleaned(s *Server) {
	if s.cleaning {
		s.cleaning = false
		p.resets--
	}
}

// Closed frees the place of a server whose connection is closed.
func (p *Pool) Closed(now time.Time, s *Server) []Action {
	p.Discarding(s)
	p.ending--
	p.total--
	return p.serve(now, nil)
}

// Tick does what time brings: waits that ran out, servers that are too old or
// idle for too long, a new attempt after a failed one.
func (p *Pool) Tick(now time.Time) []Action {
	actions := p.failOverdue(now, nil)
	for i := 0; i < len(p.idle); i++ {
		s := p.idle[i]
		if reason, over := p.overdue(now, s); over {
			p.unpark(s)
			i--
			p.close(s)
			actions = append(actions, Action{Kind: Close, Server: s, Reason: reason})
		}
	}
	return p.serve(now, actions)
}

// NextTick is when Tick has something to do again; zero: never.
func (p *Pool) NextTick() time.Time {
	var next time.Time
	at := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if p.cfg.Wait > 0 {
		for _, q := range p.turns {
			at(q.waiters[0].since.Add(p.cfg.Wait))
		}
	}
	for _, s := range p.idle {
		if p.cfg.Idle > 0 && p.kept() > p.cfg.Min {
			at(s.idleSince.Add(p.cfg.Idle))
		}
		if p.cfg.Lifetime > 0 {
			at(s.Backend.Created.Add(p.cfg.Lifetime))
		}
	}
	switch wanting := p.waiting > 0 || p.kept() < p.cfg.Min; {
	case wanting && !p.retryAt.IsZero():
		at(p.retryAt)
	case p.kept() < p.cfg.Min && p.total < p.cfg.Size:
		at(time.Unix(1, 0)) // overdue: nothing was opened yet
	}
	return next
}

// Waiting is how many clients wait.
func (p *Pool) Waiting() int { return p.waiting }

// Total is how many places of the pool are taken, by servers in any state.
func (p *Pool) Total() int { return p.total }

// serve hands out what there is: idle servers to waiters in turn, and new
// servers are opened for the waiters that remain.
func (p *Pool) serve(now time.Time, actions []Action) []Action {
	actions = p.stock(p.handOut(actions))
	if now.Before(p.retryAt) {
		return actions
	}
	p.retryAt = time.Time{}
	for p.total < p.cfg.Size && (p.logins < p.eligible()-p.resets || p.kept() < p.cfg.Min) {
		p.total++
		p.logins++
		actions = append(actions, Action{Kind: Open, Server: &Server{State: ServerLogin, begun: now}})
	}
	return actions
}

func (p *Pool) park(now time.Time, s *Server) {
	s.State, s.idleSince = ServerIdle, now
	p.idle = append(p.idle, s)
}

func (p *Pool) unpark(s *Server) {
	for i, other := range p.idle {
		if other == s {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return
		}
	}
}

func (p *Pool) unlease(s *Server) {
	if s.State != ServerActive {
		return
	}
	s.State = ServerTested
	p.holds(s.tenant, -1)
}

func (p *Pool) expired(now time.Time, s *Server) bool {
	return p.cfg.Lifetime > 0 && !now.Before(s.Backend.Created.Add(p.cfg.Lifetime))
}

func (p *Pool) overdue(now time.Time, s *Server) (Reason, bool) {
	switch {
	case p.expired(now, s), s.begun.Before(p.renewed):
		return ReasonLifetime, true
	case p.kept() > p.cfg.Size:
		return ReasonPoolSize, true
	case p.cfg.Idle > 0 && p.kept() > p.cfg.Min && !now.Before(s.idleSince.Add(p.cfg.Idle)):
		return ReasonIdle, true
	}
	return "", false
}
