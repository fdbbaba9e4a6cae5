package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sample is one timed run against one endpoint.
type sample struct {
	cpu      float64 // of the proxy, microseconds for each unit of work
	rate     float64 // units a second
	p50, p99 float64 // milliseconds, of the whole way
}

// measure runs something and divides the CPU time that the endpoint's proxy
// used meanwhile by the units of work that it returns.
func (e *endpoint) measure(do func() (units float64, err error)) (s sample, err error) {
	var before, after time.Duration
	if e.proxy != nil {
		if before, err = e.proxy.cpu(); err != nil {
			return s, err
		}
	}
	begun := time.Now()
	units, err := do()
	took := time.Since(begun)
	if err != nil {
		return s, fmt.Errorf("%s: %w", e.name, err)
	}
	if units == 0 {
		return s, fmt.Errorf("%s: nothing was done", e.name)
	}
	if e.proxy != nil {
		if after, err = e.proxy.cpu(); err != nil {
			return s, err
		}
	}
	s.cpu = float64((after - before).Microseconds()) / units
	s.rate = units / took.Seconds()
	return s, nil
}

// turns runs one workload against all the endpoints in turns, each round
// beginning with another one, and returns the samples by endpoint.
func (b *bench) turns(ctx context.Context, endpoints []*endpoint, run func(e *endpoint) (sample, error)) ([][]sample, error) {
	all := make([][]sample, len(endpoints))
	for round := range b.rounds {
		for i := range endpoints {
			k := (i + round) % len(endpoints)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			s, err := run(endpoints[k])
			if err != nil {
				return nil, err
			}
			progress("  %-10s %9.0f/s  %8.3f µs CPU each  p50 %.3f ms  p99 %.3f ms", endpoints[k].name, s.rate, s.cpu, s.p50, s.p99)
			all[k] = append(all[k], s)
		}
	}
	return all, nil
}

// goals are the ratios to PgBouncer that the project wants to stay below, by the
// workload's name.
var goals = map[string]float64{
	"simple": 1, "extended": 1, "prepared": 1, "tls-simple": 0.95, "tls-extended": 0.95, "tls-prepared": 0.95,
	"copyout": 0.7, "tls-copyout": 0.7, "connect": 1,
}

// goal is that of the workload; 0: none is set.
func (w workload) goal() float64 {
	if w.encrypted {
		return goals["tls-"+w.kind]
	}
	return goals[w.kind]
}

// proxies are tenantgate and PgBouncer with the pool mode of the workload.
func (b *bench) proxies(w workload) []*endpoint {
	return []*endpoint{b.gate.in(w.mode), b.peer.in(w.mode)}
}

// sslmode is libpq's for the workload.
func (w workload) sslmode() string {
	if w.encrypted {
		return "require"
	}
	return "disable"
}

// how is what a row says of the workload's pool mode and encryption.
func (w workload) how() string {
	s := ""
	if w.mode == "transaction" {
		s = ", by transaction"
	}
	if w.encrypted {
		s += ", TLS"
	}
	return s
}

// queries selects single rows by primary key with pgbench. With 8 clients and no
// TLS it also shows what the proxies add to the time of a query.
func queries(ctx context.Context, b *bench, w workload) error {
	endpoints := b.proxies(w)
	if w.kind == "prepared" {
		endpoints[1] = b.peer // PgBouncer has prepared statements in transaction pooling from 1.21 on only
	}
	latency := w.clients == 8 && !w.encrypted
	if latency {
		endpoints = append(endpoints, b.direct)
	}
	all, err := b.turns(ctx, endpoints, func(e *endpoint) (sample, error) { return b.pgbench(ctx, e, w, "-S", "-M", w.kind) })
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s queries, %d clients%s", w.kind, w.clients, w.how())
	b.table.compare(what, "µs CPU each", all[0], all[1], w.goal(), func(s sample) float64 { return s.cpu })
	if latency {
		b.table.added(what+", added p50", all, func(s sample) float64 { return s.p50 })
		b.table.added(what+", added p99", all, func(s sample) float64 { return s.p99 })
	}
	return nil
}

// connects logs in, asks one query and leaves, with pgbench. The token is the
// same each time, as a pool's is: it is verified once and then known.
func connects(ctx context.Context, b *bench, w workload) error {
	all, err := b.turns(ctx, b.proxies(w), func(e *endpoint) (sample, error) { return b.pgbench(ctx, e, w, "-C", "-f", b.selectOne()) })
	if err != nil {
		return err
	}
	b.table.compare(fmt.Sprintf("connect + one query, %d clients%s", w.clients, w.how()), "µs CPU each", all[0], all[1], w.goal(),
		func(s sample) float64 { return s.cpu })
	return nil
}

// selectOne is the path of a script for pgbench.
func (b *bench) selectOne() string {
	_ = b.write("select1.sql", "SELECT 1;\n") // pgbench says that it is missing
	return filepath.Join(b.dir, "select1.sql")
}

// copyOut moves rows of 1000 bytes to one client.
func copyOut(ctx context.Context, b *bench, w workload) error {
	sql := fmt.Sprintf("COPY (SELECT repeat('x', 999) FROM generate_series(1, %d)) TO STDOUT", b.copyMB*1000)
	all, err := b.turns(ctx, b.proxies(w), func(e *endpoint) (sample, error) {
		return e.measure(func() (float64, error) {
			psql := b.client(ctx, e, w.sslmode(), "psql", "-XAtq", "-o", "/dev/null", "-c", sql)
			out, err := psql.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("psql: %w: %s", err, out)
			}
			return float64(b.copyMB), err
		})
	})
	if err != nil {
		return err
	}
	b.table.compare("COPY out"+w.how(), "µs CPU per MB", all[0], all[1], w.goal(), func(s sample) float64 { return s.cpu })
	return nil
}

var errNoTransactions = errors.New("pgbench does not say how many transactions it ran")

// pgbench runs pgbench for the duration of a run. A tenth of the transactions is
// logged for the percentiles.
func (b *bench) pgbench(ctx context.Context, e *endpoint, w workload, args ...string) (sample, error) {
	logs, err := os.MkdirTemp(b.dir, "pgbench")
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = os.RemoveAll(logs) }()
	if err := b.own(logs); err != nil {
		return sample{}, err
	}
	seconds := strconv.Itoa(max(1, int(b.duration.Seconds()+0.5)))
	args = append([]string{"-n", "-c", strconv.Itoa(w.clients), "-T", seconds, "-l", "--sampling-rate=0.1", "--log-prefix=" + filepath.Join(logs, "l")}, args...)
	s, err := e.measure(func() (float64, error) {
		out, err := b.client(ctx, e, w.sslmode(), "pgbench", args...).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("pgbench: %w\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if rest, ok := strings.CutPrefix(line, "number of transactions actually processed: "); ok {
				return strconv.ParseFloat(strings.TrimSpace(rest), 64)
			}
		}
		return 0, errNoTransactions
	})
	if err != nil {
		return s, err
	}
	s.p50, s.p99, err = percentiles(logs)
	return s, err
}

// percentiles reads pgbench's logs; the third field is the time in microseconds
// ("Per-Transaction Logging" in pgbench's documentation).
func percentiles(dir string) (p50, p99 float64, err error) {
	files, _ := filepath.Glob(filepath.Join(dir, "l*")) // the pattern is well formed
	var times []float64
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0, 0, err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 3 {
				continue
			}
			us, err := strconv.ParseFloat(fields[2], 64)
			if err != nil {
				return 0, 0, err
			}
			times = append(times, us/1000)
		}
	}
	if len(times) == 0 {
		return 0, 0, nil
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100], nil
}
