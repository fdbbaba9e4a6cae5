package session

import (
	"errors"
	"slices"

	"github.com/tenantgate/tenantgate/wire"
)

// turn is what a lease in transaction mode knows of itself beyond the one backend
// that it has at the moment: the client's from the first to the last.
type turn struct {
	ahead        aheadState
	done         bool       // nothing that PostgreSQL answers was sent since the last ReadyForQuery
	took         bool       // a message was taken since the client has the backend
	stirred      bool       // the session may not be any more what entering made of it
	unnamedStirs bool       // so may executing the client's unnamed statement do
	named        bool       // … and one that has a name
	plain        bool       // another unnamed statement may have taken its place
	erred        bool       // there was an error since the client has the backend
	expects      bool       // entering has changed parameters of which the client knows
	welcome      Parameters // the parameters that the client was welcomed with, as far as they may change
	told         Parameters // those that it was told last, if not the same
	fresh        bool       // the backend's unnamed statement is not the client's
	stale        bool       // it may be another client's
	lost         bool       // what the client's unnamed statement is cannot be told
	number       uint32     // of the transaction
	cycles       int        // Queries and Syncs that were sent to this backend
	pin          Pin
	former       []byte // the one before, while fresh
	unnamed      []byte // the Parse of the client's unnamed statement, whole; empty: there is none
}

// maxUnnamed bounds, in bytes, what is kept of an unnamed statement. A client
// with a longer one keeps its backend until it has another.
const maxUnnamed = 16 << 10

// errForeign means that a backend was handed out that carries what the lease must
// not get to see.
var errForeign = errors.New("the backend still carries another session")

// attach takes b for the entry: as it is where it has served this very session
// last, or else by entering the context. A backend that carries another one's comes
// with the same context only, and only if its session left nothing behind.
func (l *Lease) attach(b *Backend, out *Out) error {
	l.backend = b
	l.began, l.turn.stirred, l.turn.ahead, l.turn.plain, l.turn.erred, l.turn.expects = false, false, aheadNone, false, false, false
	if b.carried != nil && !b.serves(l.entry) || b.carried != nil && !l.terms.Transaction {
		return errForeign
	}
	if b.carried == l.entry && len(b.moved) == 0 && l.turn.told.none() {
		l.began = true
		l.turn.stirred = b.stirred
		l.turn.fresh = b.turn != l.turn.number-1 // it may have another unnamed statement by now
		l.turn.stale = l.turn.fresh
		return nil
	}
	l.turn.stale = false
	l.turn.fresh = len(l.turn.unnamed) > 0 // entering leaves no unnamed statement
	if !l.turn.welcome.none() {
		alike := l.readsAlike(b)
		l.tell(b, out)
		if alike {
			l.turn.ahead, l.owed.coming = aheadDue, int8(len(aheadAnswers))
			return nil
		}
	}
	b.carried, b.stirred = l.entry, false
	return l.inject(out, "", l.entry.settings, true)
}

// serves says that b, which carries a context, may be given to a session with that
// entry without a reset: to the one that it has served last, and to another one with
// the same entry unless the last one may have left something behind.
func (b *Backend) serves(e *Entry) bool {
	return b.carried == e || !b.stirred && b.carried.same(e, b.seal != nil)
}

// same says that nothing tells the sessions of two entries apart; where contexts
// are sealed, not their end either.
func (e *Entry) same(o *Entry, sealed bool) bool {
	return slices.Equal(e.names, o.names) && slices.Equal(e.values, o.values) && slices.Equal(e.settings, o.settings) &&
		(!sealed || e.until.Equal(o.until))
}

// Resume goes on with the lease on b after a Detach, for the client's next
// transaction. The client's bytes are not taken until Entered, which may be at
// once. The terms are those in force now.
func (l *Lease) Resume(terms *Terms, b *Backend, out *Out) error {
	l.terms = terms
	l.owed = answers{ring: l.owed.ring, status: 'I', pushed: l.owed.pushed, taken: l.owed.taken}
	l.server, l.confirmed, l.fragile, l.farewell, l.cancelling = serverStream{}, false, false, false, false
	l.turn.done, l.turn.took, l.turn.cycles = true, false, 0
	l.turn.number++
	return l.attach(b, out)
}

// fairShare is how many Queries and Syncs a client may pipeline on one backend
// outside of a transaction block.
const fairShare = 64

