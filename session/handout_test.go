package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantgate/tenantgate/auth"
)

// TestResetsEndWithWhatTheyAreFor: where many tenants have taken turns, and one session is left, its
// backends are not reset any more, however few there are.
func TestResetsEndWithWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 3, 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p, now, resets := NewPool(PoolConfig{Size: size}), time.Unix(1000, 0), 0
			carryOut := func(actions []Action) (got *Server) {
				for ; len(actions) > 0; actions = actions[1:] {
					switch a := actions[0]; a.Kind {
					case Open:
						actions = append(actions, p.Opened(now, a.Server, &Backend{})...)
					case Clean:
						resets++
						b := a.Server.Backend
						b.left, b.carried = b.carried, nil
						actions = append(actions, p.Release(now, a.Server)...)
					case Grant:
						got = a.Server
					}
				}
				return got
			}
			transaction := func(id auth.Identity, w *Waiter) {
				s := carryOut(p.Acquire(now, id, w))
				s.Backend.carried = w.Entry
				carryOut(p.Release(now, s))
			}
			ids := identities(t, "a", "b", "c", "d")
			waiters := make([]Waiter, len(ids))
			for i, id := range ids {
				entry, err := modelSpec.NewEntry(uint64(i), id, nil, false)
				if err != nil {
					t.Fatal(err)
				}
				waiters[i].Entry = entry
			}
			for i := range 200 {
				transaction(ids[i%len(ids)], &waiters[i%len(ids)])
			}
			if resets == 0 && size < len(ids) {
				t.Error("nothing is reset while tenants take turns")
			}
			for range 64 {
				transaction(ids[0], &waiters[0])
			}
			resets = 0
			for range 100 {
				transaction(ids[0], &waiters[0])
			}
			if resets > 0 {
				t.Errorf("%d resets for one session in 100 transactions", resets)
			}
		})
	}
}
