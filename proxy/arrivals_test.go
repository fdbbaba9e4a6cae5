package proxy

import (
	"net"
	"net/netip"
	"testing"
)

// arrive is a login from an address.
func arrive(t *testing.T, from string) (g *login, far net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	g = &login{raw: &handoverConn{Conn: near}}
	if from != "" {
		g.peer = netip.MustParseAddr(from)
	}
	return g, far
}

// TestOnePeerCannotKeepAllOthersFromLoggingIn fills the bound from one network
// and arrives from others.
func TestOnePeerCannotKeepAllOthersFromLoggingIn(t *testing.T) {
	const limit = 6
	var a arrivals
	flood := []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::1", "2001:db8::2", "2001:db8::3"}
	var first net.Conn
	for i, from := range flood {
		g, far := arrive(t, from)
		if i == 0 {
			first = far
		}
		if !a.add(g, limit) {
			t.Fatalf("%s, the %dth, is refused", from, i+1)
		}
	}
	if g, _ := arrive(t, "2001:db8::4"); a.add(g, limit) {
		t.Error("the same network has more than the bound")
	}
	other, _ := arrive(t, "192.0.2.1")
	local, _ := arrive(t, "")
	for _, g := range []*login{other, local} {
		if !a.add(g, limit) {
			t.Errorf("%v is kept out", g.peer)
		}
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the oldest of the flood is still connected")
	}
	if a.count() != limit {
		t.Errorf("%d have not logged in, at most %d may", a.count(), limit)
	}
	for _, g := range []*login{other, local, local} {
		a.remove(g)
	}
	if a.count() != limit-2 || len(a.byPeer) != 1 {
		t.Errorf("%d of %d networks are left", a.count(), len(a.byPeer))
	}
}
