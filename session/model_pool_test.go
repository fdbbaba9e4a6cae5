package session

import "slices"

// acquire asks the pool on behalf of c.
func (w *world) acquire(c *simClient) {
	c.waiter.Handle, c.waiter.Most = c, c.tenant.most
	if c.welcomed {
		was := c.entry
		if c.entry = c.lease.Entry(); c.entry != was {
			w.Seen.follows++
		}
	}
	c.tenant.waiting = append(c.tenant.waiting, c)
	c.terms, c.waiter.Entry = w.terms, nil
	if c.terms.Transaction {
		c.waiter.Entry = c.entry
	}
	if s := w.grabbed(c); s != nil {
		w.granting(c, s.Handle.(*place), 0)
		c.granted(s.Handle.(*place))
		return
	}
	w.do(w.pool.Acquire(w.now, c.id, &c.waiter))
}

// grabbed is the server that c has without waiting, where it tries that first.
func (w *world) grabbed(c *simClient) *Server {
	if w.rand.IntN(4) == 0 {
		return nil
	}
	s, _ := w.pool.Grab(c.id, &c.waiter)
	return s
}

// forget takes c out of the queue that the model keeps to check the pool's.
func (w *world) forget(c *simClient) {
	t := c.tenant
	if i := slices.Index(t.waiting, c); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
}

// do carries out what the pool says.
func (w *world) do(actions []Action) {
	for i, a := range actions {
		switch a.Kind {
		case Grant:
			c, b := a.Waiter.Handle.(*simClient), a.Server.Handle.(*place)
			later := 0 // grants to the same tenant that are to be looked at yet
			for _, other := range actions[i+1:] {
				if other.Kind == Grant && other.Waiter.Handle.(*simClient).tenant == c.tenant {
					later++
				}
			}
			w.granting(c, b, later)
			w.posts = append(w.posts, func() {
				if b.mode != modeIdle {
					w.posts = append(w.posts, c.lost)
					return
				}
				c.granted(b)
			})
		case Open:
			w.opening = append(w.opening, a.Server)
		case Clean:
			b := a.Server.Handle.(*place)
			if b.mode != modeIdle || b.kept == nil {
				w.violated("backend %d is to be reset and need not be", b.number)
			}
			w.posts = append(w.posts, func() {
				if b.mode == modeIdle {
					b.release()
				}
			})
		case Close:
			b := a.Server.Handle.(*place)
			w.posts = append(w.posts, func() { b.discard() })
		case Fail:
			c := a.Waiter.Handle.(*simClient)
			w.forget(c)
			w.posts = append(w.posts, func() {
				if !c.ended && c.place == nil {
					c.end("no backend")
				}
			})
		}
	}
	if n := len(w.places) + len(w.opening); n > w.cfg.Size || n != w.pool.Total() {
		w.violated("%d backends, the pool says %d, and the bound is %d", n, w.pool.Total(), w.cfg.Size)
	}
}

// granting checks that a grant is fair and safe.
func (w *world) granting(c *simClient, b *place, later int) {
	w.note("client $a is granted backend $b", c.number, b.number, 0)
	t := c.tenant
	if len(t.waiting) == 0 || t.waiting[0] != c {
		w.violated("client %d is served before another one of its tenant", c.number)
	}
	t.waiting = t.waiting[1:]
	n := w.held(t) - later
	if t.most > 0 && n > t.most {
		w.violated("tenant %s has %d backends", t.name, n)
	}
	for _, other := range w.tenants {
		if has := w.held(other); b.kept == nil && other != t && len(other.waiting) > 0 && (other.most == 0 || has < other.most) && has < n-1 {
			w.violated("tenant %s is given its backend %d while %s waits, which has %d", t.name, n, other.name, has)
		}
	}
	if !b.proven && (b.kept != t || !b.alike(c)) || b.mode != modeIdle || b.cancels > 0 {
		w.violated("backend %d is granted and was not proven clean", b.number)
	}
	if pg := b.pg; b.kept != nil {
		if !pg.dead && len(pg.portals) > 0 {
			w.violated("backend %d is granted with portals that another session left", b.number)
		}
		if !pg.dead && pg.left != 0 && w.owner(pg.left) != c {
			w.violated("backend %d is granted to client %d with what client %d has left in it", b.number, c.number, w.owner(pg.left).number)
		}
		b.checkShelf()
		return
	}
	if pg := b.pg; !pg.dead && (len(pg.settings.now.session) > 0 || len(pg.statements) > 0 || len(pg.portals) > 0) {
		w.violated("backend %d is granted with what another session left: %v", b.number, pg.settings.now.session)
	}
}

// held is how many backends are leased to a tenant.
func (w *world) held(t *simTenant) (n int) {
	for _, p := range w.places {
		if p.slot.State == ServerActive && p.slot.tenant == t.name {
			n++
		}
	}
	return n
}

func (w *world) openStep() bool {
	if len(w.opening) == 0 {
		return false
	}
	i := w.rand.IntN(len(w.opening))
	slot := w.opening[i]
	w.opening = slices.Delete(w.opening, i, i+1)
	if w.faults && w.rand.IntN(20) == 0 {
		w.note("a backend cannot be opened", 0, 0, 0)
		w.do(w.pool.OpenFailed(w.now, slot, ReasonUnreachable))
		return true
	}
	w.number++
	b := &place{w: w, number: w.number, slot: slot, proven: true}
	b.pg = newPostgres(b, 1+w.rand.IntN(8192))
	b.pg.runs = w.runs
	b.be = &Backend{PID: uint32(w.number), Params: newParameters(map[string]string{"application_name": "", "DateStyle": "", "TimeZone": "UTC"}), Created: w.now}
	if w.utf8 {
		b.be.Params.set("client_encoding", "UTF8")
		b.be.Params.set("server_encoding", "UTF8")
	}
	slot.Handle = b
	w.places = append(w.places, b)
	w.note("backend $a is open", b.number, 0, 0)
	w.do(w.pool.Opened(w.now, slot, b.be))
	return true
}
