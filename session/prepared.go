package session

import (
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// resetters knows the client's prepared statements and portals that undo part
// of the context when they are executed: a prepared RESET ALL, for instance.
// Empty, as it nearly always is, it costs nothing.
//
// Whether PostgreSQL takes a Parse or Bind is not known when it is sent: it may
// fail, or be skipped behind an error, and then the name stands for what it was
// before. So a name that was a resetter stays one until that is impossible; as
// long as it is only possible the context alone is entered again, because the
// client may have changed its other settings on purpose.
type resetters struct {
	statements map[string]Effects
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

// maxResetters bounds what one client can make the proxy remember.
const maxResetters = 64

func (r *resetters) none() bool { return len(r.statements) == 0 && len(r.portals) == 0 && !r.overflow }

// key is what PostgreSQL keeps of a name: NAMEDATALEN - 1 bytes, in its own
// encoding. ok is false for a name that may be spelled with other bytes when the
// client's encoding is another one.
func key(name []byte) (k []byte, ok bool) {
	const kept = 63
	for _, c := range name {
		if c >= 0x80 {
			return nil, false
		}
	}
	return name[:min(len(name), kept)], true
}

// parsed notes what executing the statement name will do; executes says that it
// may run another prepared one.
func (l *Lease) parsed(name []byte, f Effects, executes bool) {
	r := &l.statements
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
	_, was := r.statements[string(k)]
	switch {
	case !ok && f.Any():
		r.giveUp()
	case f.Any():
		if r.statements == nil {
			r.statements, r.portals = map[string]Effects{}, map[string]Effects{}
		}
		r.statements[string(k)] = f
		r.bound()
	case was && len(k) == 0 && l.owed.quiet():
		// The unnamed statement goes with any Parse that is not skipped.
		delete(r.statements, "")
	case was:
		r.statements[string(k)] = r.context()
	}
}

// bind notes that portal executes statement.
func (r *resetters) bind(portal, statement []byte) {
	p, simple := key(portal)
	s, known := key(statement)
	f, ok := r.statements[string(s)]
	if !known {
		f, ok = r.context(), true
	}
	_, was := r.portals[string(p)]
	switch {
	case !simple && ok:
		r.giveUp()
	case ok:
		r.portals[string(p)] = f
		r.bound()
	case was:
		r.portals[string(p)] = r.context()
	}
}

// settle is called behind each ReadyForQuery: no portal outlives its transaction.
func (r *resetters) settle(owed *answers) {
	if len(r.portals) > 0 && owed.status == 'I' && owed.quiet() {
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
	l.statements.bind(portal, statement)
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
