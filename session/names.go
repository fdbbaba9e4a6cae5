package session

import (
	"bytes"
	"errors"

	"github.com/tenantgate/tenantgate/wire"
)

// names lets the prepared statements of a client in transaction mode follow it from
// backend to backend, under the names that it gave them. In front of the first message
// of a turn that needs one, what the backend has under its name is made what the
// client has: by its Parse again, or a Close of another one's. From then on both go
// together, whatever fails or is skipped, and nothing is sent for that name any more.
//
// What PostgreSQL makes of a message is known when it is answered, see resolve. What
// depends on an answer that is still owed waits for it, unless an error that changes
// it would also skip the message.
type names struct {
	all     map[string]*own
	unnamed own
	pending []effect // of messages that are not answered, from head on, in order
	head    int
	turn    uint64 // counts the backends that the lease has had
	until   uint64 // the number of the answer that the client's next message waits for

	kept     []byte // the body of the unnamed statement's Parse, and of those in pending
	from, to int    // where in it that of the client's is

	bytes     int    // that are kept of statements with names
	unkept    int    // statements that the client has and whose Parse is not kept
	untracked bool   // there may be more than all holds
	change    uint64 // counts the versions of the session's own

	// Of SQL that is about prepared statements.
	barrier uint64 // the last message that may run some
	marked  uint64 // the turn in which some was prepared or bound
	chain   chain

	// What is sent in front of the message at hand, and what becomes of it.
	todo    []todo
	at      *own // the statement that it is about
	name    []byte
	shows   bool   // it describes a portal
	inert   bool   // it has no effect: it is skipped, or fails too early
	maybe   bool   // it may fail before it has any effect
	strange bool   // it makes a statement that cannot be followed
	will    deeds  // what the statement does that it prepares
	about   bool   // it is SQL about prepared statements
	drops   *own   // … which deallocates this one
	prompt  bool   // it waits for an answer that PostgreSQL keeps until it is told to send it
	aside   bool   // it waits for what is sent in front of it, whose errors are not its own
	given   bool   // it has done so
	sync    uint64 // the Sync behind that
	tripped bool   // … and PostgreSQL skips it because of such an error
	fault   error  // ends the session

	params  uint64 // of the description that is being read
	portal  *own   // what the unnamed portal was bound from
	portals map[string]*own
}

// own is a statement of the client's.
type own struct {
	name   string
	is     version // none: the client has no such statement
	shown  shown   // how it was described to the client
	unkept bool    // its Parse is not kept: the client keeps its backend
	size   int     // what is counted for it
	does   deeds
	owed   int   // messages about it that are not answered
	on     *held // where it was found last

	// In the turn of that number the backend has what the client has: as soon as
	// the message of that number is answered, or at once where it is 0 or for what is
	// sent in the same batch as that one.
	turn, number, batch uint64
	changed             bool // its description is not any more the one that the client has seen
}

// deeds are what a statement does that matters whenever it is executed.
type deeds struct {
	pin   Pin
	stirs bool
	sets  settingSet
	runs  bool // other prepared statements, by SQL
}

// maxKept bounds, in bytes, what is kept for one client of its Parses, and
// ownOverhead is added for each. A client with more keeps its backend.
const (
	maxKept     = 512 << 10
	ownOverhead = 256
	maxOwn      = maxKept / ownOverhead
)

var (
	errLost     = errors.New("a prepared statement is not where it was left")
	errLongName = &wire.Violation{Text: "the name of a prepared statement is too long"}
)

// todo is a message that is sent in front of the client's.
type todo struct {
	what entry // supplied, standIn, cleared or shownAgain
	own  *own
	held *held
}

// through is the number of the last message that was answered.
func (a *answers) through() uint64 { return a.pushed - uint64(a.n) }

// betweenBatches says that PostgreSQL does not skip what is sent now, whatever
// becomes of what it has, and that a Sync ends nothing.
func (a *answers) betweenBatches() bool {
	if a.unsynced || a.skipping || a.copying || a.adrift {
		return false
	}
	for i := a.n - 1; i >= 0; i-- {
		switch e := a.at(i); {
		case e.kind() == 'S':
			return true
		case !e.endsCycle():
			return e.is(ahead) // an error in which ends the session
		}
	}
	return true
}

