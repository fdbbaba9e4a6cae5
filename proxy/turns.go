package proxy

import (
	"errors"

	"github.com/tenantgate/tenantgate/session"
)

// acquire asks for a backend, by the terms in force now.
func (c *client) acquire() {
	c.terms = c.db.terms.Load()
	if c.welcomed {
		c.entry = c.lease.Entry()
	}
	c.waiter.Entry = nil
	if c.terms.Transaction {
		c.waiter.Entry = c.entry // one that carries its context already will do
	}
	c.db.acquire(c)
}

// entered lets the client go on: the context is confirmed on its backend.
func (c *client) entered() {
	c.backend.timeout(0)
	if !c.welcomed {
		c.welcome()
		return
	}
	c.asking, c.stalled = false, false
	c.db.metrics.waited(clock() - c.since)
	c.take(c.sock.in)
}

// away takes what a client without a backend sends between its transactions.
func (c *client) away() {
	if c.asking {
		c.sock.reading(false) // only now: mostly it has a backend before it sends more
		return
	}
	p, err := c.sock.fill()
	switch {
	case errors.Is(err, errEmpty):
	case err != nil:
		c.gone()
	default:
		c.active = c.loop.now
		c.db.metrics.received.Add(uint64(c.sock.got))
		c.sock.keep(p)
		c.want()
	}
}

// want looks at what a client without a backend has sent: its next transaction
// waits for one.
func (c *client) want() {
	want, err := c.lease.Wants(c.sock.in)
	switch {
	case err != nil:
		c.end(clientFault(err))
	case c.lease.Leaving():
		c.goodbye = true
		c.end(&refusal{reason: endClient})
	case want:
		c.asking, c.retried = true, false
		c.since = clock()
		c.acquire()
	default:
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
	c.backend, c.stalled = nil, false
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
	c.want()
}

// keeps notes that the client keeps its backend between transactions, or does so
// no more.
func (c *client) keeps(why session.Pin) {
	c.pin = why
	if why == session.PinNone {
		return
	}
	c.db.metrics.pinned(why)
	c.server.log().Info("client keeps its server connection", "session", c.log, "database", c.db.name, "tenant", c.id.Tenant(), "kind", why.String())
}
