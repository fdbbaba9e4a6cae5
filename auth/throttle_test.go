package auth

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestThrottleRefusesAfterTheBoundAndRecovers(t *testing.T) {
	throttle := NewThrottle(60)
	for _, text := range []string{"192.0.2.1", "127.0.0.1", "2001:db8::1", "::1"} {
		addr := netip.MustParseAddr(text)
		for i := range 60 {
			if !throttle.Allowed(addr, testNow) {
				t.Fatalf("%s refused after %d failures", addr, i)
			}
			throttle.Failed(addr, testNow)
		}
		if throttle.Allowed(addr, testNow) || throttle.Allowed(addr, testNow.Add(999*time.Millisecond)) {
			t.Fatalf("%s allowed after 60 failures", addr)
		}
		if throttle.Allowed(addr, testNow.Add(-time.Hour)) {
			t.Fatalf("%s allowed by a clock that went back", addr)
		}
		if !throttle.Allowed(addr, testNow.Add(1001*time.Millisecond)) {
			t.Fatalf("%s refused after a second", addr)
		}
	}
	if !throttle.Allowed(netip.MustParseAddr("192.0.2.2"), testNow) {
		t.Error("another address is refused")
	}
}

func TestThrottleNeverSavesUpMoreThanAMinute(t *testing.T) {
	throttle, addr := NewThrottle(3), netip.MustParseAddr("192.0.2.1")
	throttle.Failed(addr, testNow)
	later := testNow.Add(24 * time.Hour)
	for range 3 {
		throttle.Failed(addr, later)
	}
	if throttle.Allowed(addr, later) {
		t.Error("more failures than the bound")
	}
	for range 1000 { // failures beyond the bound do not make the wait longer
		throttle.Failed(addr, later)
	}
	if !throttle.Allowed(addr, later.Add(21*time.Second)) {
		t.Error("still refused after a third of a minute")
	}
}

func TestThrottleCountsAddressesByOwner(t *testing.T) {
	for _, c := range []struct {
		failed, asked string
		same          bool
	}{
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"::ffff:192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		throttle := NewThrottle(1)
		throttle.Failed(netip.MustParseAddr(c.failed), testNow)
		if got := !throttle.Allowed(netip.MustParseAddr(c.asked), testNow); got != c.same {
			t.Errorf("%s and %s counted together: %v", c.failed, c.asked, got)
		}
	}
}

func TestThrottleWithoutBoundOrAddressAllows(t *testing.T) {
	var none *Throttle
	addr := netip.MustParseAddr("192.0.2.1")
	for _, throttle := range []*Throttle{none, NewThrottle(0), NewThrottle(-1)} {
		for range 100 {
			throttle.Failed(addr, testNow)
		}
		if !throttle.Allowed(addr, testNow) {
			t.Error("a throttle without bound refuses")
		}
	}
	throttle := NewThrottle(1)
	for range 100 {
		throttle.Failed(netip.Addr{}, testNow)
	}
	if !throttle.Allowed(netip.Addr{}, testNow) {
		t.Error("a Unix socket is refused")
	}
}

func TestThrottleMemoryIsBounded(t *testing.T) {
	throttle := NewThrottle(1)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range maxThrottled + 1000 {
		throttle.Failed(addr(i), testNow)
		if i > 0 && throttle.Allowed(addr(0), testNow) {
			t.Fatalf("an address that fails all the time was forgotten after %d others", i)
		}
		throttle.Failed(addr(0), testNow)
	}
	if len(throttle.entries) != maxThrottled || throttle.order.Len() != maxThrottled {
		t.Errorf("%d addresses remembered", len(throttle.entries))
	}
	if throttle.Allowed(addr(0), testNow) || throttle.Allowed(addr(maxThrottled+999), testNow) {
		t.Error("an address that failed just now was forgotten")
	}
	if !throttle.Allowed(addr(1), testNow) {
		t.Error("the stalest address was kept")
	}
}

func TestThrottleIsSafeForConcurrentUse(t *testing.T) {
	throttle := NewThrottle(1000)
	var workers sync.WaitGroup
	for i := range 8 {
		workers.Go(func() {
			addr := netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i%2))
			for range 250 {
				throttle.Failed(addr, testNow)
			}
		})
	}
	workers.Wait()
	for i := range 2 {
		if throttle.Allowed(netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i)), testNow) {
			t.Error("failures were lost")
		}
	}
}