// asks says that something was sent in front of the client's next message, which
// belongs to the same backend.
func (n *names) asks() bool { return n != nil && n.aside }

// fed says that a COPY FROM STDIN takes what is sent now for its data.
func (a *answers) fed() bool { return a.copying && a.wantsData() && !a.queued(copyEnd) }

// begins is called when the lease takes a backend.
func (n *names) begins(s *shelf) {
	s.begin()
	n.turn++
	n.until, n.barrier, n.marked, n.chain = 0, 0, 0, chain{}
	n.portal = nil
	clear(n.portals)
}

// pins says that the client has statements that cannot follow it.
func (n *names) pins() bool { return n != nil && (n.unkept > 0 || n.untracked) }

// holds says that the client's next message waits for an answer.
func (n *names) holds(a *answers) bool {
	return n != nil && n.until > a.through() && !a.fed()
}

// plan decides what is sent in front of a message of the client's. await means that
// more of it is needed, or that the lease is Holding now; ask that the answer to what
// is sent is wanted before the message passes.
func (l *Lease) plan(m wire.Frame) step {
	n := l.names
	n.todo, n.at, n.name, n.drops = n.todo[:0], nil, nil, nil
	n.inert, n.maybe, n.strange, n.about, n.prompt, n.shows = false, false, false, false, false, false
	n.given, n.aside = n.aside, false
	if n.given && n.tripped && l.owed.skipping && m.Type == 'Q' {
		return resync
	}
	if l.owed.skipping || l.owed.fed() {
		n.inert = true // it is skipped, or ends the connection
		return forward
	}
	switch m.Type {
	case 'B':
		_, name, ok := wire.BindNames(m.Body)
		if !ok {
			return n.incomplete(m)
		}
		return l.planUse(m, name)
	case 'P':
		return l.planParse(m)
	case 'Q', 'F':
		n.at = &n.unnamed
		return l.planDrop(m, m.Body)
	case 'C', 'D':
		if !m.Whole() {
			return await // at most 10,000 bytes
		}
		kind, name, ok := wire.CloseOrDescribe(m.Body)
		if ok && kind == 'P' {
			n.planPortal(m.Type, name)
		}
		if !ok || kind != 'S' {
			n.inert = !n.shows
			return forward
		}
		if m.Type == 'D' {
			return l.planUse(m, name)
		}
		n.inert = !n.find(name)
	}
	return forward
}

// incomplete is about a message whose names are not all there.
func (n *names) incomplete(m wire.Frame) step {
	switch {
	case m.Whole():
		n.inert = true // malformed: PostgreSQL refuses it
		return forward
	case len(m.Body) >= gatherLimit:
		n.fault = errLongName
	}
	return await
}

// find looks a statement up by its name; false for one that is not followed.
func (n *names) find(name []byte) bool {
	if len(name) == 0 {
		n.at = &n.unnamed
		return true
	}
	k, ok := key(name)
	if ok {
		n.name, n.at = k, n.all[string(k)]
	}
	return ok
}

// planUse is for a Bind or Describe of a statement.
func (l *Lease) planUse(m wire.Frame, name []byte) step {
	n := l.names
	if !n.find(name) {
		n.inert = true // whoever has one keeps its backend, which is reset behind it
		return forward
	}
	s := l.refer(n.at, n.name, true)
	o := n.at
	switch {
	case s != forward || o == nil:
		return s
	case o.changed && o.turn == n.turn:
		l.denied(Denial{Changed: true})
		return refuse
	case m.Type == 'B' && o.does.runs:
		if !n.given && l.planAll(nil) == await {
			return await
		}
		return l.planAside()
	}
	return forward
}

// planParse is for a Parse: the client may have a statement of its name already.
func (l *Lease) planParse(m wire.Frame) step {
	n := l.names
	i := bytes.IndexByte(m.Body, 0)
	switch {
	case !m.Whole() && m.Size() <= l.terms.StatementBuffer:
		return await
	case i < 0:
		return n.incomplete(m)
	case m.Whole():
		if _, _, ok := wire.ParseText(m.Body); !ok {
			n.inert = true
			return forward
		}
	}
	if i == 0 {
		n.at = &n.unnamed
		return l.planDrop(m, m.Body[1:])
	}
	if n.strange = !n.find(m.Body[:i]); n.strange {
		return l.planLong(m)
	}
	if l.refer(n.at, n.name, false) == await {
		return await
	}
	if n.at == nil || n.at.is.none() {
		l.planRoom()
	}
	return l.planLong(m)
}

