package auth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// maxThrottled bounds the addresses a Throttle remembers.
const maxThrottled = 65_536

// Throttle bounds failed logins by address: a bucket of perMinute failures for
// each, refilled evenly within a minute. IPv6 addresses count by their /64, IPv4
// ones mapped into IPv6 as IPv4. It is safe for concurrent use; a nil Throttle
// bounds nothing.
type Throttle struct {
	mu      sync.Mutex
	burst   float64
	entries map[netip.Addr]*list.Element
	order   list.List // of *failures, stalest at the front
}

// failures is the bucket of one address.
type failures struct {
	addr netip.Addr
	left float64 // failures still free at time at
	at   time.Time
}

// NewThrottle returns a Throttle that lets perMinute logins fail a minute and
// address. It returns nil, which bounds nothing, when perMinute is not positive.
func NewThrottle(perMinute int) *Throttle {
	if perMinute <= 0 {
		return nil
	}
	return &Throttle{burst: float64(perMinute), entries: make(map[netip.Addr]*list.Element)}
}

// Allowed reports whether a login from addr may be tried. The zero Addr (a Unix
// socket) always may.
func (t *Throttle) Allowed(addr netip.Addr, now time.Time) bool {
	if t == nil || !addr.IsValid() {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	element, ok := t.entries[throttleKey(addr)]
	if !ok {
		return true
	}
	return t.refill(element.Value.(*failures), now) >= 1
}

// Failed counts a failed login from addr. When the table is full the address
// whose last failure is oldest is forgotten.
func (t *Throttle) Failed(addr netip.Addr, now time.Time) {
	if t == nil || !addr.IsValid() {
		return
	}
	key := throttleKey(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	element, ok := t.entries[key]
	if !ok {
		if len(t.entries) >= maxThrottled {
			stalest := t.order.Remove(t.order.Front()).(*failures)
			delete(t.entries, stalest.addr)
		}
		element = t.order.PushBack(&failures{addr: key, left: t.burst, at: now})
		t.entries[key] = element
	}
	bucket := element.Value.(*failures)
	bucket.left = max(t.refill(bucket, now)-1, 0)
	t.order.MoveToBack(element)
}

// refill brings a bucket up to now and returns what is left in it. A clock that
// went back refills nothing.
func (t *Throttle) refill(bucket *failures, now time.Time) float64 {
	if elapsed := now.Sub(bucket.at); elapsed > 0 {
		bucket.left = min(t.burst, bucket.left+t.burst*elapsed.Minutes())
		bucket.at = now
	}
	return bucket.left
}

// throttleKey maps an address to the one that it is counted under.
func throttleKey(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}
