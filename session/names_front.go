package session

import (
	"github.com/tenantgate/tenantgate/wire"
)

// todo is a message that is sent in front of the client's.
type todo struct {
	what entry // supplied, standIn, cleared or shownAgain
	own  *own  // whose it is; nil: another session's is cleared
	held *held // what is cleared
}

// errLongName ends a session whose names the proxy would have to buffer.
var errLongName = &wire.Violation{Text: "the name of a prepared statement is too long"}

// refer plans what brings client and backend together under a name, o where the client
// has or had something there. With used false the message is a Parse of that name: if the
// client has a statement it must fail, and anything at all on the backend sees to that.
func (l *Lease) refer(o *own, name []byte, used bool) step {
	n, s := l.names, &l.backend.shelf
	switch {
	case o != nil && o.stay == n.stay: // pledged or together
		if o.number == 0 || o.batch == l.batch {
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
	case o == nil || o.is.none(): // PostgreSQL's own error is to come of it
		if there {
			n.todo = append(n.todo, todo{cleared, o, h})
		} else if o != nil {
			n.together(o)
		}
	case there && h.is == o.is && o.shown.fits(h.shown):
		n.together(o)
		o.changed = false
	case !used && o != &n.unnamed: // doubtful is perhaps nothing
		if there && h.is == doubtful {
			n.todo = append(n.todo, todo{what: cleared, held: h})
		}
		if !there || h.is == doubtful {
			n.todo = append(n.todo, todo{what: standIn, own: o})
		}
	case o.unkept, o.does.binds: // it stays where it was, or its text means something else now, or may set anything
		if there {
			n.todo = append(n.todo, todo{cleared, o, h})
		}
		return refuse
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

// on is what the backend has under the name of o, or under name.
func (n *names) on(s *shelf, o *own, name []byte) *held {
	switch {
	case o == &n.unnamed:
		return &s.unnamed
	case o == nil:
		return s.byName[string(name)]
	}
	return s.byName[o.name]
}

// planRoom closes what was used longest ago where the backend would have too many
// statements, in small steps.
func (l *Lease) planRoom() {
	const atOnce = 2
	s := &l.backend.shelf
	over := len(s.byName) + 1 - l.terms.MaxPrepared
	for h := s.oldest; h != nil && over > 0 && h.stay != s.stay && len(l.names.todo) < atOnce; h = h.newer {
		h.is = doubtful
		l.names.todo = append(l.names.todo, todo{cleared, nil, h})
		over--
	}
}

// wait holds the client until the answer of that number is there. With prompt
// PostgreSQL must be told to send it.
func (n *names) wait(number uint64, prompt bool) step {
	n.todo, n.until, n.prompt = n.todo[:0], number, prompt
	return await
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
		quiet := n.fetching && l.owed.betweenBatches()
		n.fetchFrom, n.fetchSync = 0, 0
		if quiet {
			n.fetchFrom = l.owed.pushed + 1
		}
		if err := l.supply(out); err != nil {
			return err
		}
		n.unfetched, n.until = false, l.owed.pushed
		if quiet {
			out.toServer(syncMessage)
			l.owed.sent('S', 0) // the client's own, for which a cancel or a time limit may come
			n.fetchSync, n.until = l.owed.pushed, l.owed.pushed
			return nil
		}
		l.prompts(out)
	case n.prompt:
		l.prompts(out)
	}
	return nil
}

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
			l.stirs(t.own.does.stirs)
			if t.own != &n.unnamed {
				e.is = l.made(t.own.is.parse.Value().body)
			}
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
			n.pledge(o, l.owed.pushed, l.batch)
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
