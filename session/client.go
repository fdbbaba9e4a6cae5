package session

import (
	"fmt"

	"github.com/tenantgate/tenantgate/wire"
)

// gatherLimit bounds what is awaited whole of messages that are not statements.
const gatherLimit = 64 << 10

// LongStatementError ends a client whose statement was longer than the buffer
// and turned out to violate the guard: the backend never gets the whole of it.
type LongStatementError struct{ Rule Rule }

func (e *LongStatementError) Error() string {
	return fmt.Sprintf("statement longer than the buffer violates %s", e.Rule)
}

// clientStream is the message of the client that is passing in parts.
type clientStream struct {
	scan wire.Scanner
	drop bool // the rest of the current message is swallowed: it was refused
	owes bool // the current message is itself one that PostgreSQL answers
	long *longStatement
}

// passing is a chunk of the client's on its way: p[from:to] was taken and passes as
// it is.
type passing struct {
	p        []byte
	from, to int
	out      *Out
}

// pass sends what was taken, in front of something else.
func (c *passing) pass() {
	c.out.toServer(c.p[c.from:c.to])
	c.from = c.to
}

// FromClient takes what the client sent and returns how much of it was consumed.
// The caller keeps the rest and gives it again with more behind it: a header or
// a statement that is not whole yet, or everything while the lease is Holding.
// At most Terms.StatementBuffer and a header are left for want of more. A
// *wire.Violation or a *LongStatementError ends the client.
func (l *Lease) FromClient(p []byte, out *Out) (n int, err error) {
	c := passing{p: p, out: out}
	for {
		if l.client.scan.Inside() {
			take := l.client.scan.Skip(p[c.to:])
			if take == 0 {
				break
			}
			if err := l.clientBody(p[c.to : c.to+take]); err != nil {
				return c.to, err // the last piece is withheld
			}
			c.to += take
			if l.client.drop {
				c.from = c.to
			}
			continue
		}
		if l.undone.any() && l.owed.settled() {
			c.pass()
			if err := l.reenter(out); err != nil {
				return c.to, err
			}
		}
		m, ok := l.client.scan.Next(p[c.to:])
		if !ok || l.Holding() {
			break
		}
		if err := wire.CheckClient(m.Type, m.Length); err != nil {
			c.pass()
			return c.to, err
		}
		taken, err := l.takes(m, &c)
		if err != nil {
			return c.to, err
		}
		if l.leaving {
			return len(p), nil
		}
		if !taken {
			break
		}
	}
	c.pass()
	if l.follow != nil {
		return c.to, l.readBack(out)
	}
	return c.to, nil
}

// maxBehindCopy is how many messages may be owed an answer while a COPY FROM STDIN wants
// data: PostgreSQL takes Syncs without end there, and what is behind it is looked at often.
const maxBehindCopy = 256

var (
	errMuchBehindCopy = &wire.Violation{Text: "too many messages amid the data of a COPY"}
	errAmidCopy       = &wire.Violation{Text: "a message that is none of the COPY that runs"}
)

// amidCopy looks at what a client sends amid the data of a COPY. A message that is none
// of it ends the connection: PostgreSQL says so itself, but where the COPY has failed
// already it runs the message, and in transaction mode that must be seen beforehand.
func (l *Lease) amidCopy(m wire.Frame) error {
	a := &l.owed
	switch {
	case !a.copying && a.front() != doubted:
	case a.n > maxBehindCopy && (a.copying && !a.queued(copyEnd) || a.at(maxBehindCopy) == doubted):
		return errMuchBehindCopy
	case l.terms.Transaction && !a.skipping && !harmless(m.Type) && a.fed():
		return errAmidCopy
	}
	return nil
}

// takes lets a message pass, or what stands in its place; false: it is left for later.
func (l *Lease) takes(m wire.Frame, c *passing) (bool, error) {
	if l.owed.lost() && !harmless(m.Type) {
		return false, errAdrift
	}
	if err := l.amidCopy(m); err != nil {
		c.pass()
		return false, err
	}
	step, effects := l.decide(m, &c.out.judge)
	if step == await || step == ask {
		if l.names == nil {
			return false, nil
		}
		c.pass()
		return false, l.awaits(step, c.out)
	}
	if step == forward && l.stray(m) {
		step = ignore
	}
	if err := l.precedes(step, c); err != nil {
		return false, err
	}
	if step != forward {
		c.pass()
	}
	c.to += l.client.scan.Take(m)
	l.turn.took = true
	switch step {
	case forward:
		l.client.drop = false
		if l.forwarded(m, &effects) {
			c.pass()
			c.out.toServer(flush)
			l.owed.sent('H', injected)
		}
		return true, nil
	case terminate:
		l.leaving = true
		return true, nil
	}
	l.client.drop, c.from = true, c.to
	switch step {
	case resync:
		c.out.toServer(syncMessage)
		l.forwarded(wire.Frame{Type: 'S'}, &effects)
	case refuse:
		return true, l.refuse(m, c.out)
	}
	return true, nil
}

// precedes sends what the message at hand needs in front of it.
func (l *Lease) precedes(s step, c *passing) error {
	if l.turn.ahead == aheadDue && s != terminate && s != ignore {
		c.pass()
		if err := l.enterAhead(c.out); err != nil {
			return err
		}
	}
	if l.names != nil && len(l.names.todo) > 0 && s == forward {
		c.pass()
		return l.supply(c.out)
	}
	return nil
}

// step is what becomes of a message.
type step uint8

