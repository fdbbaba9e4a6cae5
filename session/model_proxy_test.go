package session

import (
	"bytes"
	"errors"
	"slices"

	"github.com/tenantgate/tenantgate/wire"
)

// step lets one thing happen to a client: it does something itself, or the proxy reads from it.
func (c *simClient) step() bool {
	r := c.w.rand
	if c.gone && c.abrupt && !c.ended && r.IntN(8) == 0 {
		c.w.note("client $a is gone", c.number, 0, 0)
		c.left()
		return true
	}
	if c.welcomed && !c.ended && r.IntN(300) == 0 {
		c.cancel()
	}
	choices := [...]func() bool{c.acting, c.read, c.resume}
	first := r.IntN(len(choices))
	for i := range choices {
		if choices[(first+i)%len(choices)]() {
			return true
		}
	}
	return false
}

// acting lets the client do its next thing.
func (c *simClient) acting() bool {
	if !c.ready() {
		return false
	}
	c.w.note("client $a acts, and wants $n things more", c.number, 0, c.ops)
	c.act()
	return true
}

// wanted says that the proxy reads from the client.
func (c *simClient) wanted() bool {
	return c.welcomed && !c.ended && !c.goodbye && !c.asking && (c.place == nil || !c.lease.Holding())
}

// read lets the proxy read from the client.
func (c *simClient) read() bool {
	if !c.wanted() || c.stalled {
		return false
	}
	if len(c.wire) == 0 {
		if c.gone {
			c.left()
			return true
		}
		return false
	}
	n := c.w.size(len(c.wire))
	c.w.note("client $a is read: $n bytes", c.number, 0, n)
	p := append(bytes.Clone(c.rest), c.wire[:n]...)
	c.wire = c.wire[n:]
	if c.place == nil {
		c.want(p)
		return true
	}
	c.take(p)
	return true
}

// resume gives the lease again what it did not take while it was holding.
func (c *simClient) resume() bool {
	if !c.wanted() || !c.stalled {
		return false
	}
	c.w.note("client $a goes on", c.number, 0, 0)
	c.stalled = false
	c.take(bytes.Clone(c.rest))
	return true
}

// take gives bytes of the client to the lease.
func (c *simClient) take(p []byte) {
	var out Out
	n, err := c.lease.FromClient(p, &out)
	c.place.receive(&out)
	c.rest = bytes.Clone(p[n:])
	for i := range p {
		p[i] = 0xdd // nothing may alias it any more
	}
	if len(out.Client) > 0 {
		c.w.violated("client %d is answered by its own bytes", c.number)
	}
	if err != nil {
		var long *LongStatementError
		if !(errors.As(err, &long) && c.doomed) && !c.adrift(err) {
			c.w.violated("client %d: %v", c.number, err)
		}
		c.w.Seen.refusals++
		c.end("refused late")
		return
	}
	if most := max(gatherLimit, c.w.terms.StatementBuffer) + wire.HeaderSize; len(c.rest) > most && !c.lease.Holding() {
		c.w.violated("%d bytes of client %d are kept", len(c.rest), c.number)
	}
	if c.lease.Leaving() && !c.goodbye {
		c.goodbye = true
		c.rest = nil
	}
	c.decide()
}

// receive takes what a lease sends to its backend.
func (b *place) receive(out *Out) {
	for _, p := range out.Server {
		b.toPG = append(b.toPG, p...)
	}
}

// granted leases b to the client and enters its context.
func (c *simClient) granted(b *place) {
	if c.ended {
		b.giveBack() // it was not used
		return
	}
	c.w.Seen.leases++
	c.place, b.client, b.last, b.mode = b, c, c, modeLeased
	b.finish, b.proven, c.asking, c.rests = remain, false, false, 0
	var out Out
	var err error
	if c.lease == nil {
		c.lease = &Lease{}
		err = c.lease.Begin(c.terms, c.entry, b.be, &out)
	} else {
		c.w.Seen.turns++
		if !c.terms.Transaction {
			c.w.Seen.settled++
		}
		err = c.lease.Resume(c.terms, b.be, &out)
		c.recalling()
	}
	if err != nil {
		c.w.violated("client %d: %v", c.number, err)
	}
	b.receive(&out)
	for _, piece := range out.Client {
		c.receive(piece)
	}
	if c.lease.Entered() {
		if c.lease.began {
			c.w.Seen.trusted++
		}
		c.entered()
		c.yield()
	}
}

