package session

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tenantgate/tenantgate/auth"
)

func TestPoolServesFirstWhoHoldsFewest(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 4})
	for i := range 8 {
		b.ask(fmt.Sprintf("a%d", i))
	}
	for range 4 {
		b.opened()
	}
	b.ask("b1")
	b.ask("b2")
	b.ask("b3")
	b.ask("c1")
	b.log = nil
	for _, s := range []string{"s1", "s2", "s3", "s4"} {
		b.release(s)
	}
	// b and c have none, then one each; when a is down to one as well it is in turn behind them.
	b.said("grant b1 s1", "grant c1 s2", "grant b2 s3", "grant a4 s4")
}

func TestPoolCountsATenantsBoundByEachWaitersOwn(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 5, Wait: time.Minute})
	b.most["a"] = 1
	b.ask("a1")
	b.ask("a2")
	b.most["a"] = 3
	b.ask("a3")
	b.ask("a4")
	b.ask("a5")
	b.said("open", "open", "open") // a2 may have none beside others, and a5 would be the fourth
	for range 3 {
		b.opened()
	}
	b.said("grant a1 s1", "grant a3 s2", "grant a4 s3")
	b.release("s2")
	b.said("grant a5 s2")
	b.release("s2")
	b.release("s3")
	b.said()
	b.release("s1")
	b.said("grant a2 s1")
}

func TestPoolTakesUpNewBoundsOfThoseWhoWait(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 4})
	for i := range 5 {
		b.ask(fmt.Sprintf("a%d", i))
	}
	for range 4 {
		b.opened()
	}
	b.log = nil
	b.pool.Rebound(func(*Waiter) int { return 2 })
	b.release("s1")
	b.release("s2")
	b.said()
	b.release("s3")
	b.said("grant a4 s3")

	b.ask("a5") // by its own, no bound
	b.pool.Rebound(func(*Waiter) int { return 1 })
	b.ask("b1")
	b.log = nil
	b.pool.Rebound(func(*Waiter) int { return 0 })
	b.do(b.pool.Tick(b.now))
	b.said()
	if b.pool.bounded != 0 || b.pool.Waiting() != 0 {
		t.Errorf("%d of %d who wait are bounded", b.pool.bounded, b.pool.Waiting())
	}
}

func TestPoolSaysWhenATenantWaitedForItsOwn(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 2, Wait: time.Second})
	b.most["a"] = 1
	b.ask("a1")
	b.opened()
	b.ask("b1")
	b.opened()
	b.ask("a2")
	b.ask("b2")
	b.log = nil
	b.pass(time.Second)
	slices.Sort(b.log)
	b.said("fail a2 max_tenant_server_conn", "fail b2 query_wait_timeout")
}

// crowd plays clients who ask for a backend, use it for a while and ask again,
// in a time of its own.
type crowd struct {
	pool  *Pool
	rand  *rand.Rand
	now   time.Time
	plan  plan
	waits map[string][]time.Duration // by tenant
	most  map[string]int             // backends that a tenant had at a time
	held  map[string]int
}

// member is one client.
type member struct {
	waiter     Waiter
	id         auth.Identity
	works      time.Duration // with a backend, each time; around that much
	rests      time.Duration // between two times
	asked      time.Time
	impatience int // times that are left
}

// event is something that happens at a time.
type happening struct {
	at time.Time
	do func()
}

// plan is what is to happen, the next first.
type plan []happening

func (p plan) Len() int           { return len(p) }
func (p plan) Less(i, j int) bool { return p[i].at.Before(p[j].at) }
func (p plan) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *plan) Push(x any)        { *p = append(*p, x.(happening)) }
func (p *plan) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

func (c *crowd) after(d time.Duration, do func()) { heap.Push(&c.plan, happening{c.now.Add(d), do}) }

// about is a time around d.
func (c *crowd) about(d time.Duration) time.Duration {
	return d/2 + time.Duration(c.rand.Int64N(int64(d)+1))
}

// ask lets m ask for a backend now.
func (c *crowd) ask(m *member) {
	m.asked, m.waiter.Handle = c.now, m
	c.do(c.pool.Acquire(c.now, m.id, &m.waiter))
}

// do carries out what the pool says.
func (c *crowd) do(actions []Action) {
	for _, a := range actions {
		switch a.Kind {
		case Open:
			c.after(c.about(5*time.Millisecond), func() { c.do(c.pool.Opened(c.now, a.Server, &Backend{Created: c.now})) })
		case Grant:
			m := a.Waiter.Handle.(*member)
			name := m.id.Tenant()
			c.waits[name] = append(c.waits[name], c.now.Sub(m.asked))
			c.held[name]++
			c.most[name] = max(c.most[name], c.held[name])
			c.after(c.about(m.works), func() {
				c.held[name]--
				c.pool.Testing(a.Server)
				c.after(time.Millisecond, func() { c.do(c.pool.Release(c.now, a.Server)) })
				if m.impatience--; m.impatience != 0 {
					c.after(c.about(m.rests), func() { c.ask(m) })
				}
			})
		}
	}
}

