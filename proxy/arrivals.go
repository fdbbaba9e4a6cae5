package proxy

import (
	"net/netip"
	"slices"
	"sync"
)

// arrivals are the connections that have not logged in yet, by where they come
// from. Any goroutine may use it.
type arrivals struct {
	mu     sync.Mutex
	total  int
	spare  []*login                  // room for the next peer of which there is none now
	byPeer map[netip.Prefix][]*login // the oldest first
}

// peerNetwork is what counts as one peer: an IPv4 address, the /64 of an IPv6
// address, all Unix sockets together.
func peerNetwork(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Addr has the zero Prefix
	return p
}

// add lets a login begin, or says false when there are limit of them already and
// no peer has more than this one would have: else the oldest of the peer that has
// most gives way, so that one peer cannot keep all others out.
func (a *arrivals) add(g *login, limit int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byPeer == nil {
		a.byPeer = map[netip.Prefix][]*login{}
	}
	key := peerNetwork(g.peer)
	if a.total >= limit && !a.evict(len(a.byPeer[key])+1) {
		return false
	}
	logins, some := a.byPeer[key]
	if !some {
		logins, a.spare = a.spare[:0], nil
	}
	a.byPeer[key] = append(logins, g)
	a.total++
	return true
}

// evict closes the oldest login of the peer that has most, if those are more than
// fair.
func (a *arrivals) evict(fair int) bool {
	var greedy []*login
	for _, logins := range a.byPeer {
		if len(logins) > len(greedy) {
			greedy = logins
		}
	}
	if len(greedy) <= fair {
		return false
	}
	oldest := greedy[0]
	a.drop(oldest)
	oldest.giveWay()
	return true
}

// end ends all logins.
func (a *arrivals) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, logins := range a.byPeer {
		for _, g := range logins {
			g.giveWay()
		}
	}
}

// remove forgets a login that is over, or that had to give way.
func (a *arrivals) remove(g *login) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(g)
}

func (a *arrivals) drop(g *login) {
	key := peerNetwork(g.peer)
	logins := a.byPeer[key]
	i := slices.Index(logins, g)
	if i < 0 {
		return
	}
	a.total--
	if len(logins) == 1 {
		delete(a.byPeer, key)
		logins[0] = nil
		a.spare = logins
		return
	}
	a.byPeer[key] = slices.Delete(logins, i, i+1)
}

// count is how many connections have not logged in yet.
func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}
