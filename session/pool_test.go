package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantgate/tenantgate/auth"
)

// bench drives a pool by hand: it carries out what the pool says at once, but for what a test does
// itself, and keeps a record of it.
type bench struct {
	t      *testing.T
	pool   *Pool
	now    time.Time
	ids    map[string]auth.Identity
	most   map[string]int // bounds of tenants
	log    []string       // what the pool said, such as "grant a1 s1" or "close s2 server_lifetime"
	opens  []*Server
	names  map[*Server]string
	byName map[string]*Server
}

func newBench(t *testing.T, cfg PoolConfig) *bench {
	b := &bench{
		t: t, pool: NewPool(cfg), now: time.Unix(1000, 0), ids: map[string]auth.Identity{}, most: map[string]int{},
		names: map[*Server]string{}, byName: map[string]*Server{},
	}
	names := []string{"a", "b", "c", "d"}
	for i, id := range identities(t, names...) {
		b.ids[names[i]] = id
	}
	return b
}

// do records what the pool says.
func (b *bench) do(actions []Action) {
	for _, a := range actions {
		switch a.Kind {
		case Open:
			b.log = append(b.log, "open")
			b.opens = append(b.opens, a.Server)
		case Grant:
			b.log = append(b.log, fmt.Sprintf("grant %v %s", a.Waiter.Handle, b.names[a.Server]))
		case Clean:
			b.log = append(b.log, "clean "+b.names[a.Server])
		case Close:
			b.log = append(b.log, fmt.Sprintf("close %s %s", b.names[a.Server], a.Reason))
		case Fail:
			b.log = append(b.log, fmt.Sprintf("fail %v %s", a.Waiter.Handle, a.Reason))
		}
	}
}

// said compares what the pool said since the last time.
func (b *bench) said(want ...string) {
	b.t.Helper()
	if !slices.Equal(b.log, want) {
		b.t.Errorf("the pool said %q, want %q", b.log, want)
	}
	b.log = nil
}

// ask lets a client wait; the first letter of its name is its tenant.
func (b *bench) ask(name string) *Waiter {
	w := &Waiter{Handle: name, Most: b.most[name[:1]]}
	b.do(b.pool.Acquire(b.now, b.ids[name[:1]], w))
	return w
}

// opened ends the first attempt to open a server, which succeeds.
func (b *bench) opened() *Server {
	b.t.Helper()
	if len(b.opens) == 0 {
		b.t.Fatal("no server is being opened")
	}
	s := b.opens[0]
	b.opens = b.opens[1:]
	name := fmt.Sprintf("s%d", len(b.names)+1)
	b.names[s], b.byName[name] = name, s
	b.do(b.pool.Opened(b.now, s, &Backend{Created: b.now}))
	return s
}

// release ends a lease: the reset is proven at once.
func (b *bench) release(name string) {
	b.pool.Testing(b.byName[name])
	b.do(b.pool.Release(b.now, b.byName[name]))
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	b.now = b.now.Add(d)
	b.do(b.pool.Tick(b.now))
}

func TestPoolRefusesWhoIsNotVerified(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 1})
	b.do(b.pool.Acquire(b.now, auth.Identity{}, &Waiter{Handle: "x"}))
	b.said("fail x no_identity")
	if b.pool.Total() != 0 || b.pool.Waiting() != 0 {
		t.Error("the pool took notice of it")
	}
}

func TestPoolServesATenantInOrder(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 1})
	for i := range 5 {
		b.ask(fmt.Sprintf("a%d", i))
	}
	b.opened()
	for range 4 {
		b.release("s1")
	}
	b.said("open", "grant a0 s1", "grant a1 s1", "grant a2 s1", "grant a3 s1", "grant a4 s1")
}

func TestPoolServesTenantsInTurn(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 1})
	for _, name := range []string{"a1", "a2", "a3", "a4", "b1", "b2", "c1"} {
		b.ask(name)
	}
	b.opened()
	for range 6 {
		b.release("s1")
	}
	var order []string
	for _, said := range b.log[1:] {
		order = append(order, strings.Fields(said)[1])
	}
	if got := strings.Join(order, " "); got != "a1 b1 c1 a2 b2 a3 a4" {
		t.Errorf("served in the order %s", got)
	}
}

