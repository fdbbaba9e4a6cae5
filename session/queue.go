package session

import "time"

// queue holds the waiters of one tenant, first come first served.
type queue struct {
	tenant  string
	waiters []*Waiter
	held    int  // servers that the tenant has
	mixed   bool // not all of the waiters have the same bound
}

// eligible is how many waiters a further server could serve.
func (p *Pool) eligible() int {
	if p.bounded == 0 {
		return p.waiting
	}
	n := 0
	for _, q := range p.turns {
		n += q.room()
	}
	return n
}

// take removes waiter i of q, and q with its last waiter.
func (p *Pool) take(q *queue, i int) *Waiter {
	w := q.waiters[i]
	w.queue = nil
	p.waiting--
	if w.Most > 0 {
		p.bounded--
	}
	q.waiters = append(q.waiters[:i], q.waiters[i+1:]...)
	if len(q.waiters) > 0 {
		return w
	}
	delete(p.queues, q.tenant)
	p.leaveLine(q)
	return w
}

// failOverdue fails the waits that ran out. The first of each queue has waited longest.
func (p *Pool) failOverdue(now time.Time, actions []Action) []Action {
	if p.cfg.Wait <= 0 {
		return actions
	}
	for i := 0; i < len(p.turns); {
		q := p.turns[i]
		if now.Before(q.waiters[0].since.Add(p.cfg.Wait)) {
			i++
			continue
		}
		reason := ReasonWaitTimeout
		if most := q.waiters[0].Most; most > 0 && q.held >= most {
			reason = ReasonTenantLimit
		}
		w := p.take(q, 0)
		actions = append(actions, Action{Kind: Fail, Waiter: w, Reason: reason})
	}
	return actions
}

func (p *Pool) failAll(reason Reason, actions []Action) []Action {
	for len(p.turns) > 0 {
		w := p.take(p.turns[0], 0)
		actions = append(actions, Action{Kind: Fail, Waiter: w, Reason: reason})
	}
	return actions
}