// overstays says that the client has pipelined enough: its backend is to come to
// rest, so that others get their turn, before more of it passes.
func (l *Lease) overstays() bool {
	return l.turn.cycles >= fairShare && l.terms.Transaction && l.owed.status == 'I' && l.turn.pin == PinNone &&
		l.undone.closed && l.owed.waiting() && !l.owed.wantsData() && !l.owed.lost()
}

// Detachable says that the client's transaction is over and that it leaves nothing
// behind: the backend may serve another client until the next one begins. The
// caller adds that no cancel is in flight.
func (l *Lease) Detachable() bool {
	return l.turn.done && l.turn.took && l.terms.Transaction && l.turn.pin == PinNone && !l.turn.lost && !l.cancelling && !l.leaving && !l.farewell &&
		l.Poolable() && !l.client.scan.Inside() && !l.undone.any() && !l.fragile && !l.probe.on
}

// Detach gives the backend up when the lease is Detachable. The pool may keep it for
// this session, and for others as far as it serves them, if reusable; else it is to
// be reset.
func (l *Lease) Detach() (reusable bool) {
	b := l.backend
	l.backend = nil
	if l.turn.ahead == aheadDue {
		clear(b.moved)
		return true
	}
	if l.turn.plain && !l.turn.erred {
		l.turn.unnamedStirs = false
	}
	b.stirred, b.turn = l.turn.stirred, l.turn.number
	if l.turn.fresh {
		b.turn = 0
	}
	if len(b.moved) > 0 {
		l.turn.told = b.Params
	}
	return len(b.moved) == 0
}

// Abandon gives up a backend that went away while the context was being entered:
// none of the client's bytes has reached it.
func (l *Lease) Abandon() { l.backend = nil }

// Attached says that the lease has a backend now.
func (l *Lease) Attached() bool { return l.backend != nil }

// Pinned is why the lease keeps its backend behind a transaction.
func (l *Lease) Pinned() Pin { return l.turn.pin }

// Wants looks at what a client without a backend has sent, and says whether it
// needs one for it: not for less than a whole message, unless that is one of which a
// part is forwarded, nor for Terminate, after which the lease is Leaving. An error
// ends the client.
func (l *Lease) Wants(p []byte) (bool, error) {
	m, ok := l.client.scan.Next(p)
	switch {
	case !ok:
		return false, nil
	case m.Type == 'X':
		l.leaving = true
		return false, wire.CheckClient(m.Type, m.Length)
	}
	if err := wire.CheckClient(m.Type, m.Length); err != nil {
		return false, err
	}
	statement := (m.Type == 'Q' || m.Type == 'P') && m.Size() <= l.terms.StatementBuffer
	return m.Whole() || !statement && len(m.Body) >= gatherLimit, nil
}

// stirs follows a statement that passes, whether it may leave something in the
// session that is no reason to keep the backend: another session gets that only when
// it was reset. A statement that is prepared may do so each time that it is executed.
func (l *Lease) stirs(typ byte, name []byte, does bool) {
	if !l.terms.Transaction {
		return
	}
	t := &l.turn
	t.stirred = t.stirred || does
	switch {
	case typ == 'P' && len(name) > 0:
		t.named = t.named || does
	case typ == 'P' && does:
		t.unnamedStirs, t.plain = true, false
	default: // a Query leaves no unnamed statement
		t.plain = true
	}
}

// pinned notes that a statement which passes leaves something in the session.
func (l *Lease) pinned(p Pin) {
	if p != PinNone && l.turn.pin == PinNone && l.terms.Transaction {
		l.turn.pin = p
	}
}

// passes follows a message of a client in transaction mode that is about to pass.
func (l *Lease) passes(m wire.Frame) {
	switch m.Type {
	case 'Q':
		l.forgets()
		l.turn.cycles++
	case 'S':
		l.turn.cycles++
		if l.turn.ahead == aheadSent {
			l.turn.ahead = aheadShut
		}
	case 'C':
		if kind, name, ok := wire.CloseOrDescribe(m.Body); ok && kind == 'S' && len(name) == 0 {
			l.forgets()
		}
	case 'B', 'E':
		l.turn.stirred = l.turn.stirred || l.turn.unnamedStirs || l.turn.named
	case 'P', 'D':
	default:
		return
	}
	l.turn.done = false
}

