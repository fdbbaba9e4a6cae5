package session

import (
	"bytes"
	"slices"

	"github.com/tenantgate/tenantgate/wire"
)

// mode is what a place's bytes are given to.
type mode uint8

const (
	modeIdle mode = iota
	modeLeased
	modePausing
	modeTesting
	modeClosing
)

// place is a backend as the proxy holds it, with the simulated PostgreSQL behind it.
type place struct {
	w       *world
	number  int
	pg      *postgres
	be      *Backend
	slot    *Server
	mode    mode
	client  *simClient // in mode leased
	last    *simClient // the last one that it was leased to
	reset   Reset
	proven  bool       // clean: fresh, or reset since the last lease
	kept    *simTenant // whose context it carries, in the pool
	owner   *simClient // that it was entered for last, since it was clean
	carried *Entry     // with what

	cancels  int  // in flight
	tainted  bool // a cancel may still arrive: never pooled again
	rest     []byte
	toPG     []byte
	faulty   bool // it was made to fail
	frozen   bool // it does nothing any more
	ended    bool // the proxy has seen the end of its stream
	finish   verdict
	rejected bool // it did not let a context be entered
	east     bool // its time zone is another one
	undying  int  // steps that it lives on after it was given up
}

// step lets one thing happen at the place.
func (b *place) step() bool {
	w, r := b.w, b.w.rand
	if b.mode == modeClosing {
		return b.closingStep()
	}
	if w.faults && r.IntN(4000) == 0 && !b.faulty {
		b.fault()
		return true
	}
	choices := [...]func() bool{b.send, b.work, b.finishSlow, b.deliver, b.gone}
	first := r.IntN(len(choices))
	for i := range choices {
		if choices[(first+i)%len(choices)]() {
			return true
		}
	}
	return false
}

// closingStep lets what was given up do what it has on its hands, and then be closed.
func (b *place) closingStep() bool {
	if b.undying > 0 && !b.frozen {
		b.undying--
		b.send()
		b.work()
		b.finishSlow()
		return true
	}
	b.w.places = slices.DeleteFunc(b.w.places, func(p *place) bool { return p == b })
	b.w.note("backend $a is closed", b.number, 0, 0)
	b.w.do(b.w.pool.Closed(b.w.now, b.slot))
	return true
}

// send brings bytes of the proxy to PostgreSQL.
func (b *place) send() bool {
	if len(b.toPG) == 0 || b.frozen {
		return false
	}
	n := b.w.size(len(b.toPG))
	b.pg.in = append(b.pg.in, b.toPG[:n]...)
	b.toPG = b.toPG[n:]
	b.w.note("backend $a receives $n bytes", b.number, 0, n)
	return true
}

// work lets PostgreSQL do something.
func (b *place) work() bool {
	if b.frozen {
		return false
	}
	if b.w.rand.IntN(60) == 0 && !b.pg.dead {
		b.unasked()
	}
	copying := b.pg.waiting
	if copying != nil && !copying.copying {
		copying = nil
	}
	doing := b.pg.doing()
	worked := b.pg.step()
	if copying != nil {
		f := b.w.fates[copying.key]
		f.consumed, f.done = copying.consumed, b.pg.waiting != copying
		b.w.fates[copying.key] = f
	}
	if worked {
		b.w.note("backend $a does", b.number, 0, 0, doing)
	}
	return worked
}

// unasked sends a message that may come at any time.
func (b *place) unasked() {
	switch b.w.rand.IntN(3) {
	case 0:
		b.pg.pass(wire.AppendNotice(nil, "NOTICE", "00000", "by the way", ""))
	case 1:
		b.pg.pass(message('A', "\x00\x00\x00\x01channel\x00payload\x00"))
	default:
		if b.mode == modeIdle && len(b.rest)+len(b.pg.sent) == 0 { // and is read at once
			b.east = !b.east
			b.pg.pass(wire.AppendParameterStatus(nil, "TimeZone", map[bool]string{false: "UTC", true: "CET"}[b.east]))
			b.pg.flush()
			b.pg.sent = b.pg.sent[b.take(b.pg.sent):]
		}
	}
	b.pg.flush()
}

// finishSlow ends a statement that waits for that.
func (b *place) finishSlow() bool {
	s := b.pg.waiting
	if s == nil || s.copying || b.frozen || b.finish != remain {
		return false
	}
	b.finish = proceed
	return true
}

// deliver brings bytes of PostgreSQL to the proxy.
func (b *place) deliver() bool {
	if len(b.pg.sent) == 0 || b.ended {
		return false
	}
	n := b.w.size(len(b.pg.sent))
	b.w.note("backend $a is read: $n bytes", b.number, 0, n)
	p := append(bytes.Clone(b.rest), b.pg.sent[:n]...)
	b.pg.sent, b.rest = b.pg.sent[n:], nil
	taken := b.take(p)
	if b.mode != modeClosing {
		b.rest = bytes.Clone(p[taken:])
		if len(b.rest) > gatherLimit+wire.HeaderSize {
			b.w.violated("%d bytes of backend %d are kept", len(b.rest), b.number)
		}
	}
	for i := range p {
		p[i] = 0xdd // nothing may alias it any more
	}
	return true
}

