// Command bench measures tenantgate beside PgBouncer and prints one table. It
// starts a PostgreSQL, a PgBouncer and the tenantgate of the tree, each in a
// session and a directory of its own, runs the same work against all of them in
// turns, and takes everything away again. Run it with `make bench`.
//
// What counts is the CPU time that the proxy itself uses for a unit of work, as
// /proc/PID/stat has it, because that hardly depends on the load generator
// beside it. Ratios are given of the medians over the rounds and of the lowest
// rounds: what else runs on the machine mostly adds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// defaultWork is what a run without -work measures: about seven minutes.
const defaultWork = "simple:8,simple:64,prepared:8,txn-simple:8,txn-simple:64,txn-prepared:8,tls-simple:8,tls-prepared:8,copyout,connect:8," +
	"txn-switch:8,txn-ladder,tls-txn-ladder,txn-tenants:8,tenants:8,loops:64"

// options are the command line.
type options struct {
	work       string
	rounds     int
	duration   time.Duration
	copyMB     int
	idle       string
	tenantgate string
	pgbouncer  string
	bin        string
}

func main() {
	// Children die with the thread that started them, and that is this one.
	runtime.LockOSThread()
	var o options
	flag.StringVar(&o.work, "work", defaultWork, "comma-separated `list` of workloads; KIND:N has N active clients, txn- is transaction pooling, tls- encrypts")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each workload runs against each endpoint")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "of one timed run")
	flag.IntVar(&o.copyMB, "copy", 512, "`MB` that one COPY moves")
	flag.StringVar(&o.idle, "idle", "10,1000,5000,10000", "the rungs of the ladders: `numbers` of idle clients")
	flag.StringVar(&o.tenantgate, "tenantgate", "./tenantgate", "`program` to measure")
	flag.StringVar(&o.pgbouncer, "pgbouncer", "", "`program` to compare with; empty: the installed one")
	flag.StringVar(&o.bin, "postgres", "", "`directory` of initdb, postgres, pgbench and psql; empty: the installed ones")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.duration < 100*time.Millisecond {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures what o asks for and prints the table.
func run(ctx context.Context, o options) error {
	work, err := parseWork(o.work)
	if err != nil {
		return err
	}
	rungs, err := parseNumbers(o.idle)
	if err != nil {
		return fmt.Errorf("-idle: %w", err)
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	b := &bench{options: o, rungs: rungs}
	defer b.close()
	if err := b.open(ctx); err != nil {
		return err
	}
	defer func() { b.print(os.Stdout) }() // after a failure what was measured before
	for _, w := range work {
		progress("%s", w)
		if err := kinds[w.kind].run(ctx, b, w); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	return nil
}

// workload is one item of -work.
type workload struct {
	kind      string
	clients   int
	encrypted bool   // tls-: the clients use TLS
	mode      string // the pool mode, and the name of its database: txn- asks for transaction
}

// String is the item as it is written.
func (w workload) String() string {
	s := w.kind
	if w.mode == "transaction" {
		s = "txn-" + s
	}
	if w.encrypted {
		s = "tls-" + s
	}
	if w.clients > 0 {
		s = fmt.Sprintf("%s:%d", s, w.clients)
	}
	return s
}

// kind is what a workload does.
type kind struct {
	counted   bool // written with a number of clients
	encrypted bool // may be
	run       func(ctx context.Context, b *bench, w workload) error
}

// kinds are the workloads by name.
var kinds = map[string]kind{
	"simple": {true, true, queries}, "extended": {true, true, queries}, "prepared": {true, true, queries},
	"copyout": {false, true, copyOut}, "connect": {true, true, connects}, "switch": {true, false, switches},
	"ladder": {false, true, ladder}, "tenants": {true, false, tenantGrowth}, "loops": {true, false, loopGrowth},
}

// parseWork reads -work.
func parseWork(list string) ([]workload, error) {
	var work []workload
	for item := range strings.SplitSeq(list, ",") {
		name, number, counted := strings.Cut(strings.TrimSpace(item), ":")
		w := workload{mode: "session"}
		name, w.encrypted = strings.CutPrefix(name, "tls-")
		name, transaction := strings.CutPrefix(name, "txn-")
		if transaction {
			w.mode = "transaction"
		}
		w.kind = name
		k, known := kinds[name]
		if !known || counted != k.counted || w.encrypted && !k.encrypted {
			return nil, fmt.Errorf("-work: %q is none of %s, with tls- and txn- in front", item, kindNames())
		}
		if counted {
			n, err := parseNumbers(number)
			if err != nil || len(n) != 1 {
				return nil, fmt.Errorf("-work: %q needs one number of clients", item)
			}
			w.clients = n[0]
		}
		work = append(work, w)
	}
	return work, nil
}

// kindNames lists the workloads for an error.
func kindNames() string {
	var all []string
	for name, k := range kinds {
		if k.counted {
			name += ":N"
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// progress says on standard error what is being done.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
