package session

import (
	"hash/maphash"
	"unicode/utf8"
	"unique"

	"github.com/tenantgate/tenantgate/wire"
)

// effect is what becomes of statements when a message is answered. Of one that is
// skipped, nothing does.
type effect struct {
	number   uint64 // of the message among the answers owed
	what     entry  // 'P', 'C' or 'D' of the client's, supplied, cleared, shownAgain, or one of the below
	own      *own   // may be nil for a Close
	held     *held  // what a Close closes on the backend
	is       version
	unkept   bool
	size     int // of a Parse, counted already
	from, to int // of one that makes the unnamed statement, where it is kept
	does     deeds
	maybe    bool // it may fail before it has any effect
	early    bool // … and has perhaps done so
	absent   bool // the backend had nothing of the client's under the name before
	done     bool // of effectDeallocate: it was run
	portal   bool // of 'D': a portal is described
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
		l.recordDrop(effect{what: effectDrop, maybe: n.maybe && !refused})
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
	if o.turn == n.turn && o.number == 0 {
		o.owed++
	} else {
		e.absent = o.turn != n.turn
		h.is = doubtful
		n.pledge(o, e.number, l.bindings.batch)
	}
	n.pending = append(n.pending, e)
}

// keepUnnamed keeps the Parse of an unnamed statement.
func (l *Lease) keepUnnamed(m wire.Frame, v deeds) effect {
	n := l.names
	n.change++
	e := effect{what: 'P', is: version{session: l.entry.Session, change: n.change}, does: v, maybe: n.maybe}
	if e.unkept = !m.Whole() || l.backend.otherwise() || len(m.Body) > maxKept-n.bytes; !e.unkept {
		n.compact()
		if e.unkept = len(n.kept)+len(m.Body) > maxKept; !e.unkept {
			e.from = len(n.kept)
			n.kept = append(n.kept, m.Body...)
			e.to = len(n.kept)
		}
	}
	return e
}

// compact drops what is not needed any more of what is kept.
func (n *names) compact() {
	const large = 16 << 10
	from := n.from
	if n.unnamed.is.none() || n.unnamed.unkept {
		from, n.from, n.to = len(n.kept), 0, 0
		for i := n.head; i < len(n.pending); i++ {
			if e := &n.pending[i]; e.to > 0 {
				from = e.from
				break
			}
		}
		n.from, n.to = from, from
	}
	if from == 0 {
		return
	}
	rest := copy(n.kept, n.kept[from:])
	if n.kept = n.kept[:rest]; cap(n.kept) > large && rest < cap(n.kept)/4 {
		n.kept = append([]byte(nil), n.kept...)
	}
	n.from, n.to = n.from-from, n.to-from
	for i := n.head; i < len(n.pending); i++ {
		if e := &n.pending[i]; e.to > 0 {
			e.from, e.to = e.from-from, e.to-from
		}
	}
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
		o = &own{name: string(n.name), turn: n.turn, batch: l.bindings.batch}
		if n.all == nil {
			n.all = map[string]*own{}
		}
		n.all[o.name] = o
		n.at = o
		l.claim(o)
	}
	e := effect{number: l.owed.pushed, what: 'P', own: o, does: v}
	size := len(m.Body) + ownOverhead
	if e.unkept = !m.Whole() || l.backend.otherwise() || size > maxKept-n.bytes; e.unkept {
		n.change++
		e.is = version{session: l.entry.Session, change: n.change}
	} else {
		e.is, e.size = version{parse: unique.Make(string(m.Body))}, size
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
	case o.turn == n.turn && o.number == 0:
		o.owed++
	default:
		if h != nil && !h.is.none() {
			h.is, h.turn = doubtful, l.backend.shelf.turn
		}
		n.pledge(o, e.number, l.bindings.batch)
	}
	n.pending = append(n.pending, e)
}

// otherwise says that the backend may read a text in another way than those on which
// the session's own settings are in force.
func (b *Backend) otherwise() bool {
	if len(b.moved) == 0 {
		return false
	}
	_, encoding := b.moved["client_encoding"]
	_, strings := b.moved["standard_conforming_strings"]
	return encoding || strings
}

// ascii says that a text means the same in all encodings.
func ascii(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unreadable says whether the text of a message fails as the message is read, which
// is before it has any effect, because it is not valid in its encoding; or whether
// it may.
func (b *Backend) unreadable(text []byte) (certain, maybe bool) {
	switch {
	case ascii(text):
		return false, false
	case b.Params.Value("client_encoding") == "UTF8" && b.Params.Value("server_encoding") == "UTF8":
		return !utf8.Valid(text), false
	}
	return false, true
}

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
	n.tripped = n.tripped || m.Type == 'E' && owner.ofNames()
	switch m.Type {
	case 't':
		n.params = 0
		if m.Whole() {
			n.params = maphash.Bytes(shownSeed, m.Body) | 1
		}
	case 'E': // of a Query, behind which its ReadyForQuery comes
		for i := n.head; i < len(n.pending) && n.pending[i].number == l.owed.erred; i++ {
			n.pending[i].early = n.pending[i].maybe && unread(code)
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
	}
}

// awaitsTag says that a CommandComplete may be about prepared statements.
func (n *names) awaitsTag(a *answers) bool { return n != nil && n.barrier > a.through() }

// synced says that the ReadyForQuery which was just taken is not the client's.
func (n *names) synced(a *answers) bool { return n != nil && n.sync == a.through() && n.sync > 0 }

// reads says that a description is looked at.
func (n *names) reads(a *answers) bool {
	if n == nil || n.head == len(n.pending) {
		return false
	}
	e := &n.pending[n.head]
	return e.number == a.through()+1 && (e.what == 'D' || e.what == shownAgain)
}

// unread says that a message may have failed as it was read.
func unread(code string) bool { return code == "22021" || code == "22P05" }

// tidy forgets a name that the client has nothing under.
func (n *names) tidy(o *own) {
	if o != nil && o != &n.unnamed && o.owed == 0 && o.is.none() && n.all[o.name] == o {
		delete(n.all, o.name)
	}
}

// lose notes that the client has nothing under the name any more.
func (n *names) lose(o *own) {
	n.bytes -= o.size
	if o.unkept {
		n.unkept--
	}
	if o == &n.unnamed {
		n.from, n.to = 0, 0
	}
	o.is, o.size, o.unkept, o.shown, o.changed, o.does = version{}, 0, false, shown{}, false, deeds{}
}

// together notes that client and backend have the same under the name from now on.
func (n *names) together(o *own) { o.turn, o.number = n.turn, 0 }

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
	o.on = h
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
		o.turn = 0
	}
	if o.is.none() || absent {
		return
	}
	does := o.does
	n.lose(o)
	n.change++
	o.does = does
	o.is, o.unkept = version{session: l.entry.Session, change: n.change}, true
	n.unkept++
	l.stands(o, o.is)
}

// skipped takes a message that PostgreSQL has not run.
func (n *names) skipped(e *effect) {
	if e.what == 'P' {
		n.bytes -= e.size
	}
	if o := e.own; o != nil && o.turn == n.turn && (o.number == e.number || e.what == shownAgain) {
		o.turn = 0
	}
}
