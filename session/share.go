package session

import (
	"errors"
	"slices"

	"github.com/tenantgate/tenantgate/wire"
)

// turn is what matters of a stay in transaction mode alone.
type turn struct {
	ahead   aheadState
	done    bool // nothing that PostgreSQL answers was sent since the last ReadyForQuery
	took    bool // a message was taken since the client has the backend
	stirred bool // the session may not be any more what entering made of it
	expects bool // entering has changed parameters of which the client knows
	cycles  int  // Queries and Syncs that were sent to this backend
}

// errForeign means that a backend was handed out that carries what the lease must
// not get to see.
var errForeign = errors.New("the backend still carries another session")

// begin begins the stay on b. Nothing of the one before is left in it but the memory
// of its answers, of which the next knows none.
func (l *Lease) begin(terms *Terms, b *Backend) {
	l.stay = &b.stay
	*l.stay = stay{
		terms: terms, backend: b, turn: turn{done: true, stirred: b.stirred},
		owed: answers{ring: b.stay.owed.ring, status: 'I', pushed: l.numbered},
	}
	if terms.Transaction && l.names == nil {
		l.names = newNames()
	}
}

// attach takes the backend for the entry: as it is where it has served this very session
// last, or else by entering the context. A backend that carries another one's comes
// with the same context only, and only if its session left nothing behind.
func (l *Lease) attach(out *Out) error {
	b := l.backend
	if b.carried != nil && !b.serves(l.entry) || b.carried != nil && !l.terms.Transaction {
		return errForeign
	}
	if l.names != nil {
		l.names.begins(&b.shelf)
	}
	if b.carried == l.entry && len(b.moved) == 0 && l.told.none() && b.Params == l.welcome {
		l.began = true
		return nil
	}
	if !l.welcome.none() {
		alike := l.readsAlike(b)
		l.tell(b, out)
		if alike && l.terms.Transaction { // a reload may have changed pool_mode: in session mode a Sync is not seen to shut
			l.turn.ahead, l.owed.coming = aheadDue, int8(len(aheadAnswers))
			return nil
		}
	}
	b.carried = l.entry
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
	return (e.earned == o.earned || e.earned.same(o.earned, sealed)) && slices.Equal(e.settings, o.settings)
}

// same says that two tokens have earned the same.
func (e *earned) same(o *earned, sealed bool) bool {
	return slices.Equal(e.names, o.names) && slices.Equal(e.values, o.values) && (!sealed || e.until.Equal(o.until))
}

// Resume goes on with the lease on b after a Detach, for the client's next
// transaction. The client's bytes are not taken until Entered, which may be at
// once. The terms are those in force now.
func (l *Lease) Resume(terms *Terms, b *Backend, out *Out) error {
	l.begin(terms, b)
	return l.attach(out)
}

// fairShare is how many Queries and Syncs a client may pipeline on one backend
// outside of a transaction block.
const fairShare = 64

// overstays says that the client has pipelined enough: its backend is to come to
// rest, so that others get their turn, before more of it passes.
func (l *Lease) overstays() bool {
	return l.turn.cycles >= fairShare && l.terms.Transaction && l.owed.status == 'I' && l.Pinned() == PinNone &&
		l.undone.closed && l.owed.waiting() && !l.owed.wantsData() && !l.owed.lost()
}

// Detachable says that the client's transaction is over and that it leaves nothing
// behind: the backend may serve another client until the next one begins. The
// caller adds that no cancel is in flight.
func (l *Lease) Detachable() bool { return l.rests() && l.followed() }

// rests is Detachable, but for what the client has set.
func (l *Lease) rests() bool {
	return l.turn.done && l.turn.took && l.terms.Transaction && l.Pinned() == PinNone && !l.names.fetches() && !l.cancelling && !l.leaving && !l.farewell &&
		l.Poolable() && !l.client.scan.Inside() && !l.undone.any() && !l.fragile && !l.probe.on
}

// Detach gives the backend up when the lease is Detachable. The pool may keep it for
// this session, and for others as far as it serves them, if reusable; else it is to
// be reset.
func (l *Lease) Detach() (reusable bool) {
	b, turn := l.backend, l.turn
	l.Abandon()
	l.recalled = false
	if l.names.blank() {
		l.names.free()
		l.names = nil
	}
	if turn.ahead == aheadDue {
		clear(b.moved)
		return true
	}
	b.stirred = turn.stirred
	if len(b.moved) > 0 {
		l.told = b.Params
	}
	return len(b.moved) == 0
}

// Abandon parts the lease from its backend: it went away while the context was being
// entered, so that none of the client's bytes has reached it, or the session has ended.
// What the lease knew of the backend's answers is the next one's from here on.
func (l *Lease) Abandon() {
	l.numbered = l.owed.pushed
	l.stay = nil
}

// Pinned is why the lease keeps its backend behind a transaction.
func (l *Lease) Pinned() Pin {
	if l.pin == PinNone && l.names.pins() {
		return PinNamed
	}
	return l.pin
}

// Wants looks at what a client without a backend has sent, and says whether it
// needs one for it: not for less than a whole message, unless that is one of which a
// part is forwarded, nor for Terminate, after which the lease is Leaving. An error
// ends the client.
func (l *Lease) Wants(p []byte) (bool, error) {
	m, ok := new(wire.Scanner).Next(p)
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
	return m.Whole() || len(m.Body) >= gatherLimit, nil
}

// stirs notes that a statement which passes may leave something in the session that
// is no reason to keep the backend: another session gets that only when it was reset.
func (l *Lease) stirs(does bool) {
	l.turn.stirred = l.turn.stirred || does && l.terms.Transaction
}

// pinned notes that a statement which passes leaves something in the session.
func (l *Lease) pinned(p Pin) {
	if p != PinNone && l.pin == PinNone && l.terms.Transaction {
		l.pin = p
	}
}

// passes follows a message of a client in transaction mode that is about to pass.
func (l *Lease) passes(m wire.Frame) {
	switch m.Type {
	case 'Q':
		l.turn.cycles++
	case 'S':
		l.turn.cycles++
		if l.turn.ahead == aheadSent {
			l.turn.ahead = aheadShut
		}
	case 'P', 'B', 'D', 'E', 'C':
	default:
		return
	}
	l.turn.done = false
}