// entered lets the client go on, with what it has sent while it waited.
func (c *simClient) entered() {
	c.w.note("client $a is welcome on $b", c.number, c.place.number, 0)
	if !c.welcomed {
		c.told = map[string]string{}
		for _, r := range reported {
			c.told[r.name] = c.place.be.Params.Value(r.name)
		}
		c.told["TimeZone"] = c.place.be.Params.Value("TimeZone")
	}
	c.welcomed = true
	c.stalled = len(c.rest) > 0
}

// want takes what a client without a backend has sent.
func (c *simClient) want(p []byte) {
	c.rest = p
	want, err := c.lease.Wants(p)
	switch {
	case err != nil:
		c.w.violated("client %d: %v", c.number, err)
	case c.lease.Leaving():
		c.goodbye = true
		c.checkAnswered("has left")
		c.end("goodbye")
	case want:
		c.ask()
	}
}

// ask asks for a backend for the client's next transaction.
func (c *simClient) ask() {
	c.asking, c.retried = true, false
	if c.w.rand.IntN(2) == 0 {
		c.recalling()
	}
	c.w.acquire(c)
}

// yield gives the backend up behind a transaction.
func (c *simClient) yield() {
	if c.ended || c.place == nil || c.place.cancels > 0 || !c.lease.Detachable() {
		if c.place != nil && c.lease.Pinned() != PinNone {
			c.w.Seen.pins++
		}
		return
	}
	b := c.place
	c.w.note("client $a yields backend $b", c.number, b.number, 0)
	reusable := c.lease.Detach()
	c.place = nil
	if zone := b.be.Params.Value("TimeZone"); zone != c.told["TimeZone"] {
		c.w.violated("client %d believes that its TimeZone is %q, and on backend %d it is %q", c.number, c.told["TimeZone"], b.number, zone)
	}
	if reusable && !b.tainted && !b.ended {
		b.park()
	} else {
		b.release()
	}
	c.stalled = false
	if len(c.rest) > 0 {
		c.ask()
		return
	}
	c.checkTold()
}

// lost is told that a granted backend went away before it could be used.
func (c *simClient) lost() {
	if !c.ended {
		c.w.acquire(c)
	}
}

// fromServer takes bytes of the backend.
func (c *simClient) fromServer(p []byte) int {
	b := c.place
	var out Out
	before := c.lease.Entered()
	n, err := c.lease.FromServer(p, &out)
	for _, piece := range out.Client {
		c.receive(piece)
	}
	b.receive(&out)
	if err != nil {
		c.serverFault(err)
		return n
	}
	if !before && c.lease.Entered() {
		c.entered()
	}
	c.decide()
	c.yield()
	return n
}

// serverFault ends the session because of what the backend said.
func (c *simClient) serverFault(err error) {
	b := c.place
	var enter *EnterError
	if c.adrift(err) {
		c.end("adrift")
		return
	}
	if !errors.As(err, &enter) || !b.faulty && !b.rejected {
		c.w.violated("client %d on backend %d: %v", c.number, b.number, err)
	}
	if enter.Fatal && c.replace() {
		return
	}
	c.end("enter failed")
}

// adrift says that the session ends because of a Sync that a COPY may have swallowed, and that it may, or
// because of what it has sent amid a COPY.
func (c *simClient) adrift(err error) bool {
	switch {
	case errors.Is(err, errAmidCopy):
		return c.lease.terms.Transaction
	case errors.Is(err, errMuchBehindCopy):
		return c.w.depth > maxBehindCopy
	case !errors.Is(err, errAdrift):
		return false
	}
	c.w.Seen.adrift++
	return c.early
}

