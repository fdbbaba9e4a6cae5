package proxy

import (
	"time"
)

// expiryGrace is how long a client may go on taking a transaction or a COPY to
// its end after its token has expired.
const expiryGrace = 10 * time.Second

// arm sets the client's timer to the earliest time at which something may have
// run out. Activity since is found out when it fires.
func (c *client) arm() {
	var next int64
	at := func(t int64) {
		if t > 0 && (next == 0 || t < next) {
			next = t
		}
	}
	bounds := c.limits()
	c.watch(at)
	if c.expires > 0 {
		if c.loop.now < c.expires {
			at(c.expires)
		} else if !c.muted {
			at(c.expires + int64(expiryGrace))
		}
	}
	if c.finishBy > 0 {
		at(c.finishBy)
	}
	for _, limit := range []time.Duration{c.db.timeouts().ClientIdle, bounds.IdleTransaction} {
		if limit > 0 {
			at(max(c.active+int64(limit), c.loop.now+int64(limit)/8))
		}
	}
	c.loop.timers.set(&c.timer, next)
}

// deadline is called when the client's timer fires.
func (c *client) deadline(now int64) {
	if c.closing {
		c.loop.close(c.sock)
		return
	}
	if c.ended {
		return
	}
	if c.expires > 0 && now >= c.expires+int64(expiryGrace) {
		c.muted = true
	}
	if why := c.overdue(now); why != "" {
		c.end(&refusal{reason: why})
		return
	}
	c.overtime(now)
	if c.backend != nil {
		c.flowControl()
	}
	c.arm()
}

// due says that the session is to end as soon as it is idle.
func (c *client) due() bool {
	return c.expires > 0 && c.loop.now >= c.expires || c.server.draining.Load()
}

// overdue says why the session must end now; empty: it need not.
func (c *client) overdue(now int64) reason {
	expired := c.expires > 0 && now >= c.expires
	if !c.welcomed {
		switch {
		case expired:
			return endExpired
		case c.server.draining.Load():
			return endDrain
		}
		return ""
	}
	bounds, clientIdle := c.limits(), c.db.timeouts().ClientIdle
	between := !c.asking && c.lease.Idle()
	quiet := c.backend != nil && c.lease.AwaitsClient()
	switch {
	case bounds.Transaction > 0 && c.opened > 0 && now-c.opened >= int64(bounds.Transaction):
		return endTransaction
	case c.goodbye:
		if c.finishBy > 0 && now >= c.finishBy {
			return endClientGone
		}
	case expired && (between || c.asking || c.muted && quiet):
		return endExpired
	case between && c.server.draining.Load():
		return endDrain
	case clientIdle > 0 && between && now-c.active >= int64(clientIdle):
		return endIdle
	case bounds.IdleTransaction > 0 && quiet && (!between || c.lease.Withholds()) && now-c.active >= int64(bounds.IdleTransaction):
		return endIdleTx
	}
	return ""
}

// revoked ends the session at once, in the middle of whatever it is doing.
func (c *client) revoked() { c.end(&refusal{reason: endRevoked}) }