// planDrop is for what takes the place of the unnamed statement, or drops it: nothing
// needs to be sent in front, unless it may fail before it does so.
func (l *Lease) planDrop(m wire.Frame, body []byte) step {
	n := l.names
	if !m.Whole() && m.Type != 'F' && m.Size() <= l.terms.StatementBuffer {
		return await
	}
	if n.unnamed.is.none() && n.unnamed.owed == 0 && l.unnamedThere() == nil {
		return l.planLong(m)
	}
	switch {
	case m.Type == 'F': // a Query is sent in its place
	case m.Whole():
		text, _, ok := wire.CString(body)
		if n.inert = !ok || m.Type == 'Q' && len(text)+1 != len(body); !n.inert {
			n.inert, n.maybe = l.backend.unreadable(text)
		}
	default:
		n.maybe = true
	}
	if n.maybe && !n.given && l.refer(n.at, nil, true) == await {
		return await
	}
	return l.planLong(m)
}

// planAside has the client's message wait for what is sent in front of it when that
// prepares something that the message itself may do without: its error is not its own.
func (l *Lease) planAside() step {
	if l.names.given {
		return forward // what is left to be sent is the message's own
	}
	for _, t := range l.names.todo {
		if t.what == supplied {
			l.names.aside = true
			return ask
		}
	}
	return forward
}

// planLong is for a statement that passes before its end is read: whatever it
// executes must be there.
func (l *Lease) planLong(m wire.Frame) step {
	n := l.names
	if !m.Whole() && m.Type != 'F' {
		n.about = true
		if !n.given && l.planAll(nil) == await {
			return await
		}
	}
	return l.planAside()
}

// refer plans what makes the backend have what the client has under a name; with used
// false, anything at all if the client has something: its Parse is to fail of it.
func (l *Lease) refer(o *own, name []byte, used bool) step {
	n, s := l.names, &l.backend.shelf
	switch {
	case o != nil && o.turn == n.turn:
		if o.number == 0 || o.batch == l.bindings.batch {
			return forward
		}
		if o.number > l.owed.through() {
			return n.wait(o.number, false)
		}
	case n.barrier > l.owed.through():
		return n.wait(n.barrier, l.owed.unsynced)
	}
	h := n.on(s, o, name)
	if o == &n.unnamed {
		h = l.unnamedThere()
	}
	there := h != nil && !h.is.none()
	if there {
		s.touch(h) // what is sent about it now must not be followed by a Close to make room
	}
	switch {
	case o == nil || o.is.none():
		if there {
			n.todo = append(n.todo, todo{cleared, o, h})
		} else if o != nil {
			o.turn, o.number = n.turn, 0
		}
	case there && h.is == o.is && o.shown.fits(h.shown):
		o.on, o.turn, o.number, o.changed = h, n.turn, 0, false
	case !used && o != &n.unnamed:
		if there && h.is == doubtful {
			n.todo = append(n.todo, todo{what: cleared, held: h})
		}
		if !there || h.is == doubtful {
			n.todo = append(n.todo, todo{what: standIn, own: o})
		}
	case o.unkept:
		n.fault = errLost
		return await
	default:
		if there {
			n.todo = append(n.todo, todo{cleared, o, h})
		} else if o != &n.unnamed {
			l.planRoom()
		}
		n.todo = append(n.todo, todo{supplied, o, nil})
		if o.shown.any() {
			n.todo = append(n.todo, todo{shownAgain, o, nil})
			return ask
		}
	}
	return forward
}

// unnamedThere is the backend's unnamed statement when the message at hand arrives
// there; nil: there is none.
func (l *Lease) unnamedThere() *held {
	if h := &l.backend.shelf.unnamed; !h.is.none() && l.turn.ahead != aheadDue {
		return h
	}
	return nil // entering leaves none
}

