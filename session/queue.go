package session

import "time"

// queue holds the waiters of one tenant, first come first served.
type queue struct {
	tenant  string
	waiters []*Waiter
}

// room is how many of the waiters of q may have a server.
func (p *Pool) room(q *queue) int {
	if p.cfg.MaxTenant == 0 {
		return len(q.waiters)
	}
	return min(len(q.waiters), max(0, p.cfg.MaxTenant-p.leased[q.tenant]))
}

// eligible is how many waiters a further server could serve.
func (p *Pool) eligible() int {
	if p.cfg.MaxTenant == 0 {
		return p.waiting
	}
	n := 0
	for _, q := range p.turns {
		n += p.room(q)
	}
	return n
}

// take removes waiter i of q, and q with its last waiter.
func (p *Pool) take(q *queue, i int) *Waiter {
	w := q.waiters[i]
	w.queue = nil
	p.waiting--
	q.waiters = append(q.waiters[:i], q.waiters[i+1:]...)
	if len(q.waiters) > 0 {
		return w
	}
	delete(p.queues, q.tenant)
	for j, other := range p.turns {
		if other == q {
			p.turns = append(p.turns[:j], p.turns[j+1:]...)
			break
		}
	}
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
		w := p.take(q, 0)
		actions = append(actions, Action{Kind: Fail, Waiter: w, Reason: ReasonWaitTimeout})
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
