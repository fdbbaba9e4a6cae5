package session

import (
	"hash/maphash"

	"github.com/tenantgate/tenantgate/wire"
)

// shown is how a statement was described: its parameters, and the columns of what it
// answers. Drivers read later answers by it. 0: that was not described.
type shown struct{ params, columns uint64 }

// noColumns stands for those of a statement that answers no rows.
const noColumns = 2

// any says that something was described.
func (s shown) any() bool { return s != shown{} }

// fits says that nothing of s is otherwise in o.
func (s shown) fits(o shown) bool {
	return (s.params == 0 || s.params == o.params) && (s.columns == 0 || s.columns == o.columns)
}

// or is s, and o where s is unknown.
func (s shown) or(o shown) shown {
	if s.params == 0 {
		s.params = o.params
	}
	if s.columns == 0 {
		s.columns = o.columns
	}
	return s
}

// maxPortals bounds the named portals of a transaction that are followed.
const maxPortals = 64

// binds notes which statement a portal is bound from: describing the portal tells the
// statement's columns too.
func (n *names) binds(m wire.Frame) {
	portal, _, _ := wire.BindNames(m.Body)
	if len(portal) == 0 {
		n.portal = n.at
		return
	}
	k, ok := key(portal)
	switch {
	case !ok || len(n.portals) >= maxPortals:
		n.untracked = n.untracked || n.at != nil // what it is described as is not known
	case n.at != nil:
		if n.portals == nil {
			n.portals = map[string]*own{}
		}
		n.portals[string(k)] = n.at
	default:
		delete(n.portals, string(k))
	}
}

// planPortal is for a Describe or Close of a portal.
func (n *names) planPortal(typ byte, portal []byte) {
	if typ == 'D' {
		n.at = n.source(portal)
		n.shows = n.at != nil
	} else if k, ok := key(portal); ok {
		delete(n.portals, string(k))
	}
}

// source is the statement that a portal was bound from; nil: that is not known.
func (n *names) source(portal []byte) *own {
	if len(portal) == 0 {
		return n.portal
	}
	k, _ := key(portal)
	return n.portals[string(k)]
}

// described takes the last part of the description of a statement or portal, and
// holds it against what the client was told before.
func (l *Lease) described(e *effect, m wire.Frame) {
	n, o := l.names, e.own
	got := shown{n.params, noColumns}
	if m.Type == 'T' {
		got.columns = columns(m)
	}
	h := n.on(&l.backend.shelf, o, nil)
	switch {
	case e.portal:
		got.params = 0
		o.shown = got.or(o.shown)
	case e.what == 'D':
		o.shown = got
	default:
		got = got.or(o.shown) // too large to be compared
		o.changed = !o.shown.fits(got)
		n.together(o)
	}
	if h != nil {
		h.shown = got.or(h.shown)
	}
}

// shownSeed makes descriptions comparable in one process.
var shownSeed = maphash.MakeSeed()

// columns is what a RowDescription says of columns: what PostgreSQL compares, which is
// neither the table that they come from nor the format. 0: it is too large.
func columns(m wire.Frame) uint64 {
	if !m.Whole() || len(m.Body) < 2 {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(shownSeed)
	for rest := m.Body[2:]; len(rest) > 0; {
		name, after, ok := wire.CString(rest)
		const size = 4 + 2 + 4 + 2 + 4 + 2
		if !ok || len(after) < size {
			return 0
		}
		_, _ = h.Write(name)
		_, _ = h.Write(after[6 : size-2])
		rest = after[size:]
	}
	return h.Sum64() | 1
}
