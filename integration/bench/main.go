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

// defaultWork is what a run without -work measures: about six minutes.
const defaultWork = "simple:8,simple:64,prepared:8,tls-simple:8,tls-simple:64,tls-prepared:8,copyout,connect:8,switch:8," +
	"ladder,tls-ladder,tenants:8,loops:64"

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
	flag.StringVar(&o.work, "work", defaultWork, "comma-separated `list` of workloads; KIND:N has N active clients")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each workload runs against each endpoint")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "of one timed run")
	flag.IntVar(&o.copyMB, "copy", 512, "`MB` that one COPY moves")
	flag.StringVar(&o.idle, "idle", "10,1000,5000,9000", "the rungs of the ladders: `numbers` of idle clients")
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
	kind    string
	clients int
}

// String is the item as it was written.
func (w workload) String() string {
	if w.clients == 0 {
		return w.kind
	}
	return fmt.Sprintf("%s:%d", w.kind, w.clients)
}

// encrypted says that the clients use TLS.
func (w workload) encrypted() bool { return strings.HasPrefix(w.kind, "tls-") }

// parseWork reads -work.
func parseWork(list string) ([]workload, error) {
	var work []workload
	for item := range strings.SplitSeq(list, ",") {
		kind, number, counted := strings.Cut(strings.TrimSpace(item), ":")
		k, known := kinds[kind]
		if !known || counted != k.counted {
			var all []string
			for name, k := range kinds {
				if k.counted {
					name += ":N"
				}
				all = append(all, name)
			}
			slices.Sort(all)
			return nil, fmt.Errorf("-work: %q is none of %s", item, strings.Join(all, ", "))
		}
		w := workload{kind: kind}
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

// kind is what a workload does and where its rows go.
type kind struct {
	counted bool // written with a number of clients
	run     func(ctx context.Context, b *bench, w workload) error
}

// kinds are the workloads by name.
var kinds map[string]kind

func init() {
	kinds = map[string]kind{
		"simple": {true, queries}, "extended": {true, queries}, "prepared": {true, queries},
		"tls-simple": {true, queries}, "tls-extended": {true, queries}, "tls-prepared": {true, queries},
		"copyout": {false, copyOut}, "tls-copyout": {false, copyOut}, "connect": {true, connects}, "tls-connect": {true, connects},
		"switch": {true, switches}, "ladder": {false, ladder}, "tls-ladder": {false, ladder},
		"tenants": {true, tenantGrowth}, "loops": {true, loopGrowth},
	}
}

// progress says on standard error what is being done.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
