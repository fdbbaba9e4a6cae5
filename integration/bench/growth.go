package main

import (
	"context"
	"fmt"
	"math"
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

// switches compares sessions that change the tenant of the backend with sessions
// that never do. Both columns are tenantgate's.
func switches(ctx context.Context, b *bench, w workload) error {
	changing, same := *b.gate, *b.gate
	changing.name, same.name = "changing", "same"
	tokens := map[string][]string{"changing": b.tokens(16 * w.clients), "same": b.tokens(1)}
	for _, t := range tokens { // verified before, so that the tokens make no difference
		for _, token := range t {
			if err := session(b.gate, token); err != nil {
				return err
			}
		}
	}
	all, err := b.turns(ctx, []*endpoint{&changing, &same}, func(e *endpoint) (sample, error) { return b.sessions(e, w, tokens[e.name]) })
	if err != nil {
		return err
	}
	b.table.compare("tenant changes at every session, against never", "µs CPU each", all[0], all[1], 1.15, func(s sample) float64 { return s.cpu })
	return nil
}

// tenantGrowth shows what a session costs as the tenants become more. The last
// steps bring a new token with nearly every session.
func tenantGrowth(ctx context.Context, b *bench, w workload) error {
	one, err := b.sessions(b.peer, w, []string{b.peer.password})
	if err != nil {
		return err
	}
	for n := 1; n <= 10_000; n *= 10 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s, err := b.sessions(b.gate, w, b.tokens(n))
		if err != nil {
			return err
		}
		progress("  %5d tenants: %.1f µs", n, s.cpu)
		b.table.add(row{fmt.Sprintf("connect + one query, %d tenants in turn", n), "µs CPU each", s.cpu, one.cpu, s.cpu / one.cpu, math.NaN(), 0})
	}
	return nil
}

// loopGrowth shows what more event loops cost and bring. PgBouncer has one.
func loopGrowth(ctx context.Context, b *bench, w workload) error {
	endpoints := []*endpoint{b.peer}
	defer func() {
		for _, e := range endpoints[1:] {
			e.proxy.stop(syscall.SIGKILL)
		}
	}()
	loops := []int{1, 2, 4}
	for _, n := range loops {
		e, err := b.startGate(b.pgPort, w.clients, n)
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
		what := fmt.Sprintf("simple queries, %d clients, %d loops", w.clients, n)
		b.table.compare(what, "µs CPU each", all[i+1], all[0], 0, func(s sample) float64 { return s.cpu })
		b.table.compare(what, "queries/s", all[i+1], all[0], 0, func(s sample) float64 { return s.rate })
	}
	return nil
}
