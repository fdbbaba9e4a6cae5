package session

import (
	"slices"
	"sort"
)

// Who is served next. The tenants that have waiters stand in one line: those that
// hold fewer servers in front, and in turn among those that hold as many. So while
// others wait nobody is given more than its share, the size of the pool divided by
// the tenants that want it: a tenant that holds more has one in front of it that
// holds less. It does not matter how many clients it has or how long they wait.

// enterLine puts q behind the tenants that hold as many servers or fewer.
func (p *Pool) enterLine(q *queue) {
	at := sort.Search(len(p.turns), func(i int) bool { return p.turns[i].held > q.held })
	p.turns = slices.Insert(p.turns, at, q)
}

// leaveLine takes q out.
func (p *Pool) leaveLine(q *queue) {
	if i := slices.Index(p.turns, q); i >= 0 {
		p.turns = slices.Delete(p.turns, i, i+1)
	}
}

// holds notes that a tenant has n servers more, or fewer.
func (p *Pool) holds(tenant string, n int) {
	if p.leased[tenant] += n; p.leased[tenant] <= 0 {
		delete(p.leased, tenant)
	}
	if q := p.queues[tenant]; q != nil {
		p.leaveLine(q)
		q.held = p.leased[tenant]
		p.enterLine(q)
	}
}

// Rebound gives everybody who waits the bound of the tenant's servers that most
// says, see Waiter.Most.
func (p *Pool) Rebound(most func(*Waiter) int) {
	p.bounded = 0
	for _, q := range p.turns {
		q.mixed = false
		for _, w := range q.waiters {
			w.Most = most(w)
			p.bind(q, w)
		}
	}
}

// bind notes the bound of w, which waits in q.
func (p *Pool) bind(q *queue, w *Waiter) {
	if w.Most > 0 {
		p.bounded++
	}
	q.mixed = q.mixed || w.Most != q.waiters[0].Most
}

// next is the first waiter that may have a server; -1: none.
func (q *queue) next() int {
	for i, w := range q.waiters {
		if w.Most == 0 || q.held < w.Most {
			return i
		}
		if !q.mixed {
			break
		}
	}
	return -1
}

// room is how many of the waiters may have a server.
func (q *queue) room() int {
	if most := q.waiters[0].Most; !q.mixed && most == 0 {
		return len(q.waiters)
	} else if !q.mixed {
		return min(len(q.waiters), max(0, most-q.held))
	}
	n := 0
	for _, w := range q.waiters {
		if w.Most == 0 || q.held+n < w.Most {
			n++
		}
	}
	return n
}