const (
	forward   step = iota
	await          // not enough of it is there
	refuse         // something that fails takes its place
	terminate      // the client says goodbye; not forwarded
	ignore         // PostgreSQL does nothing about it; not forwarded
	ask            // something is sent in front of it whose answer comes first
	resync         // a Sync takes its place, to end what PostgreSQL skips
)

// stray says that a message of a client in transaction mode means nothing where it
// stands: there is no COPY that it could belong to, and nothing to flush.
func (l *Lease) stray(m wire.Frame) bool {
	switch m.Type {
	case 'H', 'd', 'c', 'f':
		return l.terms.Transaction && l.owed.quiet()
	}
	return false
}

// decide says what becomes of a message.
func (l *Lease) decide(m wire.Frame, j *Judge) (step, Effects) {
	if l.names != nil {
		if s := l.plan(m); s != forward {
			return s, Effects{}
		}
	}
	return l.classify(m, j)
}

// classify decides on a message; the denial of a refused one is noted.
func (l *Lease) classify(m wire.Frame, j *Judge) (step, Effects) {
	switch {
	case !l.recalled || harmless(m.Type):
	case !m.Whole() && m.Size() <= l.terms.StatementBuffer:
		return await, Effects{}
	default:
		if l.recalled = false; m.Type == 'Q' || m.Type == 'P' || m.Type == 'B' {
			l.denied(Denial{Canceled: true})
			return refuse, Effects{}
		}
	}
	switch m.Type {
	case 'Q', 'P':
		return l.statement(m, j)
	case 'B':
		return l.bind(m), Effects{}
	case 'E':
		return l.execute(m)
	case 'C':
		follows := l.bindings.any()
		if (follows || l.terms.Transaction) && !m.Whole() {
			return await, Effects{} // at most 10,000 bytes
		}
		if follows {
			l.bindings.closed(m.Body, l.next())
		}
	case 'F':
		l.denied(Denial{Fastpath: true})
		return refuse, Effects{}
	case 'X':
		return terminate, Effects{}
	}
	return forward, Effects{}
}

// harmless says that a message runs nothing.
func harmless(typ byte) bool {
	switch typ {
	case 'S', 'H', 'X', 'd', 'c', 'f':
		return true
	}
	return false
}

// flush is a Flush.
var flush = wire.AppendFlush(nil)

// forwarded records a message that passes, and says whether it is an Execute
// whose answer is wanted before anything else passes: it may undo the context in
// the middle of a batch.
func (l *Lease) forwarded(m wire.Frame, effects *Effects) bool {
	if l.terms.Transaction {
		l.passes(m)
	}
	l.client.owes = l.owed.sent(m.Type, 0)
	if l.names != nil {
		l.record(m, false)
	}
	switch m.Type {
	case 'Q':
		l.undone.closed = true // its ReadyForQuery is awaited
		l.undo(effects)
	case 'S':
		l.undone.closed = true
		l.batch++
	case 'P', 'B', 'D', 'C':
		l.undone.closed = false
	case 'E':
		l.undone.closed = false
		if !l.undoes(effects) || l.owed.skipping {
			return false
		}
		f := *effects
		l.probe.on, l.probe.undid, l.probe.discards, l.probe.effects = true, false, false, &f
		return true
	}
	return false
}

// refuse puts a statement that PostgreSQL itself refuses in the place of the
// client's, so that transactions fail, pipelines skip and answers are owed just
// as if PostgreSQL had refused the client's own; only the error's text changes
// on the way back.
func (l *Lease) refuse(m wire.Frame, out *Out) error {
	typ := byte('Q')
	switch m.Type {
	case 'P', 'B', 'D':
		typ = m.Type
	}
	l.turn.done = false
	runs := l.owed.sent(typ, refused)
	if !runs {
		l.denials = l.denials[:len(l.denials)-1] // skipped by PostgreSQL: never answered
	}
	if l.names != nil {
		l.names.inert = l.names.inert && !runs // what takes its place is read, at any rate
		l.record(m, true)
	}
	const text = "refused by tenantgate"
	var msg []byte
	var err error
	switch {
	case typ == 'P' && len(m.Body) > 0 && m.Body[0] != 0:
		msg = brokenParse
	case typ == 'P':
		msg, err = wire.AppendParse(nil, "", text)
	case typ == 'B':
		msg = brokenBind
	case typ == 'D':
		msg = brokenDescribe
	default:
		msg, err = wire.AppendQuery(nil, text)
	}
	out.toServer(msg)
	return err
}

// brokenParse is a Parse that ends behind its strings, and brokenDescribe a Describe
// of nothing that there is. Either fails before it has any effect.
var (
	brokenParse    = []byte{'P', 0, 0, 0, 6, 0, 0}
	brokenDescribe = []byte{'D', 0, 0, 0, 6, '?', 0}
)

// brokenBind is a Bind that ends behind its names. PostgreSQL answers it with an
// ERROR, whatever those stand for, and changes nothing.
var brokenBind = []byte{'B', 0, 0, 0, 6, 0, 0}

func (l *Lease) denied(d Denial) { l.denials = append(l.denials, d) }

// clientBody takes a further piece of a message that is passing in parts. For a
// long statement it is judged before it passes.
func (l *Lease) clientBody(piece []byte) error {
	long := l.client.long
	if long == nil {
		return nil
	}
	long.feed(piece)
	if l.client.scan.Inside() {
		return nil
	}
	l.client.long = nil
	return l.judged(long)
}
