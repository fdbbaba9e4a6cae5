package proxy

import "github.com/tenantgate/tenantgate/session"

// asks says what backend the client needs, by the terms in force now.
func (c *client) asks() {
	c.terms = c.db.terms.Load()
	if c.welcomed {
		c.entry = c.lease.Entry()
	}
}

// wish is what the client asks a pool for.
func (c *client) wish() session.Waiter {
	w := session.Waiter{Handle: c, Most: c.limits().MaxServerConn, Place: c.loop.number}
	if c.terms.Transaction {
		w.Entry = c.entry // one that carries its context already will do
	}
	return w
}

// acquire asks for a backend.
func (c *client) acquire() {
	c.asks()
	c.db.acquire(c)
}

// entered lets the client go on: the context is confirmed on its backend.
// What it has sent of its transaction is in p.
func (c *client) entered(p []byte) {
	c.backend.timeout(0)
	if !c.welcomed {
		c.welcome()
		return
	}
	c.asking, c.stalled = false, false
	c.db.metrics.waited(c.loop.now - c.since)
	c.take(p)
}

// away takes what a client without a backend sends between its transactions.
func (c *client) away() {
	if c.asking {
		c.sock.reading(false) // only now: mostly it has a backend before it sends more
		return
	}
	if p, ok := c.receive(); ok {
		c.active = c.loop.now
		c.want(p)
	}
}

// want looks at what a client without a backend has sent: its next transaction
// begins at once where a backend is at hand that carries its context, or waits.
func (c *client) want(p []byte) {
	want, err := c.lease.Wants(p)
	switch {
	case err != nil:
		c.end(clientFault(err))
	case c.lease.Leaving():
		c.goodbye = true
		c.end(&refusal{reason: endClient})
	case want:
		c.asking, c.retried = true, false
		c.since = c.loop.now
		c.asks()
		if b := c.db.grab(c); b != nil {
			c.leases(b, p)
			return
		}
		c.sock.keep(p)
		c.db.acquire(c)
	default:
		c.sock.keep(p)
		c.sock.reading(true)
		if c.sock.more {
			c.loop.resume(c.sock)
		}
	}
}

// yield gives the backend up behind a transaction that leaves nothing behind.
func (c *client) yield() {
	b := c.backend
	if b == nil || c.ended || !c.lease.Detachable() || b.cancels > 0 || len(b.sock.out) > 0 || b.sock.ended {
		return
	}
	c.backend, c.stalled, c.held = nil, false, false
	c.opened = 0
	if c.lease.Detach() && !b.tainted {
		b.sock.in = nil
		b.sock.reading(true)
		c.db.giveBack(b)
	} else {
		b.release()
	}
	if c.due() {
		if why := c.overdue(c.loop.now); why != "" {
			c.end(&refusal{reason: why})
			return
		}
	}
	c.want(c.sock.in)
}

// keeps notes that the client keeps its backend between transactions, or does so
// no more.
func (c *client) keeps(why session.Pin) {
	c.pin = why
	if why == session.PinNone {
		return
	}
	c.db.metrics.pinned(why)
	c.server.log().Info("client keeps its server connection", "session", c.entry.Session, "database", c.db.name, "tenant", c.id.Tenant(), "kind", why.String())
}
