package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"syscall"
	"time"
)

// The active clients beside the idle ones of a ladder.
const ladderActive = 8

// settle is how long a crowd is left alone before the memory is read, so that
// what the logins took for a moment can be given back.
const settle = 3 * time.Second

// rung is what was measured with a number of idle clients.
type rung struct {
	clients int
	bytes   float64 // resident memory that each client added to the fresh process
	rest    float64 // milliseconds of CPU a second, while nobody does anything
	active  sample  // of a query of the few that are active
}

// ladder holds more and more idle clients, and reads at each rung the resident
// memory, the CPU at rest, and what a query of a few active clients costs
// meanwhile. Each proxy is started for it: a process that had clients before
// takes new ones into memory that it has already.
func ladder(ctx context.Context, b *bench, w workload) error {
	var err error
	if b.standIn == nil {
		if b.standIn, err = startStandIn(); err != nil {
			return err
		}
	}
	most := b.rungs[len(b.rungs)-1]
	pool := most + 2*ladderActive
	if need := 2*pool + 100; need > fileLimit() {
		return fmt.Errorf("%d idle clients, each with a backend, need %d open files in one process and ulimit -Hn is %d: raise it or set -idle", most, need, fileLimit())
	}
	gate, err := b.startGate(b.standIn.port(), pool, 0)
	if err != nil {
		return err
	}
	gates, err := b.climb(ctx, gate, w)
	if err != nil {
		return err
	}
	peer, err := b.startPgBouncer(b.standIn.port(), pool)
	if err != nil {
		return err
	}
	peers, err := b.climb(ctx, peer, w)
	if err != nil {
		return err
	}
	for i, g := range gates {
		p := peers[i]
		if g.clients < 100 {
			continue // the process itself weighs more
		}
		b.table.add(row{
			fmt.Sprintf("memory per idle session, %d of them%s", g.clients, w.over()), "KB", g.bytes / 1024, p.bytes / 1024,
			g.bytes / p.bytes, math.NaN(), 0,
		})
	}
	for i, g := range gates {
		p := peers[i]
		b.table.add(row{
			fmt.Sprintf("query of %d active beside %d idle%s", ladderActive, g.clients, w.over()), "µs CPU each", g.active.cpu, p.active.cpu,
			g.active.cpu / p.active.cpu, math.NaN(), 0,
		})
	}
	last := len(gates) - 1
	b.table.add(row{fmt.Sprintf("CPU at rest, %d idle%s", gates[last].clients, w.over()), "ms/s", gates[last].rest, peers[last].rest, math.NaN(), math.NaN(), 0})
	return nil
}

// climb fills a fresh proxy rung by rung, and ends it.
func (b *bench) climb(ctx context.Context, e *endpoint, w workload) ([]rung, error) {
	defer e.proxy.stop(syscall.SIGKILL)
	var encryption *tls.Config
	if w.encrypted() {
		encryption = b.cert.trust
	}
	var crowd []*client
	defer func() {
		_ = parallel(len(crowd), func(i int) error {
			crowd[i].leave()
			return nil
		})
	}()
	empty, err := e.proxy.resident()
	if err != nil {
		return nil, err
	}
	var rungs []rung
	for _, n := range b.rungs {
		before := len(crowd)
		crowd = append(crowd, make([]*client, n-before)...)
		err := parallel(n-before, func(i int) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c, err := login(e, e.password, encryption)
			if err != nil {
				return err
			}
			crowd[before+i] = c
			return c.query("SELECT 1")
		})
		if err != nil {
			crowd = present(crowd)
			return nil, fmt.Errorf("%s, %d idle clients: %w\n%s", e.name, len(crowd), err, e.proxy.tail())
		}
		r, err := b.look(ctx, e, w, n, empty)
		if err != nil {
			return nil, err
		}
		rungs = append(rungs, r)
	}
	return rungs, nil
}

// present leaves out the clients that did not come in.
func present(crowd []*client) []*client {
	var in []*client
	for _, c := range crowd {
		if c != nil {
			in = append(in, c)
		}
	}
	return in
}

// look measures one rung.
func (b *bench) look(ctx context.Context, e *endpoint, w workload, n, empty int) (r rung, err error) {
	r.clients = n
	time.Sleep(settle)
	memory, err := e.proxy.resident()
	if err != nil {
		return r, err
	}
	files, err := e.proxy.files()
	if err != nil {
		return r, err
	}
	if files < n {
		return r, fmt.Errorf("%s holds %d files only for %d clients", e.name, files, n)
	}
	r.bytes = float64(memory-empty) / float64(n)
	still, err := e.measure(func() (float64, error) {
		time.Sleep(settle)
		return settle.Seconds(), nil
	})
	if err != nil {
		return r, err
	}
	r.rest = still.cpu / 1000
	r.active, err = b.pgbench(ctx, e, workload{w.kind, ladderActive}, "-f", b.selectOne())
	progress("  %-10s %5d idle: %.2f KB each (%d KB in all), %.1f ms/s at rest, %d files; %.2f µs for a query of others", e.name, n, r.bytes/1024, memory/1024,
		r.rest, files, r.active.cpu)
	return r, err
}
