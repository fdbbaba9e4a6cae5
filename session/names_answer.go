package session

import (
	"hash/maphash"

	"github.com/tenantgate/tenantgate/wire"
)

// resolve takes a message of the backend once the answers owed have taken it. code is
// that of an ErrorResponse.
func (l *Lease) resolve(m wire.Frame, owner entry, code string) {
	n, done := l.names, l.owed.through()
	if m.Type == 'C' && n.barrier > 0 {
		number := done
		if owner.kind() == 'Q' {
			number++
		}
		if n.barrier >= number {
			l.tagged(m.Body, number)
		}
	}
	switch code {
	case "0A000", "26000", "42P05":
		l.backend.shelf.doubt()
	}
	if n.head == len(n.pending) {
		return
	}
	if m.Type == 'E' && owner.ofNames() {
		n.unfetched = true
		l.recalled = l.recalled || code == cancelled && n.quietly(&l.owed) // what waits for it fails instead
	}
	switch m.Type {
	case 't':
		n.params = 0
		if m.Whole() {
			n.params = maphash.Bytes(shownSeed, m.Body) | 1
		}
	case 'E': // of a Query, behind which its ReadyForQuery comes
		for i := n.head; i < len(n.pending) && n.pending[i].number == l.owed.erred; i++ {
			n.pending[i].early = n.pending[i].unsettled && unread(code)
		}
	}
	for n.head < len(n.pending) && n.pending[n.head].number <= done {
		e := &n.pending[n.head]
		n.head++
		if e.own != nil {
			e.own.owed--
		}
		switch {
		case m.Type != 'E':
			l.succeeded(e, m)
		case e.number == l.owed.erred:
			l.erred(e, code)
		default:
			n.skipped(e)
		}
		n.tidy(e.own)
	}
	if n.head == len(n.pending) {
		n.pending, n.head = n.pending[:0], 0
		if cap(n.pending) > 64 {
			n.pending = nil
		}
		n.compact()
	} else if n.head >= maxPending {
		rest := copy(n.pending, n.pending[n.head:])
		clear(n.pending[rest:])
		n.pending, n.head = n.pending[:rest], 0
	}
}

// awaitsTag says that a CommandComplete may be about prepared statements.
func (n *names) awaitsTag(a *answers) bool { return n != nil && n.barrier > a.through() }

// synced says that the ReadyForQuery which was just taken is not the client's.
func (n *names) synced(a *answers) bool {
	return n != nil && n.fetchSync == a.through() && n.fetchSync > 0
}

// quietly says that the message which has just failed was sent between the batches of
// the client's: its error is nobody's.
func (n *names) quietly(a *answers) bool {
	return n != nil && n.fetchFrom > 0 && a.erred >= n.fetchFrom && a.erred < n.fetchSync
}

// reads says that a description is looked at.
func (n *names) reads(a *answers) bool {
	if n == nil || n.head == len(n.pending) {
		return false
	}
	e := &n.pending[n.head]
	return e.number == a.through()+1 && (e.what == 'D' || e.what == shownAgain)
}

// cancelled is the SQLSTATE of a statement that was cancelled.
const cancelled = "57014"

// unread says that a message may have failed as it was read.
func unread(code string) bool { return code == "22021" || code == "22P05" }

// succeeded takes the answer to a message that did what it is there for.
func (l *Lease) succeeded(e *effect, m wire.Frame) {
	n, s, o := l.names, &l.backend.shelf, e.own
	switch e.what {
	case 'P':
		n.lose(o)
		o.is, o.size, o.unkept, o.does = e.is, e.size, e.unkept, e.does
		if e.unkept {
			n.unkept++
		}
		if o == &n.unnamed {
			n.from, n.to = e.from, e.to
		}
		l.stands(o, e.is)
	case supplied:
		o.is = e.is
		l.stands(o, e.is)
	case standIn:
		s.put(e.held.name).is = doubtful
	case 'C', cleared:
		if e.held != nil && (e.what == 'C' || e.held.is == doubtful) {
			s.drop(e.held)
		}
		if o == nil {
			return
		}
		if e.what == 'C' {
			n.lose(o)
			if h := n.on(s, o, nil); h != nil {
				s.drop(h)
			}
		}
		if e.what == 'C' || o.number == e.number {
			n.together(o)
		}
	case 'D', shownAgain:
		l.described(e, m)
	case effectDrop:
		if e.early {
			l.unsure(o, e.absent)
			return
		}
		n.lose(o)
		s.drop(&s.unnamed)
		n.together(o)
	case effectDeallocate:
		if e.done {
			n.lose(o)
			if h := n.on(s, o, nil); h != nil {
				s.drop(h)
			}
		}
	}
}

// stands notes that o is on the backend.
func (l *Lease) stands(o *own, is version) {
	h := l.backend.shelf.put(o.name)
	h.is, h.shown = is, shown{}
	l.names.together(o)
}

// erred takes the error of the message itself.
func (l *Lease) erred(e *effect, code string) {
	n, s, o := l.names, &l.backend.shelf, e.own
	switch {
	case e.what == 'P' && o != &n.unnamed:
		n.bytes -= e.size
	case e.what == 'P' && e.early:
		l.unsure(o, e.absent)
	case e.what == 'P': // PostgreSQL drops the old one first
		n.lose(o)
		s.drop(&s.unnamed)
		n.together(o)
	default:
		n.skipped(e)
	}
}

// unsure notes that what stands under the name is what did before, or nothing. absent
// says that the backend has had nothing: it is given it when it is needed.
func (l *Lease) unsure(o *own, absent bool) {
	n := l.names
	if absent {
		o.stay = 0
	}
	if o.is.none() || absent {
		return
	}
	does := o.does
	n.lose(o)
	l.change++
	o.does = does
	o.is, o.unkept = version{session: l.entry.Session, change: l.change}, true
	n.unkept++
	l.stands(o, o.is)
}

// skipped takes a message that PostgreSQL has not run.
func (n *names) skipped(e *effect) {
	if e.what == 'P' {
		n.bytes -= e.size
	}
	if o := e.own; o != nil && o.stay == n.stay && (o.number == e.number || e.what == shownAgain) {
		o.stay = 0
	}
}
