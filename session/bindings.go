package session

import (
	"slices"

	"github.com/tenantgate/tenantgate/wire"
)

// bindings knows the client's prepared statements in which a parameter takes the
// value of a setting of the context: every Bind of one must give it the session's
// own. Nearly always there are none.
//
// Whether PostgreSQL takes a Parse is not known when it is sent: it may fail, or be
// skipped behind an error, and then the name stands for what it was before: even
// the empty one, for what fails before exec_parse_message drops the unnamed statement
// (a text that is not valid in its encoding, a cancel) leaves it there. Within the
// batch of the Parse that makes no difference, for a Bind there is skipped too. Behind
// it, a Bind must satisfy whatever the name may stand for, until the ParseComplete of
// its last Parse says what that is.
type bindings struct {
	statements map[string]*boundStatement
	// SQL's EXECUTE gives a prepared statement values that no Bind shows, the
	// unnamed one excepted. So there is either a statement with a name here, or one
	// that may hold an EXECUTE was prepared, never both.
	named, executes bool
}

// boundStatement is what a name may stand for.
type boundStatement struct {
	latest []Binding // of the last Parse
	older  []Binding // of those before that may still be in force
	batch  uint64    // of the last Parse
	parse  uint64    // number of the last Parse among the answers owed; 0: it is skipped
	closes uint64    // the same of the last Close
}

// maxOlder bounds what one client can make the proxy remember of a name.
const maxOlder = 16

// any says that there are such statements.
func (b *bindings) any() bool { return b != nil && len(b.statements) > 0 }

// holdsNamed says that there is, or was, one with a name.
func (b *bindings) holdsNamed() bool { return b != nil && b.named }

// bound notes the Parse of that number, and reports whether the statement can be
// followed: else it must be refused.
func (l *Lease) bound(name []byte, v *Verdict, executes bool, number uint64) bool {
	if l.bindings == nil {
		if !v.Bound() && !executes {
			return true
		}
		l.bindings = &bindings{}
	}
	return l.bindings.parsed(name, v, executes, l.batch, number)
}

// parsed is bound for a Parse of that batch.
func (b *bindings) parsed(name []byte, v *Verdict, executes bool, batch, number uint64) bool {
	if executes {
		if b.named {
			return false
		}
		b.executes = true
	}
	if len(b.statements) == 0 && !v.Bound() {
		return true
	}
	k, ok := key(name)
	if !ok {
		return !v.Bound() // such a name is not among the followed ones
	}
	s := b.statements[string(k)]
	switch {
	case s == nil && !v.Bound():
		return true
	case s == nil && len(b.statements) == maxResetters, len(k) > 0 && v.Bound() && b.executes:
		return false
	case s == nil:
		s = &boundStatement{}
		if b.statements == nil {
			b.statements = map[string]*boundStatement{}
		}
		b.statements[string(k)] = s
	default:
		for _, o := range s.latest {
			if !slices.Contains(s.older, o) {
				s.older = append(s.older, o)
			}
		}
	}
	if len(s.older) > maxOlder {
		return false
	}
	s.latest, s.batch, s.parse = v.bindings(), batch, number
	b.named = b.named || len(k) > 0 && v.Bound()
	if len(s.latest)+len(s.older) == 0 {
		delete(b.statements, string(k))
	}
	return true
}

// bindings returns the ones that there are.
func (v *Verdict) bindings() []Binding {
	n := 0
	for n < len(v.Bindings) && v.Bindings[n].Param != 0 {
		n++
	}
	return slices.Clone(v.Bindings[:n])
}

// closed notes the Close of that number.
func (b *bindings) closed(body []byte, number uint64) {
	kind, name, ok := wire.CloseOrDescribe(body)
	if !ok || kind != 'S' {
		return
	}
	if k, ok := key(name); ok && b.statements[string(k)] != nil {
		b.statements[string(k)].closes = number
	}
}

// answered notes the ParseComplete ('1') or CloseComplete ('3') of the message of
// that number: what its name stood for before is gone.
func (b *bindings) answered(typ byte, number uint64) {
	if !b.any() {
		return
	}
	for k, s := range b.statements {
		switch {
		case typ == '1' && s.parse == number:
			s.older = nil
			if len(s.latest) == 0 {
				delete(b.statements, k)
			}
		case typ == '3' && s.closes == number && s.parse < number:
			delete(b.statements, k)
		}
	}
}

// demands returns what a Bind of the statement in that batch must satisfy.
func (b *bindings) demands(statement []byte, batch uint64) []Binding {
	k, ok := key(statement)
	if !ok {
		return nil
	}
	s := b.statements[string(k)]
	switch {
	case s == nil:
		return nil
	case s.batch == batch:
		return s.latest
	}
	return slices.Concat(s.latest, s.older)
}

// textTypes are the types of which a value is set as it is bound, by their OIDs:
// text, varchar, unknown, and none given, when set_config makes it text. Text and
// binary format are the same for them.
var textTypes = []uint32{0, 25, 1043, 705}

// follows reports whether the proxy can hold the client to what the statement
// passes for: the verdict of a whole Query or Parse.
func (l *Lease) follows(m wire.Frame, name, sql []byte, v *Verdict) bool {
	if !v.Bound() && !v.Effects.Execute && !l.bindings.any() {
		return true
	}
	executes := v.Effects.Execute && runsPrepared(sql)
	if m.Type == 'Q' {
		return !v.Bound() && !(executes && l.bindings.holdsNamed())
	}
	for _, b := range v.bindings() {
		if !slices.Contains(textTypes, wire.ParseType(m.Body, int(b.Param))) {
			return false
		}
	}
	return l.bound(name, v, executes, l.next())
}

// bindValues judges what a Bind gives to the settings of the context.
func (l *Lease) bindValues(m wire.Frame) step {
	if !l.bindings.any() {
		return forward
	}
	_, statement, ok := wire.BindNames(m.Body)
	switch {
	case !ok && m.Whole():
		return forward // malformed: PostgreSQL refuses it
	case !ok && len(m.Body) < gatherLimit:
		return await
	}
	demands := l.bindings.demands(statement, l.batch)
	switch {
	case ok && len(demands) == 0:
		return forward
	case ok && !m.Whole() && m.Size() <= l.terms.StatementBuffer:
		return await
	case ok && m.Whole() && l.satisfied(m.Body, demands):
		return forward
	}
	l.denied(Denial{Rule: RuleContextCall})
	return refuse
}

// satisfied reports whether the body of a Bind gives each parameter its value.
func (l *Lease) satisfied(body []byte, demands []Binding) bool {
	values, ok := wire.BindValues(body, nil)
	if !ok {
		return false
	}
	for _, d := range demands {
		if n := int(d.Param); n > len(values) || values[n-1] == nil || !isOwnValue(l.entry.own, l.terms.Guard.reserved[d.Setting], values[n-1]) {
			return false
		}
	}
	return true
}
