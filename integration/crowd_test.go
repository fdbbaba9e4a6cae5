package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// crowdSize is how many clients come, each of a tenant of its own.
var crowdSize = flag.Int("crowd", 600, "clients, and tenants, of the crowd that comes and leaves")

// crowdPool is how many backends serve the crowd.
const crowdPool = 100

// crowd is many clients of many tenants on one proxy.
type crowd struct {
	p         *proxy
	endpoints []endpoint
	members   []*pgconn.PgConn
}

// TestACrowdComesStaysWorksAndLeavesNothing holds that clients of very many
// tenants are kept apart, cost no CPU while they rest, and that memory, file
// descriptors and goroutines are what they were when they have left.
func TestACrowdComesStaysWorksAndLeavesNothing(t *testing.T) {
	pg := sharedPostgres(t)
	for i, mode := range poolModes {
		held := *crowdSize
		if mode == "session" {
			held = crowdPool // each has a backend of its own
		}
		name := "app"
		if i > 0 {
			name = "app_" + mode
		}
		p := startProxy(t, pg, with("log/level", "warn"), func(p *proxy) { p.database(name, "app", mode, crowdPool) })
		c := &crowd{p: p}
		for n := range *crowdSize {
			x := tenant{id: fmt.Sprintf("33333333-3333-4333-8333-%012d", n)}
			c.endpoints = append(c.endpoints, p.as(x).in(name))
		}
		// The first crowd fills what stays on purpose: pools, and the cache of tokens.
		c.pass(t, held)
		before := c.footprint(t)
		c.pass(t, held)
		after := c.footprint(t)
		t.Logf("%s: after the first crowd %v, after the second %v", mode, before, after)
		if after.heap > before.heap+512**crowdSize { // a client that is not forgotten keeps more than that
			t.Errorf("%s: the heap grew by %d KB", mode, (after.heap-before.heap)>>10)
		}
		if after.files > before.files || after.goroutines > before.goroutines+2 {
			t.Errorf("%s: %v became %v", mode, before, after)
		}
	}
}

// pass lets the crowd come, held of them at a time, work, rest, work and leave.
func (c *crowd) pass(t *testing.T, held int) {
	t.Helper()
	for from := 0; from < len(c.endpoints); from += held {
		to := min(from+held, len(c.endpoints))
		c.members = make([]*pgconn.PgConn, to-from)
		c.each(t, func(i int) (err error) {
			c.members[i], err = pgconn.Connect(context.Background(), c.endpoints[from+i].dsn())
			return err
		})
		work := func(i int) error { return isTenant(c.members[i], c.endpoints[from+i].tenant) }
		c.each(t, work)
		if from == 0 {
			c.rest(t)
		}
		c.each(t, work)
		c.each(t, func(i int) error {
			closeSoon(c.members[i])
			return nil
		})
	}
}

// each does something with all the members, several at a time.
func (c *crowd) each(t *testing.T, do func(i int) error) {
	t.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, 16)
	for w := range errs {
		group.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(c.members) {
					return
				}
				errs[w] = do(i)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// rest measures the CPU time while nobody asks for anything: timers, too, must
// not go through all the clients again and again.
func (c *crowd) rest(t *testing.T) {
	t.Helper()
	const window = time.Second
	used := c.p.metrics(t)["process_cpu_seconds_total"]
	time.Sleep(window) // what is measured is this time
	used = c.p.metrics(t)["process_cpu_seconds_total"] - used
	t.Logf("%d clients at rest: %.0f ms of CPU in %v", len(c.members), used*1000, window)
	if used > 0.25*window.Seconds() {
		t.Errorf("%d clients at rest cost %.2f s of CPU in %v", len(c.members), used, window)
	}
}

// isTenant says whether the session is that tenant's, and sees nobody's rows.
func isTenant(conn *pgconn.PgConn, x tenant) error {
	rows, err := tryQuery(conn, "SELECT current_setting('app.current_tenant_id'), (SELECT count(*) FROM users)")
	if err != nil {
		return err
	}
	if len(rows) != 1 || rows[0][0] != x.id || rows[0][1] != "0" {
		return fmt.Errorf("tenant %s sees %q", x.id, rows)
	}
	return nil
}

// footprint is what a process holds.
type footprint struct {
	heap       int // bytes that can be reached
	files      int
	goroutines int
}

// String is for logs.
func (f footprint) String() string {
	return fmt.Sprintf("%d KB of heap, %d files, %d goroutines", f.heap>>10, f.files, f.goroutines)
}

// footprint waits until the sessions have ended and the backends are clean again,
// and reads what is left. Of the heap that is what a collection could reach, for
// when garbage goes depends on everything else. The scrapes make the collector run,
// and what the running one holds counts, so that it is the least of many. The first
// three do not count: one may have begun before the crowd had left, and what rests
// in a sync.Pool goes two later.
func (c *crowd) footprint(t *testing.T) footprint {
	t.Helper()
	var m metrics
	eventually(t, 30*time.Second, "the crowd has left", func() bool {
		m = c.p.metrics(t)
		return m.sum("client_connections")+m.sum("server_connections", `state="tested"`)+m.sum("server_connections", `state="active"`) == 0
	})
	const collections = "go_gc_duration_seconds_count"
	heap, goroutines, first := math.MaxInt, math.MaxInt, m[collections]+3
	eventually(t, 60*time.Second, "collections of garbage", func() bool {
		m = c.p.metrics(t)
		if m[collections] >= first {
			heap = min(heap, int(m["go_gc_heap_live_bytes"]))
			goroutines = min(goroutines, int(m["go_goroutines"]))
		}
		return m[collections] >= first+20
	})
	if heap == 0 {
		t.Fatal("the proxy does not tell its live heap")
	}
	return footprint{heap, int(m["process_open_fds"]), goroutines}
}

// TestTheLimitOfOpenFilesIsRaisedAndSaid starts the proxy with a soft limit that
// is far too low, and with a hard one.
func TestTheLimitOfOpenFilesIsRaisedAndSaid(t *testing.T) {
	pg := sharedPostgres(t)
	const said = "limit of open files is too low"
	for _, c := range []struct {
		limits string
		clear  bool
	}{
		{"ulimit -Sn 64", true},
		{"ulimit -Sn 64; ulimit -Hn 300", false},
	} {
		p := newProxy(t, pg, with("limits/max_client_conn", 400))
		shell := exec.Command("sh", "-c", c.limits+`; exec "$0" "$@"`, proxyBinary(t), "serve", "-config", p.configFile)
		p.launchAs(t, shell)
		p.awaitReady(t)
		var soft, hard int
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
				if _, err := fmt.Sscan(rest, &soft, &hard); err != nil {
					t.Fatal(err)
				}
			}
		}
		if soft < hard-1 { // the Go runtime leaves one out
			t.Errorf("%s: the soft limit is %d, the hard one %d", c.limits, soft, hard)
		}
		if got := !strings.Contains(p.log.String(), said); got != c.clear {
			t.Errorf("%s: %q in the log: %t", c.limits, said, !got)
		}
		p.finish(t)
	}
}
