package proxy

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenantgate/tenantgate/session"
	"github.com/tenantgate/tenantgate/wire"
)

// backendMode is what a backend's bytes are given to.
type backendMode uint8

const (
	backendIdle    backendMode = iota // in the pool: watched for its end
	backendLeased                     // to a client
	backendPausing                    // lease over, a cancel still in flight
	backendTesting                    // its reset is being proven
	backendClosing                    // given up
)

// backend is one PostgreSQL connection on the loop that owns its socket.
type backend struct {
	sock    *socket
	client  *client // in mode leased
	db      *database
	cancels int // in flight
	mode    backendMode
	tainted bool // a cancel may still arrive: never pooled again
	busy    bool // it runs a statement that nobody waits for any more

	home  *loop // the one that owns sock, or is about to
	be    *session.Backend
	slot  *session.Server
	reset session.Reset
	timer timer
	due   int64 // when the current step has taken too long, on the loop's clock; 0: never
}

// readable takes what the backend sent.
func (b *backend) readable() {
	const atOnce = 8 // full buffers in a row, before others get their turn
	for range atOnce {
		p, err := b.sock.fill()
		if errors.Is(err, errEmpty) {
			return
		}
		if err != nil {
			b.gone()
			return
		}
		full := len(p) == len(b.sock.loop.buf)
		n, ok := b.take(p)
		if !ok || b.sock.closed || b.sock.loop == nil {
			return
		}
		b.sock.keep(p[n:])
		if b.sock.events&wantRead == 0 || !full && !b.sock.more {
			return
		}
	}
	if b.sock.more {
		b.sock.loop.resume(b.sock)
	}
}

// take gives bytes to whom they concern. ok is false when the backend was given
// up or handed on.
func (b *backend) take(p []byte) (n int, ok bool) {
	switch b.mode {
	case backendLeased:
		c := b.client
		n = c.fromServer(p)
		return n, b.mode == backendLeased && b.client == c
	case backendTesting:
		n, done, err := b.reset.FromServer(p)
		if err != nil {
			b.db.metrics.reset(resultFailed)
			b.discard(session.ReasonReset, err)
			return n, false
		}
		if done {
			b.sock.in = nil
			b.clean()
		}
		return n, !done
	case backendIdle, backendPausing:
		n, err := b.be.Watch(p)
		if err != nil {
			b.discard(session.ReasonServerGone, err)
			return n, false
		}
		return n, true
	}
	return len(p), true
}

// drained is called when the backend has taken everything.
func (b *backend) drained() {
	if b.mode == backendLeased {
		b.client.flowControl()
	}
}

// hungUp is called when the backend has gone while nothing was read from it:
// what it said last is still to be read.
func (b *backend) hungUp() {
	if b.mode == backendLeased && len(b.client.sock.out) > 0 && !b.client.sock.closed {
		b.sock.park() // read on once the client has taken what is there
		return
	}
	b.gone()
}

// gone is called when the backend's stream has ended.
func (b *backend) gone() {
	b.sock.ended = true
	switch b.mode {
	case backendLeased:
		b.client.serverGone()
	case backendClosing:
		b.finish()
	case backendTesting:
		b.db.metrics.reset(resultFailed)
		b.discard(session.ReasonReset, io.EOF)
	default:
		b.discard(session.ReasonServerGone, io.EOF)
	}
}

// release ends a lease that left the backend poolable: once no cancel is in
// flight any more, its reset begins.
func (b *backend) release() {
	b.client = nil
	b.sock.in = nil // the lease has consumed everything, or it would not be clean
	if b.tainted {
		b.discard(session.ReasonUnclean, errSlowCancel)
		return
	}
	if b.be.Kept() {
		b.discard(session.ReasonKept, nil)
		return
	}
	b.db.testing(b)
	b.sock.reading(true)
	if b.cancels > 0 {
		b.mode = backendPausing
		b.timeout(b.db.timeouts().CancelWait)
		return
	}
	b.mode = backendTesting
	msg, err := b.reset.Begin(b.be, b.db.spec, &b.sock.loop.out.Random, b.sock.loop.join[:0])
	if err != nil {
		b.discard(session.ReasonReset, err)
		return
	}
	b.timeout(b.db.timeouts().ServerReset)
	b.sock.send(msg)
}

// clean puts a proven backend back into the pool.
func (b *backend) clean() {
	b.mode = backendIdle
	b.timeout(0)
	b.db.metrics.reset(resultOK)
	b.db.giveBack(b)
}

// cancelled is told that a cancel is no longer in flight; doubtful says that
// nobody knows whether PostgreSQL has taken it.
func (b *backend) cancelled(doubtful bool) {
	b.tainted = b.tainted || doubtful
	b.cancelling(-1)
	if b.cancels == 0 && b.mode == backendPausing {
		b.release()
	}
}

