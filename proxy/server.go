// Package proxy takes clients from accept to the end of their session. An event
// loop (loop.go) owns a client's socket from accept (accept.go) over its login
// (login.go: startup, TLS, token) to the end, and with it the backend that the pool
// grants it (client.go, backend.go, database.go). All that decides is in package
// session; here bytes move and times run out.
package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantgate/tenantgate/session"
)

// Server is the proxy. Make one with New, run it with Serve.
type Server struct {
	config  atomic.Pointer[Config]
	logger  atomic.Pointer[slog.Logger]
	tls     *certificates
	metrics *metrics
	cancels *cancels
	loops   []*loop
	next    atomic.Uint32 // the loop of the next client

	dialing  context.Context // ends when nothing is to be opened any more
	stopDial context.CancelFunc

	mu        sync.Mutex
	databases map[string]*database
	retired   []*database          // no longer configured, until their last backend is closed
	clients   map[*client]struct{} // logged in, wherever they are
	tenants   map[string]int       // of them, by tenant
	empty     chan struct{}        // closed while draining, once no client is left

	cancelling sync.WaitGroup // statements of clients that are gone
	sessions   atomic.Uint64
	arrivals   arrivals
	draining   atomic.Bool
	listening  chan struct{} // closed once clients are accepted
	drain      chan struct{} // closed by Drain
	halt       chan struct{} // closed by Close
	once       struct{ drain, halt sync.Once }
}

// New builds a server from a checked configuration; nothing is opened yet.
func New(cfg Config) (*Server, error) {
	s := &Server{
		databases: map[string]*database{},
		clients:   map[*client]struct{}{}, tenants: map[string]int{},
		listening: make(chan struct{}), drain: make(chan struct{}), halt: make(chan struct{}), empty: make(chan struct{}),
	}
	s.dialing, s.stopDial = context.WithCancel(context.Background())
	s.config.Store(&cfg)
	s.logger.Store(cfg.Log)
	var err error
	if s.tls, err = newCertificates(cfg.Listen.TLS, s.log); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s)
	s.cancels = newCancels(s)
	for range loopCount(cfg.Listen.Loops) {
		l, err := newLoop()
		if err != nil {
			return nil, fmt.Errorf("start an event loop: %w", err)
		}
		l.fault, l.number = s.fault, len(s.loops)
		s.loops = append(s.loops, l)
	}
	for name, db := range cfg.Databases {
		s.databases[name] = s.build(newDatabase(s, name, db))
	}
	return s, nil
}

// fault ends what a fault of our own happened to: nothing about it is certain.
func (s *Server) fault(what any, at *socket) {
	s.log().Error("fault of tenantgate", "panic", fmt.Sprint(what), "stack", string(debug.Stack()))
	if at == nil || at.closed {
		return
	}
	r := &refusal{reason: endInternal}
	switch owner := at.owner.(type) {
	case *login:
		owner.end(r)
	case *client:
		owner.end(r)
	case *backend:
		if owner.client != nil {
			owner.client.end(r)
		}
		owner.discard(session.ReasonDesync, nil)
	}
}

func (s *Server) log() *slog.Logger { return s.logger.Load() }

// loopCount chooses one loop for four CPUs: a loop serves tens of thousands of
// queries a second, PostgreSQL wants the other CPUs, and each loop more costs
// batching.
func loopCount(configured int) int {
	if configured > 0 {
		return configured
	}
	return max(1, runtime.GOMAXPROCS(0)/4)
}

// build sets what depends on the configuration as a whole.
func (s *Server) build(d *database) *database {
	cfg := s.config.Load()
	d.terms.Store(&session.Terms{
		Transaction: cfg.Databases[d.name].Transaction,
		Guard:       session.NewGuard(cfg.Guard), SealedGuard: session.NewGuard(cfg.Guard.Sealed()),
		StatementBuffer: cfg.Limits.StatementBuffer, MaxPrepared: cfg.Limits.MaxPrepared, Refusal: s.refused, Noted: s.noted,
	})
	return d
}

