package proxy

import (
	"errors"
	"log/slog"
	"time"

	"github.com/tenantgate/tenantgate/session"
)

// end ends the session: the client is told why, and its backend is reset or
// closed. It may be called at any time and more than once.
func (c *client) end(r *refusal) {
	if c.ended {
		return
	}
	whole := c.lease == nil || c.lease.AtBoundary()
	c.letGo(r)
	c.over(r.reason, r.cause)
	c.loop.timers.set(&c.timer, 0)
	if c.sock.closed {
		return
	}
	msg := r.message()
	if r.reason == endClientGone || c.sock.ended || msg == nil && len(c.sock.out) == 0 {
		c.loop.close(c.sock)
		return
	}
	if whole {
		c.sock.send(msg)
	}
	c.linger()
}

// letGo gives the backend back, or the place in the queue.
func (c *client) letGo(r *refusal) {
	b := c.backend
	c.server.cancels.forget(c)
	if b == nil {
		c.db.leave(c)
		return
	}
	lease := c.lease
	c.backend = nil
	certain := r.reason != endDesync && r.reason != endInternal // or else the lease may be anyhow
	clean := certain && lease.Poolable() && len(b.sock.out) == 0 && !b.sock.ended
	busy := lease.Busy() && !b.sock.ended
	lease.Abandon()
	if clean {
		b.release()
		return
	}
	b.busy = busy
	b.discard(discardReason(r.reason), r.cause)
}

// discardReason says why a backend is closed behind a session that ended.
func discardReason(r reason) session.Reason {
	switch r {
	case endServerGone:
		return session.ReasonServerGone
	case endEnter, endServer: // with a backend, that is one that did not confirm in time
		return session.ReasonEnter
	case endDesync, endEncoding:
		return session.ReasonDesync
	case endGuard:
		return session.ReasonRefused
	}
	return session.ReasonUnclean
}

// over counts and logs the end of a session, once.
func (c *client) over(why reason, cause error) {
	c.ended = true
	c.server.left(c)
	if c.welcomed {
		c.db.metrics.ended(why)
	} else {
		c.server.metrics.login(why)
	}
	level := why.level()
	if !c.welcomed && disliked(cause) {
		level = slog.LevelInfo
	}
	c.server.logEnd(level, c, why, cause)
}

// disliked says that PostgreSQL did not like a startup parameter.
func disliked(cause error) bool {
	var enter *session.EnterError
	return errors.As(cause, &enter) && !enter.Fatal
}

// lingerTime is how long a client that was told to go may take to read it.
const lingerTime = time.Second

// linger waits for the client to close: a connection that is closed with bytes
// unread resets it, and the reset can overtake the reason.
func (c *client) linger() {
	c.closing = true
	if len(c.sock.out) == 0 {
		c.sock.shutdown()
	}
	c.sock.in = nil
	c.sock.reading(true)
	c.loop.timers.set(&c.timer, c.loop.now+int64(lingerTime))
	if c.sock.more {
		c.loop.resume(c.sock)
	}
}

// discardInput reads what a client still sends that was told to go.
func (c *client) discardInput() {
	if !c.sock.discard() {
		c.loop.timers.set(&c.timer, 0)
		c.loop.close(c.sock)
	}
}
