package session

import (
	"maps"
	"slices"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// chooses says that the startup packet sets the parameter.
func (e *Entry) chooses(name string) bool {
	return slices.ContainsFunc(e.settings, func(p wire.Param) bool { return strings.EqualFold(p.Name, name) })
}

// readsAlike says that PostgreSQL reads a statement on b, as it is, in the way in
// which it will when the context was entered: the guard must know that beforehand.
func (l *Lease) readsAlike(b *Backend) bool {
	for _, name := range [...]string{"client_encoding", "standard_conforming_strings"} {
		if b.Params.Value(name) != l.welcome.Value(name) {
			return false
		}
	}
	return true
}

// tell brings what the client knows of the parameters in line with what will be in
// force on its backend once the context is entered. What entering changes the backend
// will report, and the client knows: that is noted, see expected.
func (l *Lease) tell(b *Backend, out *Out) {
	clear(b.moved)
	if b.Params == l.welcome && l.told.none() {
		return
	}
	changed := false
	l.welcome.each(func(name, value string) {
		now, told := b.Params.Value(name), value
		if !l.told.none() {
			told = l.told.Value(name)
		}
		switch {
		case !l.entry.chooses(name):
			changed = changed || now != value
			value = now
		case now != value:
			b.move(name, change{was: value})
			l.turn.expects = true
		}
		if told != value {
			out.toClient(wire.AppendParameterStatus(nil, name, value))
		}
	})
	l.told = Parameters{}
	if changed {
		known := b.Params
		l.welcome.each(func(name, value string) {
			if l.entry.chooses(name) {
				known.set(name, value)
			}
		})
		l.welcome = known
	}
}

// expected says that a ParameterStatus is of what entering has changed to the value
// that the client knows.
func (l *Lease) expected(body []byte) bool {
	name, value, ok := wire.ParameterStatus(body)
	first, is := l.backend.moved[name]
	return ok && is && first.was == value
}

// untold ends the cycle with whose ReadyForQuery PostgreSQL reports what entering has
// changed. What the client has changed back before that it does not report, and the
// client believes otherwise: it is told in front of the message. nil: there is nothing.
func (l *Lease) untold(ready wire.Frame) (instead []byte) {
	l.turn.expects = false
	for _, name := range slices.Sorted(maps.Keys(l.backend.moved)) {
		c := l.backend.moved[name]
		if now := l.backend.Params.Value(name); now != c.was && !c.heard {
			instead = wire.AppendParameterStatus(instead, name, now)
		}
	}
	if instead == nil {
		return nil
	}
	return wire.AppendReadyForQuery(instead, ready.Body[0])
}