// replace asks for another backend in place of one that failed before any byte of the client reached it.
func (c *simClient) replace() bool {
	if c.lease.Entered() || c.retried {
		return false
	}
	c.retried = true
	b := c.place
	c.place, c.asking = nil, true
	if c.lease.Abandon(); !c.welcomed {
		c.lease = nil
	}
	b.discard()
	c.w.acquire(c)
	return true
}

// serverGone is told that the backend's stream has ended.
func (c *simClient) serverGone() {
	if !c.place.faulty && !c.ref.dead && !c.goodbye {
		c.w.violated("backend %d has closed the connection of client %d", c.place.number, c.number)
	}
	if !c.replace() {
		c.end("server gone")
	}
}

// decide ends the session of a client that has said goodbye and was answered, and sees to who is read.
func (c *simClient) decide() {
	if c.ended || c.place == nil {
		return
	}
	if c.goodbye && !c.lease.Busy() {
		if !c.place.faulty && !c.fatal && c.lease.owed.n == 0 { // a doubted Sync is not waited for
			c.checkAnswered("has left")
		}
		c.end("goodbye")
		return
	}
	c.flow()
}

// flow notes what is to be given to the lease again when it stops holding.
func (c *simClient) flow() {
	if c.lease.Holding() && len(c.rest) > 0 {
		c.stalled = true
	}
}

// left ends the session of a client that has closed its connection.
func (c *simClient) left() {
	if c.goodbye {
		return
	}
	c.end("client gone")
}

// cancel is a cancel request of the client: it is forwarded while its backend owes something.
func (c *simClient) cancel() {
	if c.place == nil || !c.lease.Cancellable() || c.lease.Early() { // put off
		return
	}
	c.w.note("client $a asks for a cancel", c.number, 0, 0)
	c.w.Seen.cancels++
	c.place.cancelling(1)
	c.w.cancels = append(c.w.cancels, flight{c, c.place})
}

// end ends the session and gives the backend back, or the place in the queue.
func (c *simClient) end(why string) {
	if c.ended {
		return
	}
	c.ended = true
	w := c.w
	w.Seen.sessions++
	w.Seen.rows += c.seen
	w.note("client $a ends: "+why, c.number, 0, 0)
	w.clients = slices.DeleteFunc(w.clients, func(other *simClient) bool { return other == c })
	b := c.place
	if b == nil {
		w.forget(c)
		w.pool.Leave(&c.waiter)
		return
	}
	c.place = nil
	if len(c.received) == 0 != c.lease.AtBoundary() && why != "goodbye" {
		w.violated("client %d stands at a boundary: %v, and the lease says %v", c.number, len(c.received) == 0, c.lease.AtBoundary())
	}
	poolable := c.lease.Poolable()
	c.lease.Abandon()
	if poolable && !b.ended {
		b.release()
		return
	}
	b.discard()
}

// overdue ends what has taken too long when nothing happens any more, if it is right that it does.
func (c *simClient) overdue() bool {
	switch {
	case c.asking, !c.welcomed && c.place == nil:
		return false
	case c.place == nil:
		c.checkAnswered("waits")
		c.w.violated("client %d is stuck without a backend", c.number)
	case c.place.frozen && !c.lease.Entered():
		c.end("too slow")
	case c.place.frozen && c.goodbye, c.place.frozen && !c.welcomed:
		c.end("too slow")
	case c.place.frozen:
		c.gone, c.abrupt = true, true
		c.end("client gone")
	case !c.welcomed:
		c.w.violated("client %d is not entered", c.number)
	case c.goodbye:
		c.checkAnswered("says goodbye and is not let go")
		c.end("goodbye")
	default:
		c.checkAnswered("waits")
		if c.gone || c.ready() {
			c.w.violated("client %d has more to say and is not read", c.number)
		}
		c.w.violated("client %d is stuck", c.number)
	}
	return true
}
