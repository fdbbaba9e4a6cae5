package session

import (
	"math/bits"
	"slices"

	"github.com/tenantgate/tenantgate/auth"
)

// handOut grants idle servers to waiters in turn. For a tenant's waiters for whom
// there are only servers with the context of others, such servers are reset; it
// keeps its turn until then.
func (p *Pool) handOut(actions []Action) []Action {
	coming := p.resets // servers that will be clean, for those whose turn comes first; a login may hang
	for i := 0; i < len(p.turns) && len(p.idle) > 0; {
		q := p.turns[i]
		next := q.next()
		if next < 0 {
			i++
			continue
		}
		if s := p.pick(q.waiters[next]); s != nil {
			actions = append(actions, p.grant(q, next, s))
			continue
		}
		for range q.room() {
			if coming > 0 {
				coming--
			} else if s := p.dirty(); s != nil {
				actions = append(actions, p.clean(s))
			}
		}
		i++
	}
	return actions
}

// grant gives s to waiter i of q.
func (p *Pool) grant(q *queue, i int, s *Server) Action {
	w := p.take(q, i)
	return Action{Kind: Grant, Waiter: w, Server: s, Switch: p.lease(s, w)}
}

// lease makes the idle s that of w, and says whether it was another tenant's before.
func (p *Pool) lease(s *Server, w *Waiter) (switched bool) {
	p.unpark(s)
	s.State, s.tenant, s.Place = ServerActive, w.tenant, w.Place
	p.holds(w.tenant, 1)
	was := s.Backend.Tenant
	s.Backend.Tenant = w.tenant
	p.misses <<= 1
	if s.Backend.cleanedFor(w.Entry) {
		p.misses |= 1
	}
	return was != "" && was != w.tenant
}

// cleanedFor says that a session with that entry could not have had b if it had not been
// reset.
func (b *Backend) cleanedFor(e *Entry) bool {
	return e != nil && b.carried == nil && b.left != nil && !b.left.same(e, b.seal != nil)
}

// Grab is Acquire where nobody waits and an idle server at w's place will do: it is
// w's, and there is nothing else to be done. nil: w is to Acquire. switched says that
// the backend was another tenant's before.
func (p *Pool) Grab(id auth.Identity, w *Waiter) (s *Server, switched bool) {
	if p.refuses(id, w) != "" {
		return nil, false
	}
	w.tenant = id.Tenant()
	if s = p.atHand(w); s == nil || s.Place != w.Place {
		return nil, false
	}
	return s, p.lease(s, w)
}

// refuses says why w, on behalf of id, gets no server; empty: it may.
func (p *Pool) refuses(id auth.Identity, w *Waiter) Reason {
	switch {
	case id.IsZero():
		return ReasonNoIdentity
	case p.retired:
		return ReasonRetired
	case w.Entry != nil && w.Entry.Tenant() != id.Tenant():
		return ReasonNoIdentity
	}
	return ""
}

// atHand is an idle server that w may have now; nil: it has to wait.
func (p *Pool) atHand(w *Waiter) *Server {
	if len(p.turns) > 0 || w.Most > 0 && p.leased[w.tenant] >= w.Most {
		return nil
	}
	return p.pick(w)
}

// pick chooses an idle server for w, the most recently used of the best ones: one
// that has served its session last, then one with the same context, then a clean
// one; nil when there is none of these. Among clean ones those that were this
// tenant's come first, whose caches are warm for it, and among those that are as good
// one that is at the waiter's place.
func (p *Pool) pick(w *Waiter) (best *Server) {
	if s := p.own(w); s != nil {
		return s // mostly: no other one is looked at closely
	}
	rank := 0
	for _, s := range slices.Backward(p.idle) {
		r := 2 * w.suits(s.Backend)
		if r > 0 && s.Place == w.Place {
			r++
		}
		if r > rank {
			rank, best = r, s
		}
	}
	return best
}

// own is the idle server that has served w's session last; nil: there is none.
func (p *Pool) own(w *Waiter) *Server {
	if w.Entry == nil {
		return nil
	}
	for _, s := range slices.Backward(p.idle) {
		if s.Backend.carried == w.Entry {
			return s
		}
	}
	return nil
}

// suits ranks b, which has not served w's session last; 0: it must be reset first.
func (w *Waiter) suits(b *Backend) int {
	switch {
	case b.carried == nil && b.Tenant != w.tenant:
		return 1
	case b.carried == nil:
		return 2
	case w.Entry == nil || !b.serves(w.Entry):
		return 0
	}
	return 3
}

// dirty returns the server that has carried a context unused for the longest time.
func (p *Pool) dirty() *Server {
	for _, s := range p.idle {
		if s.Backend.carried != nil {
			return s
		}
	}
	return nil
}

// clean takes s out of the pool to be reset.
func (p *Pool) clean(s *Server) Action {
	p.unpark(s)
	s.State, s.cleaning = ServerTested, true
	p.resets++
	return Action{Kind: Clean, Server: s}
}

// manyMisses is how many of the last 32 grants needed a clean server when a stock of
// such is worth its resets.
const manyMisses = 8

// stock sees to it that some servers are clean before somebody waits for them, the
// more of them the more often somebody did: half of all when everybody does.
func (p *Pool) stock(actions []Action) []Action {
	misses := bits.OnesCount32(p.misses)
	if misses < manyMisses {
		return actions
	}
	want := 1 + p.cfg.Size*misses/64 - p.resets
	for _, s := range p.idle {
		if s.Backend.carried == nil {
			want--
		}
	}
	for ; want > 0; want-- {
		s := p.dirty()
		if s == nil {
			break
		}
		actions = append(actions, p.clean(s))
	}
	return actions
}
