package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"syscall"
)

// session logs in with a password, asks one query and leaves.
func session(e *endpoint, password string) error {
	c, err := login(e, password, nil)
	if err != nil {
		return err
	}
	err = c.query("SELECT 1")
	c.leave()
	return err
}

// sessions measures sessions of w's clients, whose tenants are taken in turn from
// as many as there are tokens.
func (b *bench) sessions(e *endpoint, w workload, tokens []string) (sample, error) {
	return e.measure(func() (float64, error) {
		return drive(w.clients, b.duration, func(_, turn int) error { return session(e, tokens[turn%len(tokens)]) })
	})
}

// tokens signs tokens of n tenants.
func (b *bench) tokens(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = b.token(i + 1)
	}
	return all
}

// crowd is clients that stay logged in, each of which may belong to another
// tenant; they ask in turn.
type crowd struct {
	clients []*client
	busy    []sync.Mutex
}

// gather logs a client in for each token.
func gather(e *endpoint, tokens []string) (*crowd, error) {
	c := &crowd{make([]*client, len(tokens)), make([]sync.Mutex, len(tokens))}
	err := parallel(len(tokens), func(i int) (err error) {
		c.clients[i], err = login(e, tokens[i], nil)
		return err
	})
	if err != nil {
		c.leave()
	}
	return c, err
}

// leave lets all of them go.
func (c *crowd) leave() {
	for _, one := range c.clients {
		if one != nil {
			one.leave()
		}
	}
}

// ask lets the client whose turn it is ask one query.
func (c *crowd) ask(turn int) error {
	i := turn % len(c.clients)
	c.busy[i].Lock()
	defer c.busy[i].Unlock()
	return c.clients[i].query("SELECT 1")
}

// switching is how many clients, for each active one, take turns where the tenant
// is to change: none of them finds a backend that was its tenant's last.
const switching = 16

// switches compares work that changes the tenant of the backend every time with
// work that never does; both columns are tenantgate's. In session pooling the
// unit is a session, in transaction pooling a transaction.
func switches(ctx context.Context, b *bench, w workload) error {
	changing, same := b.gate.in(w.mode), b.gate.in(w.mode)
	changing.name, same.name = "changing", "same"
	tokens := map[string][]string{"changing": b.tokens(switching * w.clients)}
	for range tokens["changing"] {
		tokens["same"] = append(tokens["same"], tokens["changing"][0])
	}
	unit := func(e *endpoint) (sample, error) { return b.sessions(e, w, tokens[e.name]) }
	for _, token := range tokens["changing"] { // verified once, so that this makes no difference
		if err := session(changing, token); err != nil {
			return err
		}
	}
	if w.mode == "transaction" {
		crowds := map[string]*crowd{}
		for _, e := range []*endpoint{changing, same} {
			c, err := gather(e, tokens[e.name])
			if err != nil {
				return err
			}
			defer c.leave()
			crowds[e.name] = c
		}
		unit = func(e *endpoint) (sample, error) {
			return e.measure(func() (float64, error) {
				return drive(w.clients, b.duration, func(_, turn int) error { return crowds[e.name].ask(turn) })
			})
		}
	}
	all, err := b.turns(ctx, []*endpoint{changing, same}, unit)
	if err != nil {
		return err
	}
	b.table.compare("tenant changes at every "+w.mode+" (against: never)", "µs CPU each", all[0], all[1], 1.15, func(s sample) float64 { return s.cpu })
	return nil
}

// manyTenants is where tenantGrowth ends.
const manyTenants = 10_000

// tenantGrowth shows what a session, or in transaction pooling a transaction,
// costs as the tenants become more. The last sessions bring a new token nearly
// every time; of the transactions each is another client's.
func tenantGrowth(ctx context.Context, b *bench, w workload) error {
	e, one := b.gate.in(w.mode), sample{cpu: math.NaN()}
	for n := 1; n <= manyTenants; n *= 10 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s, err := b.tenantRung(e, w, b.tokens(n))
		if err != nil {
			return err
		}
		if n == 1 {
			one = s
		}
		progress("  %5d tenants: %.2f µs", n, s.cpu)
		b.table.add(row{fmt.Sprintf("%s, %d tenants in turn (ratio: to one)", w.mode, n), "µs CPU each", s.cpu, math.NaN(), s.cpu / one.cpu, math.NaN(), 0})
	}
	return nil
}

// tenantRung measures one number of tenants.
func (b *bench) tenantRung(e *endpoint, w workload, tokens []string) (sample, error) {
	if w.mode == "session" {
		return b.sessions(e, w, tokens)
	}
	for i := len(tokens); i < switching*w.clients; i++ {
		tokens = append(tokens, tokens[i%len(tokens)]) // no client waits for its own turn
	}
	c, err := gather(e, tokens)
	if err != nil {
		return sample{}, err
	}
	defer c.leave()
	return e.measure(func() (float64, error) {
		return drive(w.clients, b.duration, func(_, turn int) error { return c.ask(turn) })
	})
}

// loopGrowth shows what more event loops cost and bring. PgBouncer has one.
func loopGrowth(ctx context.Context, b *bench, w workload) error {
	endpoints := []*endpoint{b.peer}
	defer func() {
		for _, e := range endpoints[1:] {
			e.proxy.stop(syscall.SIGKILL)
		}
	}()
	loops := []int{1, 2}
	for n := 4; n <= runtime.NumCPU(); n *= 2 {
		loops = append(loops, n)
	}
	for _, n := range loops {
		e, err := b.startGate(b.pgPort, sessionPool, n)
		if err != nil {
			return err
		}
		e.name = fmt.Sprintf("%d loops", n)
		endpoints = append(endpoints, e)
	}
	all, err := b.turns(ctx, endpoints, func(e *endpoint) (sample, error) { return b.pgbench(ctx, e, w, "-S") })
	if err != nil {
		return err
	}
	for i, n := range loops {
		what := fmt.Sprintf("simple queries, %d clients, loops: %d", w.clients, n)
		b.table.compare(what, "µs CPU each", all[i+1], all[0], 0, func(s sample) float64 { return s.cpu })
		rate := func(s sample) float64 { return s.rate }
		gate, peer := median(figures(all[i+1], rate)), median(figures(all[0], rate))
		b.table.add(row{what, "queries/s", gate, peer, gate / peer, math.NaN(), 0})
	}
	return nil
}