// play runs for a time.
func (c *crowd) play(d time.Duration) {
	for end := c.now.Add(d); len(c.plan) > 0; {
		h := heap.Pop(&c.plan).(happening)
		if h.at.After(end) {
			heap.Push(&c.plan, h)
			return
		}
		c.now = h.at
		h.do()
	}
}

// join brings n clients of a tenant.
func (c *crowd) join(id auth.Identity, n int, works, rests time.Duration) {
	for range n {
		m := &member{id: id, works: works, rests: rests}
		c.after(c.about(10*time.Millisecond), func() { c.ask(m) })
	}
}

func newCrowd(seed uint64, size int) *crowd {
	return &crowd{
		pool: NewPool(PoolConfig{Size: size}), rand: rand.New(rand.NewPCG(seed, 2)), now: time.Unix(1000, 0),
		waits: map[string][]time.Duration{}, most: map[string]int{}, held: map[string]int{},
	}
}

// worst is the longest wait but for the longest share of them.
func worst(waits []time.Duration, but float64) time.Duration {
	if len(waits) == 0 {
		return time.Hour
	}
	slices.Sort(waits)
	return waits[int(float64(len(waits)-1)*(1-but))]
}

// TestAFloodCostsAnotherTenantNoMoreThanTheNextBackend plays one tenant with up to
// a thousand clients that want a backend all the time, and one with a client that wants one now
// and then. However many the others are, it waits for no more than the next one that comes back.
func TestAFloodCostsAnotherTenantNoMoreThanTheNextBackend(t *testing.T) {
	ids := identities(t, "flood", "quiet")
	for _, clients := range []int{30, 200, 1000} {
		for size := 1; size <= 16; size *= 4 {
			t.Run(strconv.Itoa(clients)+" clients, "+strconv.Itoa(size)+" backends", func(t *testing.T) {
				c := newCrowd(uint64(clients*size), size)
				c.join(ids[0], clients, 20*time.Millisecond, 0)
				c.play(time.Second)
				c.join(ids[1], 1, 5*time.Millisecond, 50*time.Millisecond)
				c.play(20 * time.Second)
				// A use lasts 30 ms at most, and 1 ms goes into the reset behind it.
				quiet, flood := c.waits["quiet"], c.waits["flood"]
				t.Logf("the quiet tenant waited for %v at most in %d times, the other one for %v in %d", worst(quiet, 0), len(quiet), worst(flood, 0), len(flood))
				if got := worst(quiet, 0); got > 31*time.Millisecond {
					t.Errorf("the quiet tenant waited for %v", got)
				}
				if size > 4 && worst(quiet, 0.01) > 8*time.Millisecond {
					t.Errorf("1 of 100 times the quiet tenant waited for %v", worst(quiet, 0.01))
				}
				if len(quiet) < 200 || len(flood) < 500*size {
					t.Error("the pool did not do its work")
				}
			})
		}
	}
}

// TestTenantsThatWantMoreThanThereIsHaveEqualShares plays tenants with very
// different numbers of clients, and one that wants less than its share.
func TestTenantsThatWantMoreThanThereIsHaveEqualShares(t *testing.T) {
	names := []string{"a", "b", "c", "modest"}
	ids := identities(t, names...)
	c := newCrowd(7, 13)
	for i, clients := range []int{500, 50, 12} {
		c.join(ids[i], clients, 20*time.Millisecond, 0)
	}
	c.join(ids[3], 1, 20*time.Millisecond, 0)
	c.play(time.Second)
	clear(c.waits)
	var had [4]int
	for range 4000 {
		c.play(5 * time.Millisecond)
		for i, name := range names {
			had[i] += c.held[name]
		}
	}
	t.Logf("on average they had %.1f, %.1f, %.1f and %.1f of %d backends", float64(had[0])/4000, float64(had[1])/4000, float64(had[2])/4000, float64(had[3])/4000, c.pool.cfg.Size)
	for i := range 3 {
		if mean := float64(had[i]) / 4000; mean < 3.3 || mean > 4.3 {
			t.Errorf("tenant %s had %.2f backends, want a third of twelve", names[i], mean)
		}
	}
	if got := worst(c.waits["modest"], 0.01); got > 15*time.Millisecond {
		t.Errorf("the tenant that wants one waited for %v", got)
	}
}