// prepares follows the Parse of a client in transaction mode.
func (l *Lease) prepares(m wire.Frame, name []byte) {
	switch {
	case !l.terms.Transaction || l.owed.skipping:
	case len(name) > 0:
		l.pinned(PinNamed)
	case m.Size() > maxUnnamed:
		l.turn.unnamed, l.turn.lost = nil, true
	default:
		if l.turn.fresh {
			l.turn.former, l.turn.unnamed = l.turn.unnamed, l.turn.former
		}
		l.turn.unnamed = append(appendHeader(l.turn.unnamed[:0], 'P', m.Size()), m.Body...)
		l.turn.lost = false
	}
}

// appendHeader begins a message with a body of that size.
func appendHeader(dst []byte, typ byte, size int) []byte {
	n := uint32(size) + 4
	return append(dst, typ, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// forgets notes that the client's unnamed statement goes with a message, unless
// that is skipped behind an error.
func (l *Lease) forgets() {
	if l.owed.skipping {
		return
	}
	l.turn.unnamed = nil
	l.turn.lost = l.owed.unsynced
}

// mishaps is told of an error of the client's before it is counted: a Parse that
// failed has left no unnamed statement, one that is skipped has left the old one,
// as has one, or a Query, whose text cannot be converted (pq_getmsgstring).
func (l *Lease) mishaps(code string) {
	front := l.owed.front().kind()
	parse, unread := front == 'P', code == "22021" || code == "22P05"
	if unread && (parse || front == 'Q') {
		l.turn.unnamed, l.turn.lost = nil, true
		return
	}
	behind := 0
	for i := range l.owed.n {
		if l.owed.at(i).kind() == 'P' {
			behind++
		}
	}
	switch {
	case parse && behind == 1:
		l.turn.unnamed = nil
	case behind > 0:
		l.turn.unnamed, l.turn.lost = nil, true
	}
}

// supply sends, in front of the first message of the client's on this backend,
// what makes the unnamed statement the client's own: its Parse again, whose error
// is the client's, or a Close of another's.
func (l *Lease) supply(m wire.Frame, out *Out) error {
	switch again, another := l.lacks(m); {
	case again:
		out.toServer(slices.Clone(l.turn.needed(m))) // a later Parse of the same step takes its place
		l.owed.insert(supplied)
	case another:
		msg, err := wire.AppendClose(nil, 'S', "")
		if err != nil {
			return err
		}
		out.toServer(msg)
		l.owed.insert(cleared)
	}
	l.turn.fresh = l.turn.fresh && harmless(m.Type)
	l.turn.former = nil
	return nil
}

// lacks says what supply sends in front of the message: the client's Parse where
// the message may need it, or a Close. What takes the place of the unnamed
// statement needs no Parse, but a Close all the same: it may fail before it does so.
func (l *Lease) lacks(m wire.Frame) (again, another bool) {
	if !l.turn.fresh || harmless(m.Type) {
		return false, false
	}
	takes := m.Type == 'F' || m.Type == 'Q' && readable(m.Body, 1) || m.Type == 'P' && len(m.Body) > 0 && m.Body[0] == 0 && readable(m.Body, 2)
	again = !takes && len(l.turn.needed(m)) > 0
	return again, !again && l.turn.stale
}

// readable says that a Query or Parse with that many strings can be read, whatever
// the encoding: if not, it fails before the unnamed statement is dropped.
func readable(body []byte, strings int) bool {
	for i, c := range body {
		switch {
		case c >= 0x80:
			return false
		case c == 0:
			if strings--; strings == 0 {
				rest := body[i+1:]
				return len(rest) == 0 || len(rest) >= 2 && len(rest) == 2+4*(int(rest[0])<<8|int(rest[1]))
			}
		}
	}
	return false
}

// needed is the unnamed statement of the client in front of the message.
func (t *turn) needed(m wire.Frame) []byte {
	if m.Type == 'P' && len(m.Body) > 0 && m.Body[0] == 0 {
		return t.former
	}
	return t.unnamed
}

// next is the number among the answers owed of a message that is about to pass.
func (l *Lease) next(m wire.Frame) uint64 {
	if again, another := l.lacks(m); again || another {
		return l.owed.number(2)
	}
	return l.owed.number(1)
}