// refused counts and logs a statement that the guard refused, and words the
// answer. Nothing of the statement itself is logged.
func (s *Server) refused(e *session.Entry, d session.Denial) []byte {
	if d.Rule != "" {
		s.metrics.guarded(string(d.Rule))
		s.log().Warn("statement refused", "session", e.Session, "tenant", e.Tenant(), "rule", string(d.Rule))
	}
	return refuseStatement(d)
}

// noted reports a statement that a rule in mode log would have refused.
func (s *Server) noted(e *session.Entry, r session.Rule) {
	s.metrics.guarded(string(r))
	s.log().Warn("statement would be refused", "session", e.Session, "tenant", e.Tenant(), "rule", string(r))
}

func (s *Server) poolConfig(db Database) session.PoolConfig {
	cfg := s.config.Load()
	return session.PoolConfig{
		Size: db.PoolSize, Min: db.MinPoolSize,
		Wait: cfg.Timeouts.QueryWait, Lifetime: cfg.Timeouts.ServerLifetime, Idle: cfg.Timeouts.ServerIdle,
	}
}

// Listening is closed once clients are accepted.
func (s *Server) Listening() <-chan struct{} { return s.listening }

// Serve listens and runs until Drain or Close has ended it, or ctx is over, which
// is as Close. It returns nil after an orderly end.
func (s *Server) Serve(ctx context.Context) error {
	cfg := s.config.Load()
	ln, err := listen(cfg.Listen)
	if err != nil {
		return err
	}
	// While a loop waits it keeps a slot of the scheduler (poller.wait): logins
	// and all else have as many as there are CPUs all the same.
	slots := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(slots + len(s.loops))
	defer runtime.GOMAXPROCS(slots)
	var loops sync.WaitGroup
	for _, l := range s.loops {
		loops.Go(l.run)
	}
	web, err := s.serveHTTP(cfg.HTTP)
	if err != nil {
		_ = ln.Close()
		s.finish(&loops)
		return err
	}
	s.log().Info("listening", "address", ln.Addr().String(), "tls", string(cfg.Listen.TLS.Mode), "loops", len(s.loops))
	door, err := s.openDoor(ln)
	if err != nil {
		_ = ln.Close()
		s.finish(&loops)
		return fmt.Errorf("listen.address: %w", err)
	}
	close(s.listening)
	janitor, stopJanitor := context.WithCancel(context.Background())
	go s.janitor(janitor)

	s.wait(ctx, door)
	stopJanitor()
	s.finish(&loops)
	if web != nil {
		_ = web.Close() // scrapes under way are not worth waiting for
	}
	s.log().Info("stopped")
	return nil
}

// wait blocks until the server is to end, and lets clients finish if it may.
func (s *Server) wait(ctx context.Context, door *door) {
	select {
	case <-s.drain:
	case <-s.halt:
	case <-ctx.Done():
		s.Close()
	}
	door.shut()
	s.draining.Store(true)
	s.log().Info("draining", "clients", s.count())
	s.checkEmpty()
	s.everyClient(func(c *client) { c.deadline(c.loop.now) })
	timeout := time.NewTimer(s.config.Load().Timeouts.Shutdown)
	defer timeout.Stop()
	select {
	case <-s.empty:
	case <-timeout.C:
		s.log().Warn("shutdown_timeout is over, remaining sessions are ended", "clients", s.count())
	case <-s.halt:
	case <-ctx.Done():
	}
}

// Drain begins an orderly shutdown: no new clients, idle ones are sent away, and
// the rest get shutdown_timeout to come to the end of their transaction.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.once.drain.Do(func() { close(s.drain) })
}

// Close ends everything at once.
func (s *Server) Close() {
	s.draining.Store(true)
	s.once.halt.Do(func() { close(s.halt) })
}

