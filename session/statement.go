package session

import (
	"bytes"

	"github.com/tenantgate/tenantgate/wire"
)

// statement judges the text of a Query or Parse. One that fits the buffer is
// awaited whole; a longer one passes while it is judged.
func (l *Lease) statement(m wire.Frame, j *Judge) (step, Effects) {
	if !m.Whole() {
		if m.Size() <= l.terms.StatementBuffer {
			return await, Effects{}
		}
		l.client.long = l.newLong(m)
		return forward, Effects{}
	}
	name, sql, ok := l.text(m)
	if !ok {
		return forward, Effects{} // malformed: PostgreSQL refuses it without running anything
	}
	v := l.judge(sql, j)
	v.Effects.Stirs = v.Effects.Stirs || v.Bound() // no other session may execute it
	if s := l.planSQL(sql, &v); s != forward {
		return s, Effects{}
	}
	if v.Rule != "" && v.Mode == GuardEnforce {
		l.denied(Denial{Rule: v.Rule})
		return refuse, Effects{}
	}
	if !l.follows(m, name, sql, &v) {
		l.denied(Denial{Rule: RuleContextCall})
		return refuse, Effects{}
	}
	l.note(v)
	l.pinned(v.Effects.Pin)
	l.stirs(v.Effects.Stirs)
	l.sets(changes(&v.Effects), v.Effects.Execute)
	if m.Type == 'P' {
		l.parsed(name, v.Effects, runsPrepared(sql), l.next())
		return forward, Effects{}
	}
	if !l.statements.none() && !v.Effects.Any() && runsPrepared(sql) {
		return forward, l.statements.context()
	}
	return forward, v.Effects
}

// runsPrepared says whether a statement string may hold an EXECUTE, which runs
// what was prepared by a Parse too. It is asked of texts whose key words are all
// there; that it is true of some that hold none costs an entering too many.
func runsPrepared(sql []byte) bool {
	const word = "execute"
	for _, x := range [...]byte{'x', 'X'} { // its rarest letter
		for rest := sql; ; {
			i := bytes.IndexByte(rest, x)
			if i < 0 {
				break
			}
			if at := len(sql) - len(rest) + i - 1; at >= 0 && at+len(word) <= len(sql) && bytes.EqualFold(sql[at:at+len(word)], []byte(word)) {
				return true
			}
			rest = rest[i+1:]
		}
	}
	return false
}

func (l *Lease) text(m wire.Frame) (name, sql []byte, ok bool) {
	if m.Type == 'Q' {
		sql, ok = wire.QueryText(m.Body)
		return nil, sql, ok
	}
	return wire.ParseText(m.Body)
}

// judge runs the guard over one whole statement string.
func (l *Lease) judge(sql []byte, j *Judge) Verdict {
	j.Begin(l.guard(), l.conforming(), l.entry.own)
	j.Feed(sql)
	return j.End()
}

// guard is the one for the backend at hand.
func (l *Lease) guard() *Guard {
	if l.backend.whole && l.terms.SealedGuard != nil {
		return l.terms.SealedGuard
	}
	return l.terms.Guard
}

// conforming is standard_conforming_strings as the backend last reported it.
func (l *Lease) conforming() bool { return !l.backend.escapes }

func (l *Lease) note(v Verdict) {
	if v.Rule != "" && l.terms.Noted != nil {
		l.terms.Noted(l.entry, v.Rule)
	}
}

// longStatement is a Query or Parse that is judged while it passes: a Parse has
// the statement's name in front of the text and parameter types behind it.
type longStatement struct {
	typ   byte
	name  []byte // of a Parse
	named bool   // name is complete
	ended bool   // the text is complete
	judge Judge
}

func (l *Lease) newLong(m wire.Frame) *longStatement {
	s := &longStatement{typ: m.Type, named: m.Type == 'Q'}
	s.judge.Begin(l.guard(), l.conforming(), l.entry.own)
	s.feed(m.Body)
	return s
}

// feed takes the next piece of the body.
func (s *longStatement) feed(p []byte) {
	if !s.named {
		i := bytes.IndexByte(p, 0)
		if i < 0 {
			s.name = s.keep(p)
			return
		}
		s.name, s.named = s.keep(p[:i]), true
		p = p[i+1:]
	}
	if s.ended {
		return
	}
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p, s.ended = p[:i], true
	}
	s.judge.Feed(p)
}

// keep appends to the name as long as it is one that can be told from others.
func (s *longStatement) keep(p []byte) []byte {
	if len(s.name)+len(p) > gatherLimit {
		return s.name
	}
	return append(s.name, p...)
}

// judged ends a long statement. Whether it holds an EXECUTE was not looked at, and
// to what is bound to its parameters the client is not held.
func (l *Lease) judged(s *longStatement) error {
	v := s.judge.End()
	if v.Rule != "" && v.Mode == GuardEnforce {
		return &LongStatementError{Rule: v.Rule}
	}
	executes := v.Effects.Execute
	if v.Bound() || executes && l.bindings.holdsNamed() || s.typ == 'P' && !l.bound(s.name, &v, executes, l.owed.number(0)) {
		return &LongStatementError{Rule: RuleContextCall}
	}
	l.note(v)
	l.pinned(v.Effects.Pin)
	l.stirs(v.Effects.Stirs)
	l.sets(changes(&v.Effects), v.Effects.Execute)
	if s.typ == 'P' {
		l.parsed(s.name, v.Effects, true, l.owed.number(0))
		return nil
	}
	if !l.statements.none() && !v.Effects.Any() {
		v.Effects = l.statements.context()
	}
	l.undo(&v.Effects)
	return nil
}
