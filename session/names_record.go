package session

import (
	"github.com/tenantgate/tenantgate/wire"
)

// effect is what becomes of statements when a message is answered. Of one that is
// skipped, nothing does.
type effect struct {
	number    uint64 // of the message among the answers owed
	what      entry  // 'P', 'C' or 'D' of the client's, supplied, cleared, shownAgain, or one of the below
	own       *own   // may be nil for a Close
	held      *held  // what a Close closes on the backend
	is        version
	unkept    bool
	size      int // of a Parse, counted already
	from, to  int // of one that makes the unnamed statement, where it is kept
	does      deeds
	unsettled bool // it may fail before it has any effect
	early     bool // … and has perhaps done so
	absent    bool // the backend had nothing of the client's under the name before
	done      bool // of effectDeallocate: it was run
	portal    bool // of 'D': a portal is described
}

// Effects of messages that are not answered by themselves.
const (
	effectDrop       entry = 'Q' // of a Query: the unnamed statement is gone
	effectDeallocate entry = 'E' // of a Query or Execute
)

// expect notes an effect of a message that was just sent.
func (n *names) expect(e effect) {
	if e.own != nil {
		e.own.owed++
	}
	n.pending = append(n.pending, e)
}

// record notes what a message of the client's that was just sent does when it is
// answered; refused: a statement that fails is in its place.
func (l *Lease) record(m wire.Frame, refused bool) {
	n := l.names
	v := n.will
	if !m.Whole() {
		v = deeds{pin: PinUnknown, stirs: true, runs: true} // it is not read yet
	}
	if n.inert || m.Type != 'E' && m.Type != 'B' && n.at == nil && len(n.name) == 0 && !n.strange {
		return
	}
	switch m.Type {
	case 'Q', 'F':
		l.recordDrop(effect{what: effectDrop, unsettled: n.unsettled && !refused})
	case 'P':
		switch {
		case n.at == &n.unnamed && refused:
			l.recordDrop(effect{what: 'P'})
		case n.at == &n.unnamed:
			l.recordDrop(l.keepUnnamed(m, v))
		case !refused:
			l.recordParse(m, v)
		}
	case 'C':
		l.recordClose()
	case 'D':
		if n.at != nil {
			n.expect(effect{number: l.owed.pushed, what: 'D', own: n.at, portal: n.shows})
		}
	}
	if refused {
		return
	}
	if m.Type == 'B' {
		n.binds(m)
	}
	if m.Type == 'B' && n.at != nil {
		l.pinned(n.at.does.pin)
		l.stirs(n.at.does.stirs)
		l.sets(n.at.does.sets, n.at.does.runs)
	}
	l.attend(m)
}

// recordDrop is for a message that drops the unnamed statement, or replaces it.
func (l *Lease) recordDrop(e effect) {
	n, o, h := l.names, &l.names.unnamed, &l.backend.shelf.unnamed
	if e.what == effectDrop && o.is.none() && o.owed == 0 && h.is.none() {
		return
	}
	e.number, e.own = l.owed.pushed, o
	if o.stay == n.stay && o.number == 0 {
		o.owed++
	} else {
		e.absent = o.stay != n.stay
		h.is = doubtful
		n.pledge(o, e.number, l.batch)
	}
	n.pending = append(n.pending, e)
}

// recordParse is for the Parse of a statement with a name.
func (l *Lease) recordParse(m wire.Frame, v deeds) {
	n := l.names
	if n.strange || string(n.name) == enterName || l.terms.MaxPrepared == 0 || n.at == nil && len(n.all) >= maxOwn {
		n.untracked = true
		return
	}
	o := n.at
	if o == nil {
		o = &own{name: string(n.name), stay: n.stay, batch: l.batch}
		if n.all == nil {
			n.all = map[string]*own{}
		}
		n.all[o.name] = o
		n.at = o
		l.claim(o)
	}
	e := effect{number: l.owed.pushed, what: 'P', own: o, does: v}
	size := len(m.Body) + ownOverhead
	if e.unkept = !m.Whole() || v.binds || l.backend.otherwise() || size > maxKept-n.bytes; e.unkept {
		l.change++
		e.is = version{session: l.entry.Session, change: l.change}
	} else {
		e.is, e.size = l.made(string(m.Body)), size
		n.bytes += size
	}
	n.expect(e)
}

// claim notes that another one's statement of the same name was closed in front of
// the Parse of o.
func (l *Lease) claim(o *own) {
	n := l.names
	for i := len(n.pending) - 1; i >= n.head; i-- {
		if e := &n.pending[i]; e.what == cleared && e.own == nil && e.held.name == o.name {
			e.own = o
			o.number = e.number
			o.owed++
			return
		}
	}
}

// recordClose is for the Close of a statement: it needs nothing in front of it.
func (l *Lease) recordClose() {
	n, o := l.names, l.names.at
	h := n.on(&l.backend.shelf, o, n.name)
	if o == nil && h == nil {
		return
	}
	e := effect{number: l.owed.pushed, what: 'C', own: o, held: h}
	switch {
	case o == nil:
		h.is = doubtful
	case o.stay == n.stay && o.number == 0:
		o.owed++
	default:
		if h != nil && !h.is.none() {
			h.is, h.stay = doubtful, l.backend.shelf.stay
		}
		n.pledge(o, e.number, l.batch)
	}
	n.pending = append(n.pending, e)
}