// awaits is called when the message at hand does not pass yet.
func (l *Lease) awaits(s step, out *Out) error {
	n := l.names
	switch {
	case n.fault != nil:
		return n.fault
	case s == ask:
		if l.turn.ahead == aheadDue {
			if err := l.enterAhead(out); err != nil {
				return err
			}
		}
		quiet := n.aside && l.owed.betweenBatches()
		if err := l.supply(out); err != nil {
			return err
		}
		n.tripped, n.until = false, l.owed.pushed
		if quiet {
			out.toServer(syncMessage)
			l.owed.sent('S', injected)
			n.sync = l.owed.pushed
			return nil
		}
		l.prompts(out)
	case n.prompt:
		l.prompts(out)
	}
	return nil
}

// wait holds the client until the answer of that number is there. With prompt
// PostgreSQL must be told to send it.
func (n *names) wait(number uint64, prompt bool) step {
	n.todo, n.until, n.prompt = n.todo[:0], number, prompt
	return await
}

// on is what the backend has under the name of o, or under name.
func (n *names) on(s *shelf, o *own, name []byte) *held {
	switch {
	case o == &n.unnamed:
		return &s.unnamed
	case o == nil:
		return s.byName[string(name)]
	case o.on != nil && o.on.shelf == s:
		return o.on
	}
	return s.byName[o.name]
}

// planRoom sees to it that the backend's statements do not become too many.
func (l *Lease) planRoom() {
	const atOnce = 2
	s := &l.backend.shelf
	over := len(s.byName) + 1 - l.terms.MaxPrepared
	for h := s.oldest; h != nil && over > 0 && h.turn != s.turn && len(l.names.todo) < atOnce; h = h.newer {
		h.is = doubtful
		l.names.todo = append(l.names.todo, todo{cleared, nil, h})
		over--
	}
}

// supply sends what was planned.
func (l *Lease) supply(out *Out) (err error) {
	n := l.names
	for _, t := range n.todo {
		var msg []byte
		l.owed.push(t.what)
		l.owed.unsynced = true
		e := effect{number: l.owed.pushed, what: t.what, own: t.own, held: t.held}
		switch t.what {
		case supplied:
			msg, e.is = n.again(t.own), t.own.is
		case standIn:
			e.own, e.held, t.own = nil, l.backend.shelf.put(t.own.name), nil
			e.held.is = doubtful
			msg, err = wire.AppendParse(nil, e.held.name, "rollback")
		case cleared:
			t.held.is = doubtful
			msg, err = wire.AppendClose(nil, 'S', t.held.name)
		case shownAgain:
			msg, err = wire.AppendDescribe(nil, 'S', t.own.name)
		}
		if err != nil {
			return err
		}
		out.toServer(msg)
		if o := t.own; o != nil {
			n.pledge(o, l.owed.pushed, l.bindings.batch)
			o.changed = false
		}
		n.pending = append(n.pending, e)
	}
	n.todo = n.todo[:0]
	return nil
}

// syncMessage is a Sync.
var syncMessage = wire.AppendSync(nil)

// prompts has PostgreSQL send the answers that it has.
func (l *Lease) prompts(out *Out) {
	out.toServer(flush)
	l.owed.sent('H', injected)
}

// pledge notes that the backend will have what the client has as soon as the message
// of that number is answered; one more about o is owed.
func (n *names) pledge(o *own, number, batch uint64) {
	o.turn, o.number, o.batch = n.turn, number, batch
	o.owed++
}

// again is the Parse of a statement.
func (n *names) again(o *own) []byte {
	if o == &n.unnamed {
		body := n.kept[n.from:n.to]
		return append(appendHeader(make([]byte, 0, wire.HeaderSize+len(body)), 'P', len(body)), body...)
	}
	body := o.is.parse.Value()
	return append(appendHeader(make([]byte, 0, wire.HeaderSize+len(body)), 'P', len(body)), body...)
}

// appendHeader begins a message with a body of that size.
func appendHeader(dst []byte, typ byte, size int) []byte {
	n := uint32(size) + 4
	return append(dst, typ, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// next is the number among the answers owed of a message that is about to pass.
func (l *Lease) next() uint64 {
	if l.names == nil {
		return l.owed.number(1)
	}
	return l.owed.number(1 + uint64(len(l.names.todo)))
}
