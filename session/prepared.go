package session

import (
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// resetters knows the client's prepared statements and portals that undo part
// of the context when they are executed: a prepared RESET ALL, for instance.
// Nearly always there are none.
//
// Whether PostgreSQL takes a Parse or Bind is not known when it is sent: it may
// fail, or be skipped behind an error, and then the name stands for what it was
// before. So a name that was a resetter stays one until the ParseComplete of its last
// Parse; as long as it is only possible the context alone is entered again, because
// the client may have changed its other settings on purpose.
type resetters struct {
	statements map[string]resetter
	portals    map[string]Effects
	overflow   bool   // too many or too odd to follow: every Execute counts
	tenant     string // the context's first setting
}

// context are the effects of what may undo the context.
func (r *resetters) context() Effects {
	var f Effects
	f.add([]byte(strings.ToLower(r.tenant)))
	return f
}

// resetter is what a prepared statement undoes.
type resetter struct {
	latest Effects // of the last Parse
	older  bool    // the name may still stand for a resetter of before
	batch  uint64  // of the last Parse: a Bind there is skipped when that fails
	parse  uint64  // number of the last Parse among the answers owed; 0: it is skipped
}

// maxResetters bounds what one client can make the proxy remember.
const maxResetters = 64

func (r *resetters) none() bool {
	return r == nil || len(r.statements) == 0 && len(r.portals) == 0 && !r.overflow
}

// maxName is how many bytes PostgreSQL keeps of a name: NAMEDATALEN - 1.
const maxName = 63

// key is what PostgreSQL keeps of a name: NAMEDATALEN - 1 bytes, in its own
// encoding. ok is false for a name that may be spelled with other bytes when the
// client's encoding is another one.
func key(name []byte) (k []byte, ok bool) {
	k = name[:min(len(name), maxName)]
	for _, c := range k {
		if c >= 0x80 {
			return nil, false
		}
	}
	return k, true
}

// parsed notes what executing the statement name will do, once its Parse of that
// number is taken; executes says that it may run another prepared one.
func (l *Lease) parsed(name []byte, f Effects, executes bool, number uint64) {
	if l.statements == nil {
		if !f.Any() && !executes {
			return
		}
		l.statements = &resetters{tenant: l.entry.names[0]}
	}
	r := l.statements
	if r.overflow {
		return
	}
	if !f.Any() && executes {
		f = r.context()
	}
	if !f.Any() && len(r.statements) == 0 {
		return
	}
	k, ok := key(name)
	s, was := r.statements[string(k)]
	switch {
	case !ok && f.Any():
		r.giveUp()
	case ok && (was || f.Any()):
		if r.statements == nil {
			r.statements, r.portals = map[string]resetter{}, map[string]Effects{}
		}
		older := was && (s.older || s.latest != f)
		r.statements[string(k)] = resetter{latest: f, older: older, batch: l.batch, parse: number}
		r.bound()
	}
}

// answered notes the ParseComplete ('1') of the Parse of that number.
func (r *resetters) answered(typ byte, number uint64) {
	if r == nil {
		return
	}
	for k, s := range r.statements {
		if typ != '1' || s.parse != number {
			continue
		}
		if s.older = false; s.latest.Any() {
			r.statements[k] = s
		} else {
			delete(r.statements, k)
		}
	}
}

// with is f and the context.
func (r *resetters) with(f Effects) Effects {
	f.add([]byte(strings.ToLower(r.tenant)))
	return f
}

// bind notes that portal executes statement, in that batch.
func (r *resetters) bind(portal, statement []byte, batch uint64) {
	p, simple := key(portal)
	k, known := key(statement)
	s := r.statements[string(k)]
	f := s.latest
	if s.older && s.batch != batch {
		f = r.with(f)
	}
	if !known {
		f = r.context()
	}
	ok := f.Any()
	old, was := r.portals[string(p)]
	switch {
	case !simple && ok:
		r.giveUp()
	case ok && was && old != f:
		r.portals[string(p)] = r.with(f)
	case ok:
		r.portals[string(p)] = f
		r.bound()
	case was:
		r.portals[string(p)] = r.context()
	}
}

// settle is called behind each ReadyForQuery: no portal outlives its transaction.
func (r *resetters) settle(owed *answers) {
	if r != nil && len(r.portals) > 0 && owed.status == 'I' && owed.quiet() {
		clear(r.portals)
	}
}

func (r *resetters) bound() {
	if len(r.statements)+len(r.portals) > maxResetters {
		r.giveUp()
	}
}

// giveUp stops following names.
func (r *resetters) giveUp() { *r = resetters{tenant: r.tenant, overflow: true} }

// bind follows which portal a Bind makes of which statement.
func (l *Lease) bind(m wire.Frame) step {
	if s := l.bindValues(m); s != forward {
		return s
	}
	if l.statements.none() || l.statements.overflow {
		return forward
	}
	portal, statement, ok := wire.BindNames(m.Body)
	if !ok {
		if !m.Whole() && len(m.Body) < gatherLimit {
			return await
		}
		l.statements.giveUp()
		return forward
	}
	l.statements.bind(portal, statement, l.batch)
	return forward
}

// execute tells what an Execute undoes.
func (l *Lease) execute(m wire.Frame) (step, Effects) {
	if l.statements.none() && !l.fragile {
		return forward, Effects{}
	}
	if !m.Whole() {
		return await, Effects{} // at most 10,000 bytes
	}
	if l.statements == nil {
		return forward, Effects{}
	}
	if l.statements.overflow {
		return forward, l.statements.context()
	}
	portal, ok := wire.ExecutePortal(m.Body)
	if !ok {
		return forward, Effects{}
	}
	k, ok := key(portal)
	if !ok {
		return forward, Effects{} // it was not bound to a resetter: see bind
	}
	return forward, l.statements.portals[string(k)]
}
