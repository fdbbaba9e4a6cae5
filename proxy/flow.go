package proxy

// mostAhead is how many bytes are read of a client of which nothing may pass now.
const mostAhead = 1 << 20

// flowControl lets each side be read only while the other takes what it is sent.
func (c *client) flowControl() {
	wanted := c.welcomed && !c.goodbye && !c.muted && !c.stopping && len(c.backend.sock.out) == 0
	holding := c.lease.Holding()
	c.stalled = c.stalled || holding && len(c.sock.in) > 0
	c.held = wanted && holding && !c.lease.Entering() && len(c.sock.in) < mostAhead
	if c.welcomed && !c.sock.closed {
		c.sock.reading(c.held || wanted && !holding)
	}
	if c.held && c.sock.more || wanted && !holding && (c.stalled || c.sock.more) {
		c.loop.resume(c.sock)
	}
	c.backend.sock.reading(c.sock.closed || len(c.sock.out) == 0)
}

// readAhead keeps what the client sends while nothing of it may pass. It is read for
// the sake of what stands behind it: that the client has gone is not seen before.
// For the client's times it is as if it had not been read.
func (c *client) readAhead() {
	if p, ok := c.receive(); ok {
		c.sock.keep(p)
		c.flowControl()
	}
}
