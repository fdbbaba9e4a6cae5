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

// fewClients weigh less than the noise of the process itself.
const fewClients = 100

// rung is what was measured with a number of idle clients.
type rung struct {
	clients int
	bytes   float64 // resident memory that each client added to the fresh process; NaN: too few to tell
	rest    float64 // milliseconds of CPU a second, while nobody does anything
	active  sample  // of a query of the few that are active
}

// ladder holds more and more idle clients, and reads at each rung the resident
// memory, the CPU at rest, and what a query of a few active clients costs
// meanwhile. Each proxy is started for it: a process that had clients before
// takes new ones into memory that it has already. In session pooling every idle
// client has a backend of its own, which is the stand-in's.
func ladder(ctx context.Context, b *bench, w workload) error {
	most := b.rungs[len(b.rungs)-1]
	server, pool, files := b.pgPort, sessionPool, most
	if w.mode == "session" {
		if b.standIn == nil {
			var err error
			if b.standIn, err = startStandIn(); err != nil {
				return err
			}
		}
		server, pool = b.standIn.port(), most+2*ladderActive
		files += pool
	}
	if files+200 > fileLimit() {
		return fmt.Errorf("%d idle clients need %d open files in one process, and ulimit -Hn is %d: raise it or set -idle", most, files+200, fileLimit())
	}
	gate, err := b.startGate(server, pool, 0)
	if err != nil {
		return err
	}
	gates, err := b.climb(ctx, gate.in(w.mode), w)
	if err != nil {
		return err
	}
	peer, err := b.startPgBouncer(server, pool)
	if err != nil {
		return err
	}
	peers, err := b.climb(ctx, peer.in(w.mode), w)
	if err != nil {
		return err
	}
	goal := 0.0
	if w.mode == "transaction" {
		goal = 1
	}
	for i, g := range gates {
		if p := peers[i]; !math.IsNaN(g.bytes) {
			b.table.add(row{
				fmt.Sprintf("memory for each of %d idle clients%s", g.clients, w.how()), "KB", g.bytes / 1024, p.bytes / 1024,
				g.bytes / p.bytes, math.NaN(), goal,
			})
		}
	}
	for i, g := range gates {
		b.table.compare(fmt.Sprintf("query of %d beside %d idle%s", ladderActive, g.clients, w.how()), "µs CPU each", []sample{g.active},
			[]sample{peers[i].active}, 0, func(s sample) float64 { return s.cpu })
	}
	last := len(gates) - 1
	b.table.add(row{fmt.Sprintf("CPU at rest, %d idle clients%s", most, w.how()), "ms/s", gates[last].rest, peers[last].rest, math.NaN(), math.NaN(), 0})
	return nil
}

// climb fills a fresh proxy rung by rung, and ends it.
func (b *bench) climb(ctx context.Context, e *endpoint, w workload) ([]rung, error) {
	defer e.proxy.stop(syscall.SIGKILL)
	var encryption *tls.Config
	if w.encrypted {
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
	r.clients, r.bytes = n, math.NaN()
	if n < fewClients {
		r.active, err = b.pgbench(ctx, e, workload{clients: ladderActive, encrypted: w.encrypted}, "-f", b.selectOne())
		return r, err
	}
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
	r.active, err = b.pgbench(ctx, e, workload{clients: ladderActive, encrypted: w.encrypted}, "-f", b.selectOne())
	progress("  %-10s %5d idle: %.2f KB each (%d KB in all), %.1f ms/s at rest, %d files; %.2f µs for a query of others", e.name, n, r.bytes/1024, memory/1024,
		r.rest, files, r.active.cpu)
	return r, err
}
