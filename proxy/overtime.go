package proxy

import "context"

// The times of statements and transactions. What begins is noted as bytes pass;
// the timer is set when something begins that it does not watch yet, and finds
// out when it fires whether what it was set for still goes on: a client that runs
// one short statement after another sets it once in the time of a limit, and one
// that does nothing not at all.

// watched says for what the timer is set, or for something earlier.
type watched struct{ statement, transaction bool }

// clocks notes what has begun and ended with the bytes that passed last.
func (c *client) clocks() {
	l, now := c.lease, c.loop.now
	running := l.Running()
	if !running || l.Stats.Statements > 0 || l.Stats.Queries > 0 {
		c.ran = 0
	}
	if l.Stats.Transactions > 0 {
		c.opened = 0
	}
	l.Stats.Statements = 0
	late := false
	if running && c.ran == 0 {
		c.ran = now
		late = !c.watched.statement && c.bounds.Statement > 0
	}
	if c.opened == 0 && l.Open() {
		c.opened = now
		late = late || !c.watched.transaction && c.bounds.Transaction > 0
	}
	if late {
		c.arm()
	}
}

// watch calls at for what is to be looked at because of the client's statement
// or transaction.
func (c *client) watch(at func(int64)) {
	b := c.limits()
	c.timed = b.Statement > 0 || b.Transaction > 0
	if !c.timed || !c.welcomed {
		c.ran, c.opened, c.watched = 0, 0, watched{}
		return
	}
	now := c.loop.now
	if c.ran == 0 && c.lease.Running() { // the limits are new to it
		c.ran = now
	}
	if c.opened == 0 && c.lease.Open() {
		c.opened = now
	}
	c.watched = watched{c.ran > 0 && b.Statement > 0, c.opened > 0 && b.Transaction > 0}
	if c.watched.statement {
		at(c.ran + int64(b.Statement))
	}
	if c.watched.transaction {
		at(c.opened + int64(b.Transaction))
	}
}

// overtime cancels the client's statement if its time is over.
func (c *client) overtime(now int64) {
	limit := c.limits().Statement
	if limit == 0 || c.ran == 0 || now-c.ran < int64(limit) {
		return
	}
	c.ran = now // the next time, if the statement goes on all the same
	if c.stopping || c.backend == nil || !c.lease.Running() {
		return
	}
	if c.lease.Early() { // it may be hit, see aim
		c.ran = now + int64(longestPause/10-limit)
		return
	}
	c.stopStatement()
}

// stopStatement cancels what the client runs, as a cancel request of its own
// would. The client is not read until the cancel is over, so that it cannot reach
// what the client sends behind the answer.
func (c *client) stopStatement() {
	b, session := c.backend, c.entry.Session
	c.db.metrics.overtime.Add(1)
	c.server.log().Info("statement cancelled", "session", session, "database", c.db.name, "tenant", c.id.Tenant(), "reason", "statement_timeout")
	c.stopping = true
	b.cancelling(1)
	c.server.cancelling.Go(func() {
		ctx, stop := context.WithTimeout(context.Background(), c.db.timeouts().CancelWait)
		defer stop()
		doubtful, err := b.be.Cancel(ctx)
		if err != nil {
			c.server.log().Warn("a statement whose time is over could not be cancelled", "session", session, "database", c.db.name, "server_pid", b.be.PID, "error", err)
		}
		b.onLoop(func() {
			c.stopping = false
			b.cancelled(doubtful)
		})
	})
}