// finish ends what is left and waits for the loops.
func (s *Server) finish(loops *sync.WaitGroup) {
	s.stopDial()
	s.arrivals.end()
	s.everyClient(func(c *client) { c.end(&refusal{reason: endDrain}) })
	var flushed sync.WaitGroup
	for _, l := range s.loops {
		flushed.Add(1)
		l.post(func() {
			defer flushed.Done()
			l.closeBackends()
		})
	}
	flushed.Wait()
	for _, l := range s.loops {
		l.post(l.stop)
	}
	loops.Wait()
	s.awaitCancels()
}

// lastCancels is how long the end waits for cancels that are under way.
const lastCancels = 2 * time.Second

func (s *Server) awaitCancels() {
	done := make(chan struct{})
	go func() {
		s.cancelling.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(lastCancels):
	}
}

// everyClient calls f for each client on the loop that owns it.
func (s *Server) everyClient(f func(*client)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		if l := c.loop; l != nil {
			l.postFor(c.sock, func() {
				if c.joined && !c.ended {
					f(c)
				}
			})
		}
	}
}

// entered counts a client in that has logged in, or refuses it.
func (s *Server) entered(c *client) error {
	cfg := s.config.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	key := c.id.Tenant()
	if len(s.clients) >= cfg.Limits.MaxClientConn {
		return &refusal{reason: endTooMany}
	}
	if bound := cfg.Limits.bounds(c.id).MaxClientConn; bound > 0 && s.tenants[key] >= bound {
		return &refusal{reason: endTenantMany}
	}
	s.tenants[key]++
	s.clients[c] = struct{}{}
	return nil
}

// left counts a client out.
func (s *Server) left(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.clients[c]; !ok {
		return
	}
	delete(s.clients, c)
	key := c.id.Tenant()
	if s.tenants[key]--; s.tenants[key] <= 0 {
		delete(s.tenants, key)
	}
	s.isEmpty()
}

func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

func (s *Server) checkEmpty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isEmpty()
}

// isEmpty tells the end of the drain when the last client has left; mu is held.
func (s *Server) isEmpty() {
	if !s.draining.Load() || len(s.clients) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

func (s *Server) nextLoop() *loop { return s.loops[int(s.next.Add(1))%len(s.loops)] }

// database finds the entry for a dbname that a client asked for.
func (s *Server) database(name string) *database {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.databases[name]; d != nil {
		return d
	}
	return s.databases["*"]
}

// configured are the databases that a client may ask for.
func (s *Server) configured() []*database {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.databases))
}

// allDatabases are those and the retired ones that have backends.
func (s *Server) allDatabases() []*database {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = slices.DeleteFunc(s.retired, (*database).gone)
	return slices.AppendSeq(slices.Clone(s.retired), maps.Values(s.databases))
}

// janitorPause is the granularity of what no loop's timer does: the waits and
// ages of the pools, revocations, and files that may have changed.
const janitorPause = 200 * time.Millisecond

func (s *Server) janitor(ctx context.Context) {
	tick := time.NewTicker(janitorPause)
	defer tick.Stop()
	var revocations uint64
	var clients turnover
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, d := range s.allDatabases() {
			d.tick()
		}
		verifier := s.config.Load().Verifier
		if now := verifier.Revocations(); now != revocations {
			revocations = now
			s.everyClient(func(c *client) {
				if verifier.Revoked(c.id) {
					c.revoked()
				}
			})
		}
		if turn%5 == 0 {
			s.tls.refresh()
			clients.tidy(s.turnover())
		}
	}
}

// logEnd logs the end of a session, with the cause where there is one.
func (s *Server) logEnd(level slog.Level, c *client, why reason, cause error) {
	log := s.log()
	if !log.Enabled(context.Background(), level) {
		return
	}
	args := []any{"session", c.entry.Session, "database", c.db.name, "tenant", c.id.Tenant(), "reason", string(why)}
	log.Log(context.Background(), level, "session ended", withCause(args, cause)...)
}

// withCause adds the cause to what is logged, if there is one.
func withCause(args []any, cause error) []any {
	if cause == nil {
		return args
	}
	return append(args, "error", cause)
}