func TestPoolOpensNoMoreThanItsSize(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 2})
	for i := range 5 {
		b.ask(fmt.Sprintf("a%d", i))
	}
	b.said("open", "open")
	s := b.opened()
	b.said("grant a0 s1")
	b.pool.Discarding(s)
	if b.pool.Total() != 2 {
		t.Errorf("%d places taken while a server is being closed, want 2", b.pool.Total())
	}
	b.do(b.pool.Closed(b.now, s))
	b.said("open")
}

func TestPoolBoundsWhatATenantTakes(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 3})
	b.most["a"] = 1
	b.ask("a1")
	b.ask("a2")
	b.ask("b1")
	b.opened()
	b.opened()
	b.said("open", "open", "grant a1 s1", "grant b1 s2")
	b.release("s2")
	b.said() // idle, and a2 may not have it
	b.release("s1")
	b.said("grant a2 s1")
}

func TestPoolGivesATenantItsOwnServerFirst(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 2})
	b.ask("a1")
	b.ask("b1")
	b.opened()
	b.opened()
	b.release("s1")
	b.release("s2")
	b.said("open", "open", "grant a1 s1", "grant b1 s2")
	b.ask("a2")
	b.ask("b2")
	b.said("grant a2 s1", "grant b2 s2")
}

func TestPoolKeepsItsLeastWhenServersAreIdle(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 5, Min: 3, Idle: time.Minute})
	for i := range 5 {
		b.ask(fmt.Sprintf("a%d", i))
	}
	for range 5 {
		b.opened()
	}
	for i := range 5 {
		b.release(fmt.Sprintf("s%d", i+1))
	}
	b.log = nil
	b.pass(time.Minute)
	b.said("close s1 server_idle_timeout", "close s2 server_idle_timeout")
	b.do(b.pool.Closed(b.now, b.byName["s1"]))
	b.do(b.pool.Closed(b.now, b.byName["s2"]))
	b.pass(time.Hour)
	b.said()
}

func TestPoolOpensItsLeastUnasked(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 4, Min: 2})
	if next := b.pool.NextTick(); next.IsZero() || b.now.Before(next) {
		t.Errorf("NextTick is %v", next)
	}
	b.pass(0)
	b.said("open", "open")
}

func TestPoolClosesOldServersAsTheyBecomeIdle(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 2, Lifetime: time.Hour})
	b.ask("a1")
	b.opened()
	b.now = b.now.Add(time.Hour)
	b.log = nil
	b.release("s1")
	b.said("close s1 server_lifetime")
	b.do(b.pool.Closed(b.now, b.byName["s1"]))

	b.ask("a2")
	b.opened()
	b.release("s2")
	b.log = nil
	if next := b.pool.NextTick(); !next.Equal(b.now.Add(time.Hour)) {
		t.Errorf("NextTick is %v, want %v", next, b.now.Add(time.Hour))
	}
	b.pass(time.Hour)
	b.said("close s2 server_lifetime")
}

func TestPoolShrinksToANewSizeAndNotBelow(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 3})
	for i := range 3 {
		b.ask(fmt.Sprintf("a%d", i))
	}
	for range 3 {
		b.opened()
	}
	b.release("s1")
	b.release("s2")
	b.release("s3")
	b.log = nil
	b.do(b.pool.Configure(b.now, PoolConfig{Size: 2}))
	b.said("close s1 pool_size")
}

func TestPoolFailsWaitsThatLastTooLong(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 1, Wait: 10 * time.Second})
	b.ask("a1")
	b.opened()
	b.ask("a2")
	b.now = b.now.Add(time.Second)
	b.ask("a3")
	b.log = nil
	if next := b.pool.NextTick(); !next.Equal(b.now.Add(9 * time.Second)) {
		t.Errorf("NextTick is %v, want %v", next, b.now.Add(9*time.Second))
	}
	b.pass(9 * time.Second)
	b.said("fail a2 query_wait_timeout")
	b.release("s1")
	b.said("grant a3 s1")
}

