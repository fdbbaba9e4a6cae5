package proxy

import (
	"net/netip"
	"testing"
)

// arrive is a login from an address, on a loop that does not run.
func arrive(t *testing.T, from string) *login {
	t.Helper()
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.poll.close)
	g := &login{loop: l}
	if from != "" {
		g.peer = netip.MustParseAddr(from)
	}
	return g
}

// TestOnePeerCannotKeepAllOthersFromLoggingIn fills the bound from one network
// and arrives from others.
func TestOnePeerCannotKeepAllOthersFromLoggingIn(t *testing.T) {
	const limit = 6
	var a arrivals
	flood := []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::1", "2001:db8::2", "2001:db8::3"}
	var first *login
	for i, from := range flood {
		g := arrive(t, from)
		if i == 0 {
			first = g
		}
		if !a.add(g, limit) {
			t.Fatalf("%s, the %dth, is refused", from, i+1)
		}
	}
	if g := arrive(t, "2001:db8::4"); a.add(g, limit) {
		t.Error("the same network has more than the bound")
	}
	other := arrive(t, "192.0.2.1")
	local := arrive(t, "")
	for _, g := range []*login{other, local} {
		if !a.add(g, limit) {
			t.Errorf("%v is kept out", g.peer)
		}
	}
	if len(first.loop.mail.box) != 1 || len(other.loop.mail.box) != 0 {
		t.Error("the oldest of the flood was not told to go")
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