// cancelling counts the cancels in flight.
func (b *backend) cancelling(n int) {
	b.cancels += n
	if b.mode != backendLeased {
		return
	}
	out := &b.sock.loop.out
	out.Reset()
	if err := b.client.lease.Cancelling(b.cancels > 0, out); err != nil {
		b.client.end(&refusal{reason: endInternal, cause: err})
		return
	}
	b.sock.send(out.Server...)
	b.client.flowControl()
	b.client.yield()
}

// discard gives the backend up: nobody will use it again. Where it still runs a
// statement the connection is broken first, so that PostgreSQL ends with the
// next thing it wants to say, and then the statement is cancelled: the other way
// round it could go on to a statement that was sent behind, and notice nothing.
func (b *backend) discard(why session.Reason, cause error) {
	if b.mode == backendClosing {
		return
	}
	b.mode, b.client = backendClosing, nil
	b.untimed()
	b.db.discarding(b, why, cause)
	if b.sock.loop == nil {
		b.db.closed(b)
		return
	}
	l := b.sock.loop
	if !b.busy {
		b.sock.send(wire.AppendTerminate(nil))
		l.close(b.sock)
		b.db.closed(b)
		return
	}
	_ = unix.SetsockoptLinger(b.sock.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // a Unix socket needs none
	l.close(b.sock)
	l.behind = append(l.behind, func() { b.db.server.cancelling.Go(b.cancelLast) })
}

// cancelLast cancels what runs on a backend whose connection is closed, and frees
// its place.
func (b *backend) cancelLast() {
	ctx, stop := context.WithTimeout(context.Background(), b.db.timeouts().CancelWait)
	defer stop()
	_, err := b.be.Cancel(ctx)
	b.db.closed(b)
	if again := b.cancelAgain(ctx); err != nil && !again {
		b.db.server.log().Warn("statement of a client that is gone could not be cancelled", "database", b.db.name, "server_pid", b.be.PID, "error", err)
	}
}

// cancelPauses are the pauses in front of the repetitions of a last cancel. A server
// that has much to do may come to a statement only after as long.
var cancelPauses = [...]time.Duration{20 * time.Millisecond, 80 * time.Millisecond, 320 * time.Millisecond, 1280 * time.Millisecond}

// cancelAgain repeats the last cancel of a backend and says whether PostgreSQL has
// taken one. PostgreSQL reads what was sent to it before the connection broke, and
// a statement that it reads only behind a cancel runs as if there had been none.
// That this could hit another's statement is not to be feared: the key was this
// connection's alone.
func (b *backend) cancelAgain(ctx context.Context) (taken bool) {
	var ending <-chan struct{} // the end of the proxy waits for the first repetition
	for _, pause := range cancelPauses {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return taken
		case <-ending:
			return taken
		}
		_, err := b.be.Cancel(ctx)
		taken = taken || err == nil
		ending = b.db.server.dialing.Done()
	}
	return taken
}

// finish is called when a backend that was given up has closed by itself.
func (b *backend) finish() { b.sock.loop.close(b.sock) }

// timeout gives the current step a time limit; 0: none. The timer is only ever moved to
// an earlier time, and finds out by itself: steps are short, and nearly none takes too
// long.
func (b *backend) timeout(d time.Duration) {
	b.due = 0
	if b.sock.loop == nil || d == 0 {
		return
	}
	b.due = b.sock.loop.now + int64(d)
	if b.timer.index == 0 || b.due < b.timer.at {
		b.timer.of = b.sock
		b.sock.loop.timers.set(&b.timer, b.due)
	}
}

// untimed takes the timer off the loop that owns the socket.
func (b *backend) untimed() {
	b.due = 0
	if b.sock.loop != nil {
		b.sock.loop.timers.set(&b.timer, 0)
	}
}

// deadline is called when the current step, or one before it, took too long.
func (b *backend) deadline(now int64) {
	if b.due == 0 {
		return
	}
	if now < b.due {
		b.sock.loop.timers.set(&b.timer, b.due)
		return
	}
	b.due = 0
	switch b.mode {
	case backendLeased:
		if l := b.client.lease; !l.Entered() || l.Early() || l.Occupied() {
			b.client.end(&refusal{reason: endServer, cause: errSlowEnter})
		}
	case backendTesting:
		b.db.metrics.reset(resultTimeout)
		b.busy = true // DISCARD ALL may still be running
		b.discard(session.ReasonResetTimeout, nil)
	case backendPausing:
		b.discard(session.ReasonUnclean, errSlowCancel)
	}
}

var (
	errSlowEnter  = errors.New("the backend did not confirm the context within server_reset_timeout")
	errSlowCancel = errors.New("a cancel was in flight for longer than cancel_wait_timeout")
)
