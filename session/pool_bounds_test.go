package session

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// filled is a bench whose pool has n idle servers, named s1 to sn.
func filled(t *testing.T, cfg PoolConfig, n int) *bench {
	t.Helper()
	b := newBench(t, cfg)
	for i := range n {
		b.ask(fmt.Sprintf("a%d", i))
	}
	for range n {
		b.opened()
	}
	for i := range n {
		b.release(fmt.Sprintf("s%d", i+1))
	}
	b.log = nil
	return b
}

// closed ends the closing of a server.
func (b *bench) closed(name string) { b.do(b.pool.Closed(b.now, b.byName[name])) }

func TestPoolCountsNoServerTwiceThatIsBeingClosed(t *testing.T) {
	b := filled(t, PoolConfig{Size: 10, Min: 5, Idle: time.Minute}, 10)
	b.pass(time.Minute)
	want := []string{
		"close s1 server_idle_timeout", "close s2 server_idle_timeout", "close s3 server_idle_timeout",
		"close s4 server_idle_timeout", "close s5 server_idle_timeout",
	}
	b.said(want...)
	b.pass(time.Hour) // they are still being closed
	b.said()
	for i := range 5 {
		b.closed(fmt.Sprintf("s%d", i+1))
	}
	b.pass(time.Hour)
	b.said()
	if b.pool.Total() != 5 {
		t.Errorf("%d servers are left, want 5", b.pool.Total())
	}
}

func TestPoolOpensAnotherForOneOfItsLeastThatIsBeingClosed(t *testing.T) {
	b := filled(t, PoolConfig{Size: 3, Min: 2}, 2)
	b.pool.Discarding(b.byName["s1"])
	if next := b.pool.NextTick(); next.IsZero() || b.now.Before(next) {
		t.Errorf("NextTick is %v: the pool has one server of two", next)
	}
	b.pass(0)
	b.said("open")
	b.pass(0)
	b.said()
	b.closed("s1")
	b.said()
	if b.pool.Total() != 2 {
		t.Errorf("%d places are taken, want 2", b.pool.Total())
	}
}

func TestPoolLeavesNoPlaceEmptyAndNoneTwiceWhileItsLeastIsItsSize(t *testing.T) {
	b := filled(t, PoolConfig{Size: 2, Min: 2}, 2)
	b.pool.Discarding(b.byName["s1"])
	if next := b.pool.NextTick(); !next.IsZero() {
		t.Errorf("NextTick is %v, but there is no place: the pool would be asked without pause", next)
	}
	b.pass(time.Hour)
	b.said() // PostgreSQL still counts the one that is being closed
	b.closed("s1")
	b.said("open")
}

func TestPoolShrinksByOneWhileAnotherIsBeingClosed(t *testing.T) {
	b := filled(t, PoolConfig{Size: 4}, 4)
	b.do(b.pool.Configure(b.now, PoolConfig{Size: 3}))
	b.said("close s1 pool_size")
	b.do(b.pool.Configure(b.now, PoolConfig{Size: 3}))
	b.pass(time.Hour)
	b.said() // s1 is the one
	b.do(b.pool.Configure(b.now, PoolConfig{Size: 2}))
	b.said("close s2 pool_size")
	b.closed("s1")
	b.closed("s2")
	b.said()
	if b.pool.Total() != 2 {
		t.Errorf("%d servers are left, want 2", b.pool.Total())
	}
}

func TestPoolClosesLeasedServersBeyondANewSizeAsTheyComeBack(t *testing.T) {
	b := filled(t, PoolConfig{Size: 3}, 3)
	for _, name := range []string{"b1", "b2", "b3"} {
		b.ask(name)
	}
	b.log = nil
	b.do(b.pool.Configure(b.now, PoolConfig{Size: 1}))
	b.said()
	for _, name := range []string{"s1", "s2", "s3"} {
		b.release(name)
	}
	b.said("close s1 pool_size", "close s2 pool_size")
}

func TestPoolClosesWhatWasDialedBeforeARenewalAndServesItsWaiterAnew(t *testing.T) {
	b := newBench(t, PoolConfig{Size: 1})
	b.ask("a1")
	b.said("open")
	b.now = b.now.Add(time.Second)
	b.do(b.pool.Renew(b.now))
	b.said()
	b.opened() // by the old way
	b.said("close s1 server_lifetime")
	if b.pool.Waiting() != 1 {
		t.Errorf("%d wait, want 1", b.pool.Waiting())
	}
	b.closed("s1")
	b.said("open")
	b.opened()
	b.said("grant a1 s2")
}

func TestPoolThatIsRetiredRefusesAllAndClosesWhatIsIdle(t *testing.T) {
	b := filled(t, PoolConfig{Size: 3, Min: 3, Wait: time.Minute}, 3)
	b.ask("b1")
	b.ask("b2")
	b.ask("b3")
	b.ask("b4")
	b.ask("c1")
	b.release("s1")
	b.release("s2") // to b4 and c1
	b.ask("c2")
	b.ask("d1")
	b.log = nil
	b.pool.Testing(b.byName["s3"])
	b.do(b.pool.Retire(b.now))
	b.said("fail d1 "+string(ReasonRetired), "fail c2 "+string(ReasonRetired))
	b.ask("a9")
	b.said("fail a9 " + string(ReasonRetired))
	for _, name := range []string{"s3", "s1", "s2"} {
		b.release(name)
		b.said("close " + name + " pool_size")
		b.closed(name)
	}
	b.pass(time.Hour)
	b.said()
	if b.pool.Total() != 0 || b.pool.Waiting() != 0 || !b.pool.NextTick().IsZero() {
		t.Errorf("%d servers, %d waiters, NextTick %v are left", b.pool.Total(), b.pool.Waiting(), b.pool.NextTick())
	}

	idle := filled(t, PoolConfig{Size: 2, Min: 2}, 2)
	idle.do(idle.pool.Retire(idle.now))
	if want := []string{"close s1 pool_size", "close s2 pool_size"}; !slices.Equal(idle.log, want) {
		t.Errorf("retired, it said %q, want %q", idle.log, want)
	}
}
