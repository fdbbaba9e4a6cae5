package session

import (
	"maps"
	"slices"
	"strings"
	"unique"

	"github.com/tenantgate/tenantgate/wire"
)

// reports are parameters with their values, as ParameterStatus messages tell them.
// Those of many clients are the same, and are kept once. The zero reports are none.
type reports struct{ all unique.Handle[string] }

// newReports keeps what is in force.
func newReports(params map[string]string) reports {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		b.WriteString(name + "\x00" + params[name] + "\x00")
	}
	return reports{unique.Make(b.String())}
}

func (r reports) none() bool { return r == reports{} }

// each calls f with all of them.
func (r reports) each(f func(name, value string)) {
	if r.none() {
		return
	}
	for rest := r.all.Value(); rest != ""; {
		var name, value string
		name, rest, _ = strings.Cut(rest, "\x00")
		value, rest, _ = strings.Cut(rest, "\x00")
		f(name, value)
	}
}

// value is that of one parameter.
func (r reports) value(name string) (value string) {
	r.each(func(n, v string) {
		if n == name {
			value = v
		}
	})
	return value
}

// chooses says that the startup packet sets the parameter.
func (e *Entry) chooses(name string) bool {
	return slices.ContainsFunc(e.settings, func(p wire.Param) bool { return strings.EqualFold(p.Name, name) })
}

// readsAlike says that PostgreSQL reads a statement on b, as it is, in the way in
// which it will when the context was entered: the guard must know that beforehand.
func (l *Lease) readsAlike(b *Backend) bool {
	for _, name := range [...]string{"client_encoding", "standard_conforming_strings"} {
		if b.Params[name] != l.turn.welcome.value(name) {
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
	changed := false
	l.turn.welcome.each(func(name, value string) {
		now, told := b.Params[name], value
		if !l.turn.told.none() {
			told = l.turn.told.value(name)
		}
		switch {
		case !l.entry.chooses(name):
			changed = changed || now != value
			value = now
		case now != value:
			if b.moved == nil {
				b.moved = map[string]string{}
			}
			b.moved[name] = value
			l.turn.expects = true
		}
		if told != value {
			out.toClient(wire.AppendParameterStatus(nil, name, value))
		}
	})
	l.turn.told = reports{}
	if changed {
		known := map[string]string{}
		l.turn.welcome.each(func(name, value string) {
			if known[name] = value; !l.entry.chooses(name) {
				known[name] = b.Params[name]
			}
		})
		l.turn.welcome = newReports(known)
	}
}

// expected says that a ParameterStatus is of what entering has changed to the value
// that the client knows.
func (l *Lease) expected(body []byte) bool {
	name, value, ok := wire.ParameterStatus(body)
	first, is := l.backend.moved[name]
	return ok && is && first == value
}
