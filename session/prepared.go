package session

import "github.com/tenantgate/tenantgate/wire"

// resetters knows the client's prepared statements and portals that undo part
// of the context when they are executed: a prepared RESET ALL, for instance.
// Empty, as it nearly always is, it costs nothing.
type resetters struct {
	statements map[string]Effects
	portals    map[string]Effects
	overflow   bool // too many or too odd to follow: every Execute counts
}

// maxResetters bounds what one client can make the proxy remember.
const maxResetters = 64

func (r *resetters) none() bool { return len(r.statements) == 0 && len(r.portals) == 0 && !r.overflow }

// parsed notes what executing the statement name will do.
func (r *resetters) parsed(name string, f Effects) {
	if !f.Any() {
		delete(r.statements, name)
		return
	}
	if r.statements == nil {
		r.statements, r.portals = map[string]Effects{}, map[string]Effects{}
	}
	r.statements[name] = f
	r.bound()
}

// bind notes that portal executes statement.
func (r *resetters) bind(portal, statement string) {
	f, ok := r.statements[statement]
	if !ok {
		delete(r.portals, portal)
		return
	}
	r.portals[portal] = f
	r.bound()
}

func (r *resetters) bound() {
	if len(r.statements)+len(r.portals) > maxResetters {
		*r = resetters{overflow: true}
	}
}

// bind follows which portal a Bind makes of which statement.
func (l *Lease) bind(m wire.Frame) step {
	if l.statements.none() || l.statements.overflow {
		return forward
	}
	portal, statement, ok := wire.BindNames(m.Body)
	if !ok {
		if !m.Whole() && len(m.Body) < gatherLimit {
			return await
		}
		l.statements = resetters{overflow: true}
		return forward
	}
	l.statements.bind(string(portal), string(statement))
	return forward
}

// execute tells what an Execute undoes.
func (l *Lease) execute(m wire.Frame) (step, Effects) {
	if l.statements.none() {
		return forward, Effects{}
	}
	if !m.Whole() {
		return await, Effects{} // at most 10,000 bytes
	}
	if l.statements.overflow {
		return forward, Effects{ResetAll: true}
	}
	portal, ok := wire.ExecutePortal(m.Body)
	if !ok {
		return forward, Effects{}
	}
	return forward, l.statements.portals[string(portal)]
}
