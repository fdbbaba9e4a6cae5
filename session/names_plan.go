package session

import (
	"bytes"

	"github.com/tenantgate/tenantgate/wire"
)

// maxPending bounds the messages about prepared statements that are not answered: each is
// looked at when others are.
const maxPending = 512

// plan looks at a message of the client's before anything else does, and decides what
// is sent in front of it: todo. await means that more of the message is needed, or that
// it waits for an answer, until; ask that todo is sent now and answered before the message
// is looked at again; refuse that PostgreSQL would fail it. What it finds out is for record,
// once the message has passed.
func (l *Lease) plan(m wire.Frame) step {
	n := l.names
	n.todo, n.at, n.name, n.drops = n.todo[:0], nil, nil, nil
	n.inert, n.unsettled, n.strange, n.about, n.prompt, n.shows = false, false, false, false, false, false
	n.fetched, n.fetching = n.fetching, false
	if n.fetched && n.unfetched && l.owed.skipping && m.Type == 'Q' {
		return resync
	}
	if l.owed.skipping || l.owed.fed() {
		n.inert = true // it is skipped, or belongs to the COPY
		return forward
	}
	if len(n.pending)-n.head >= maxPending {
		return n.wait(n.pending[len(n.pending)-maxPending/2].number, l.owed.unsynced)
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
	case s == refuse || o != nil && o.changed && o.stay == n.stay:
		l.denied(Denial{Changed: true})
		return refuse
	case s != forward || o == nil:
		return s
	case m.Type == 'B' && o.does.runs && !n.parsing(o):
		if !n.fetched && l.planNamed(n.body(o)) == await {
			return await
		}
		return l.planFetch()
	}
	return forward
}

// parsing says that o is what a Parse of the client's makes of it that is not answered:
// what that one needs was planned for.
func (n *names) parsing(o *own) bool {
	for i := len(n.pending) - 1; i >= n.head; i-- {
		if e := &n.pending[i]; e.own == o && e.number == o.number {
			return e.what == 'P'
		}
	}
	return false
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
			n.inert, n.unsettled = l.backend.unreadable(text)
			if n.inert && l.owed.n > int(l.owed.before) { // what runs may change the encoding
				n.inert, n.unsettled = false, true
			}
		}
	default:
		n.unsettled = true
	}
	if n.unsettled && !n.fetched && l.refer(n.at, nil, true) == await {
		return await
	}
	return l.planLong(m)
}

// planFetch has the client's message wait for what is sent in front of it when that
// prepares a statement which the message may do without: see fetching.
func (l *Lease) planFetch() step {
	if l.names.fetched {
		return forward // it is there, or cannot be had
	}
	for _, t := range l.names.todo {
		if t.what != supplied {
			continue
		}
		if last := l.owed.lastRunning(); last > 0 && l.owed.betweenBatches() {
			return l.names.wait(last, false) // what runs would pass for the proxy's own
		}
		l.names.fetching = true
		return ask
	}
	return forward
}

// planLong is for a statement that passes before its end is read: what it executes is
// the client's own, if it is there.
func (l *Lease) planLong(m wire.Frame) step {
	n := l.names
	if !m.Whole() && m.Type != 'F' {
		n.about = true
		if !n.fetched && l.planNamed(nil) == await {
			return await
		}
	}
	return l.planFetch()
}

// fetches says that something was sent in front of the client's next message, which
// belongs to the same backend.
func (n *names) fetches() bool { return n != nil && n.fetching }

// holds says that the client's next message waits for an answer.
func (n *names) holds(a *answers) bool {
	return n != nil && n.until > a.through() && !a.fed()
}

// next is the number among the answers owed of a message that is about to pass.
func (l *Lease) next() uint64 {
	if l.names == nil {
		return l.owed.number(1)
	}
	return l.owed.number(1 + uint64(len(l.names.todo)))
}