// take gives bytes to whom they concern.
func (b *place) take(p []byte) int {
	switch b.mode {
	case modeLeased:
		return b.client.fromServer(p)
	case modeTesting:
		n, done, err := b.reset.FromServer(p)
		if err != nil {
			if !b.faulty && b.reset.step < len(resetAnswers) { // a notice may come right behind the proof
				b.w.violated("a reset of backend %d failed: %v", b.number, err)
			}
			b.discard()
		}
		if done {
			b.clean()
		}
		return n
	case modeIdle, modePausing:
		n, err := b.be.Watch(p)
		if err != nil {
			if !b.faulty {
				b.w.violated("backend %d in the pool: %v", b.number, err)
			}
			b.discard()
		}
		return n
	case modeClosing:
	}
	return len(p)
}

// gone brings the end of PostgreSQL's stream.
func (b *place) gone() bool {
	if !b.pg.dead || len(b.pg.sent) > 0 || b.ended {
		return false
	}
	b.ended = true
	b.w.note("backend $a is gone", b.number, 0, 0)
	if b.mode == modeLeased {
		b.client.serverGone()
	} else {
		b.discard()
	}
	return true
}

// release begins the reset of a backend whose lease is over, once no cancel is in flight.
func (b *place) release() {
	b.client, b.kept, b.proven = nil, nil, false
	if b.tainted {
		b.discard()
		return
	}
	b.w.pool.Testing(b.slot)
	if b.cancels > 0 {
		b.mode = modePausing
		return
	}
	b.mode = modeTesting
	b.checkClean()
	b.w.Seen.resets++
	msg, err := b.reset.Begin(b.be, b.w.spec, &Random{}, nil)
	if err != nil {
		b.w.violated("reset: %v", err)
	}
	b.w.note("backend $a is being reset", b.number, 0, 0)
	b.toPG = append(b.toPG, msg...)
}

// clean puts a backend back that is proven.
func (b *place) clean() {
	if len(b.pg.in)+len(b.toPG)+len(b.pg.buffer) > 0 && !b.pg.dead {
		b.w.violated("backend %d is proven clean with bytes on the way", b.number)
	}
	b.mode, b.proven, b.kept, b.owner, b.rest = modeIdle, true, nil, nil, nil
	b.w.Seen.pooled++
	b.w.note("backend $a is clean", b.number, 0, 0)
	b.giveBack()
}

// park puts a backend back that carries the context of its last client.
func (b *place) park() {
	b.checkClean()
	if b.be.carried == b.client.lease.Entry() {
		b.carried = b.be.carried
		b.owner, b.kept, b.proven = b.client, b.client.tenant, false
	} else if b.proven = b.owner == nil; !b.proven { // nothing was sent to it
		b.kept = b.owner.tenant
	}
	b.w.note("backend $a keeps its context", b.number, 0, 0)
	b.giveBack()
}

func (b *place) giveBack() {
	b.mode, b.client = modeIdle, nil
	b.w.do(b.w.pool.Release(b.w.now, b.slot))
}

// discard gives the backend up.
func (b *place) discard() {
	if b.mode == modeClosing {
		return
	}
	b.w.note("backend $a is given up", b.number, 0, 0)
	b.mode, b.client = modeClosing, nil
	b.undying = b.w.rand.IntN(60)
	b.w.Seen.discarded++
	b.w.pool.Discarding(b.slot)
}

// overdue ends what has taken too long when nothing happens any more.
func (b *place) overdue() bool {
	switch {
	case b.mode == modeTesting && (b.frozen || b.pg.dead):
		b.discard()
		return true
	case b.mode == modeTesting:
		b.w.violated("the reset of backend %d does not end", b.number)
	case b.mode == modePausing:
		b.w.violated("backend %d waits for a cancel that is over", b.number)
	}
	return false
}

// fault breaks the backend in one of the ways in which they break.
func (b *place) fault() {
	b.faulty = true
	switch b.w.rand.IntN(3) {
	case 0:
		b.w.note("backend $a says FATAL", b.number, 0, 0)
		if !b.pg.dead {
			b.pg.die("57P01")
		}
	case 1:
		b.w.note("backend $a dies", b.number, 0, 0)
		b.pg.dead = true
		b.pg.sent = b.pg.sent[:b.w.rand.IntN(len(b.pg.sent)+1)]
	default:
		b.w.note("backend $a freezes", b.number, 0, 0)
		b.frozen = true
	}
}

// cancelled is told that a cancel is no longer in flight.
func (b *place) cancelled() {
	b.tainted = b.tainted || b.w.faults && b.w.rand.IntN(10) == 0
	b.cancelling(-1)
	if b.cancels == 0 && b.mode == modePausing {
		b.release()
	}
}

// cancelling counts the cancels in flight.
func (b *place) cancelling(n int) {
	b.cancels += n
	if b.mode != modeLeased {
		return
	}
	var out Out
	if err := b.client.lease.Cancelling(b.cancels > 0, &out); err != nil {
		b.w.violated("backend %d: %v", b.number, err)
	}
	b.receive(&out)
	b.client.flow()
	b.client.yield()
}