func TestPoolForgetsWhoLeaves(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 1})
	b.ask("a1")
	b.opened()
	gone := b.ask("a2")
	b.ask("a3")
	b.pool.Leave(gone)
	b.pool.Leave(gone) // once more changes nothing
	b.log = nil
	b.release("s1")
	b.said("grant a3 s1")
	if b.pool.Waiting() != 0 {
		t.Errorf("%d wait", b.pool.Waiting())
	}
}

func TestPoolTellsAllWhenNothingCanBeOpened(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 2})
	b.ask("a1")
	b.ask("b1")
	b.do(b.pool.OpenFailed(b.now, b.opens[0], ReasonUnreachable))
	b.said("open", "open") // the other attempt may still succeed
	b.do(b.pool.OpenFailed(b.now, b.opens[1], ReasonUnreachable))
	b.said("fail a1 server_unreachable", "fail b1 server_unreachable")

	b.ask("a2")
	b.said() // not at once
	if next := b.pool.NextTick(); !next.Equal(b.now.Add(retryPause)) {
		t.Errorf("NextTick is %v, want %v", next, b.now.Add(retryPause))
	}
	b.pass(retryPause)
	b.said("open")
}

// TestPoolWaitsForNoLoginWhereAResetWillDo: opening a server may take ten seconds, where nobody answers.
func TestPoolWaitsForNoLoginWhereAResetWillDo(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 5})
	b.ask("a1")
	b.opened()
	b.ask("b1")
	b.said("open", "grant a1 s1", "open")
	entry, err := modelSpec.NewEntry(1, b.ids["a"], nil, false)
	if err != nil {
		t.Fatal(err)
	}
	b.byName["s1"].Backend.carried = entry
	b.do(b.pool.Release(b.now, b.byName["s1"]))
	b.pass(time.Second)
	b.said("clean s1") // once
	b.byName["s1"].Backend.carried = nil
	b.do(b.pool.Release(b.now, b.byName["s1"]))
	b.said("grant b1 s1")
	b.opened() // a spare
	b.ask("b2")
	b.said("grant b2 s2")
}

func TestPoolWaitsForOthersWhenOneCannotBeOpened(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 2})
	b.ask("a1")
	b.ask("a2")
	b.opened()
	b.do(b.pool.OpenFailed(b.now, b.opens[0], ReasonUnreachable))
	b.release("s1")
	b.said("open", "open", "grant a1 s1", "grant a2 s1")
}

func TestPoolUsesNoServerOfBeforeARenewal(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 3})
	b.ask("a1")
	b.ask("a2")
	b.pool.Leave(b.ask("a3"))
	b.opened() // leased
	b.opened()
	b.release("s2") // idle
	b.log = nil
	b.now = b.now.Add(time.Second)
	b.do(b.pool.Renew(b.now))
	b.said("close s2 server_lifetime")

	b.now = b.now.Add(time.Second)
	b.release("s1")
	b.said("close s1 server_lifetime")
	b.opened() // its opening began before
	b.said("close s3 server_lifetime")
	b.do(b.pool.Closed(b.now, b.byName["s1"]))
	b.ask("a4")
	b.opened()
	b.said("open", "grant a4 s4")
}

func TestPoolRetires(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 2, Min: 1})
	b.ask("a1")
	b.opened()
	b.ask("a2")
	b.opened()
	b.ask("b1")
	b.release("s1")
	b.log = nil
	b.do(b.pool.Retire(b.now))
	b.ask("c1")
	b.release("s2")
	if got := strings.Join(b.log, ","); strings.Contains(got, "grant") || strings.Contains(got, "open") || !strings.Contains(got, "fail c1") {
		t.Errorf("a pool that is retired said %s", got)
	}
}
