package integration

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is one run of the two-tenant load.
type load struct {
	t        testing.TB
	endpoint func(x tenant) endpoint
	deadline time.Time

	mu        sync.Mutex
	broken    []string
	sessions  atomic.Int64
	exchanges atomic.Int64
	rows      atomic.Int64
	kills     atomic.Int64
	cancels   atomic.Int64
}

// loadClient is one session of the load.
type loadClient struct {
	load    *load
	rng     *rand.Rand
	w       *wire
	check   loadCheck
	name    string
	serial  int
	said    []string // the exchanges so far, for a failure's text
	hasTemp bool
	flying  sync.WaitGroup // cancels
}

// fail records a broken promise.
func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.broken) < 20 {
		l.broken = append(l.broken, fmt.Sprintf(format, args...))
	}
}

// client runs sessions one after the other until the time is over.
func (l *load) client(number int) {
	rng := rand.New(rand.NewPCG(uint64(number), *loadSeed))
	for n := 0; time.Now().Before(l.deadline); n++ {
		c := &loadClient{load: l, rng: rng, name: fmt.Sprintf("n%d.%d", number, n), check: loadCheck{x: tenants[rng.IntN(2)]}}
		if err := c.session(); err != nil {
			l.fail("%s, session %s, having said %v: %v", c.check.x.marker, c.name, c.said, err)
			return
		}
		l.sessions.Add(1)
		l.rows.Add(int64(c.check.rows))
	}
}

// session logs in, makes a few exchanges and leaves, politely or not. An error
// is a broken promise.
func (c *loadClient) session() error {
	ep := c.load.endpoint(c.check.x)
	w, err := ep.tryDial(c.load.t)
	if err != nil {
		return err
	}
	c.w = w
	defer w.close()
	defer c.flying.Wait()
	if _, err := w.conn.Write(startup("user", ep.user, "database", ep.database)); err != nil {
		return err
	}
	if c.rng.IntN(20) == 0 { // a client that gives up at the password
		return nil
	}
	if err := c.w.authenticate(); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	if gone, err := c.exchange(c.residue()); gone || err != nil {
		return err
	}
	for range 1 + c.rng.IntN(8) {
		bytes, groups := c.pick()
		if c.rng.IntN(6) == 0 { // several exchanges in one write
			for range c.rng.IntN(10) {
				more, owed := c.pick()
				bytes, groups = join(bytes, more), append(groups, owed...)
			}
		}
		if gone, err := c.exchange(bytes, groups); gone || err != nil {
			return err
		}
	}
	if c.rng.IntN(2) == 0 {
		_, _ = w.conn.Write(terminate)
	}
	return nil
}

// exchange sends the bytes and reads what they owe. Now and then the client
// vanishes at a random byte, in either direction, or a cancel flies.
func (c *loadClient) exchange(bytes []byte, groups [][]string) (gone bool, err error) {
	c.load.exchanges.Add(1)
	c.said = append(c.said, fmt.Sprintf("%d bytes;", len(bytes)))
	c.check.owe(groups...)
	if c.rng.IntN(8) == 0 {
		return true, c.vanish(bytes)
	}
	if c.rng.IntN(12) == 0 {
		c.cancel()
	}
	// A write of its own goroutine: the server may answer long before it has read all.
	written := make(chan error, 1)
	go func() {
		_ = c.w.conn.SetWriteDeadline(time.Now().Add(wireTimeout))
		_, err := c.w.conn.Write(bytes)
		written <- err
	}()
	for !c.check.settled() {
		f, err := c.w.read()
		if err != nil {
			return true, fmt.Errorf("%w; owed are %q", err, c.check.groups)
		}
		if err := c.check.frame(f); err != nil {
			return true, err
		}
	}
	return false, <-written
}

// vanish sends some of the bytes, reads some of the answers, and closes.
func (c *loadClient) vanish(bytes []byte) error {
	c.load.kills.Add(1)
	if c.rng.IntN(3) > 0 {
		bytes = bytes[:c.rng.IntN(len(bytes)+1)]
	}
	_ = c.w.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.w.conn.Write(bytes)
	if c.rng.IntN(4) == 0 {
		c.cancel()
	}
	// Rows that do arrive are judged too; silence is no fault of the server here.
	for range c.rng.IntN(20) {
		f, err := c.w.readWithin(20 * time.Millisecond)
		if err != nil {
			break
		}
		if err := c.check.frame(f); err != nil {
			return err
		}
	}
	if c.rng.IntN(2) == 0 {
		c.w.reset()
	}
	return nil
}

// cancel sends a CancelRequest for this session at some moment soon.
func (c *loadClient) cancel() {
	c.check.cancelled = true
	c.load.cancels.Add(1)
	delay, wait := time.Duration(c.rng.IntN(3000))*time.Microsecond, c.rng.IntN(3) > 0
	c.flying.Go(func() {
		time.Sleep(delay) // a random moment of the race, nothing waits for it
		_ = c.w.cancel(wait)
	})
}

// nonce is a value that no other statement of the run uses.
func (c *loadClient) nonce() string {
	c.serial++
	return fmt.Sprintf("%s.%d", c.name, c.serial)
}

// residue asks a fresh session for traces of the one before it.
func (c *loadClient) residue() ([]byte, [][]string) {
	n := c.nonce()
	return simple(fmt.Sprintf(`SELECT '%s', current_setting('app.current_tenant_id'), 1 / (coalesce(current_setting('load.residue', true), '') = '')::int,
		1 / (to_regclass('load_in') IS NULL)::int, 1 / (NOT EXISTS (SELECT FROM pg_cursors))::int, 1 / (NOT EXISTS (SELECT FROM pg_listening_channels()))::int,
		1 / (current_setting('search_path') = '"$user", public')::int, 1 / (current_user = session_user)::int,
		1 / (NOT EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'))::int`, n)), [][]string{{n}}
}

// rowsOf is a query whose every row carries the nonce and the tenant in force.
func rowsOf(nonce string, limit int) string {
	return fmt.Sprintf("SELECT %s, current_setting('app.current_tenant_id'), marker, tenant_id, repeat(marker, 20) FROM load_rows LIMIT %d", nonce, limit)
}

// pick makes the bytes of one exchange and what they owe.
func (c *loadClient) pick() ([]byte, [][]string) {
	n, m := c.nonce(), c.nonce()
	x := c.check.x
	kind := c.rng.IntN(13)
	c.said = append(c.said, strconv.Itoa(kind))
	switch kind {
	case 0:
		return simple(rowsOf("'"+n+"'", 5)), [][]string{{n}}
	case 1: // several statements in one message
		return simple(rowsOf("'"+n+"'", 2) + ";" + rowsOf("'"+m+"'", 3)), [][]string{{n, m}}
	case 2:
		return join(extended(rowsOf("$1::text", 5), n), syncMessage), [][]string{{n}}
	case 3:
		return c.pipeline()
	case 4: // an error in the middle of a pipeline: the rest up to Sync is skipped
		return join(extended(rowsOf("$1::text", 1), n), extended("INSERT INTO load_rows (tenant_id, marker, nonce) VALUES ($1::uuid, $2, $3)",
				x.other().id, x.marker, "forged"), extended(rowsOf("$1::text", 1), "skipped"), syncMessage, simple(rowsOf("'"+m+"'", 1))),
			[][]string{{n, "!42501"}, {m}}
	case 5:
		return simple("COPY (" + rowsOf("'"+n+"'", 50) + ") TO STDOUT"), [][]string{{n}}
	case 6:
		return c.copyIn(n)
	case 7: // a transaction that is taken back: its nonce must never be seen in the table
		return join(simple("BEGIN"), simple(fmt.Sprintf("INSERT INTO load_rows (marker, nonce) VALUES ('%s', 'taken back')", x.marker)),
			simple(rowsOf("'"+n+"'", 3)), simple("ROLLBACK")), [][]string{{""}, {""}, {n}, {""}}
	case 8: // the same statement name in every client, with its own text
		return join(parse("s1", rowsOf("'"+n+"'", 2)), syncMessage, bind("", "s1"), execute("", 0), syncMessage, closeOf('S', "s1"), syncMessage),
			[][]string{{}, {n}, {}}
	case 9: // traces in the session
		return simple(fmt.Sprintf("SET load.residue = '%s'; SET search_path = pg_catalog, public; SELECT pg_advisory_lock_shared(%d) IS NULL, current_setting('app.current_tenant_id') LIMIT 0;"+
				"LISTEN load_channel; DECLARE load_cursor CURSOR WITH HOLD FOR SELECT marker FROM load_rows LIMIT 1; CLOSE load_cursor", n, c.rng.IntN(1000))),
			[][]string{{"", "", "", "", "", ""}}
	case 10: // what pools of drivers send at every release, and the context after it
		reset := []string{"RESET ALL", "DISCARD ALL"}[c.rng.IntN(2)]
		if reset == "DISCARD ALL" {
			c.hasTemp = false
		}
		return join(simple(reset), simple(rowsOf("'"+n+"'", 2))), [][]string{{""}, {n}}
	case 11: // a result that fills every buffer on its way
		return simple(fmt.Sprintf("SELECT '%s', current_setting('app.current_tenant_id'), repeat('%s', 200) FROM generate_series(1, 500)", n, x.marker)), [][]string{{n}}
	default:
		return simple(fmt.Sprintf("SELECT '%s', current_setting('app.current_tenant_id') FROM pg_sleep(0.003)", n)), [][]string{{n}}
	}
}

// pipeline is a run of extended queries, some with a Sync of their own.
func (c *loadClient) pipeline() ([]byte, [][]string) {
	var bytes []byte
	var groups [][]string
	var group []string
	for range 2 + c.rng.IntN(30) {
		n := c.nonce()
		bytes, group = join(bytes, extended(rowsOf("$1::text", 3), n)), append(group, n)
		if c.rng.IntN(3) > 0 {
			bytes, groups, group = join(bytes, syncMessage), append(groups, group), nil
		}
	}
	return join(bytes, syncMessage), append(groups, group)
}

// copyIn loads a temporary table by COPY and takes its rows over.
func (c *loadClient) copyIn(n string) ([]byte, [][]string) {
	var bytes []byte
	var groups [][]string
	if !c.hasTemp {
		bytes, groups, c.hasTemp = simple("CREATE TEMP TABLE load_in (nonce text, marker text)"), [][]string{{""}}, true
	}
	rows := strings.Repeat(n+"\t"+c.check.x.marker+"\n", 20)
	bytes = join(bytes, simple("COPY load_in FROM STDIN"), copyData(rows[:len(rows)/3]), copyData(rows[len(rows)/3:]), copyDone,
		simple(fmt.Sprintf("SELECT nonce, current_setting('app.current_tenant_id'), marker FROM load_in WHERE nonce = '%s'", n)),
		simple("INSERT INTO load_rows (marker, nonce) SELECT marker, nonce FROM load_in LIMIT 2; DELETE FROM load_rows WHERE nonce <> 'seed'; DELETE FROM load_in"))
	return bytes, append(groups, []string{""}, []string{n}, []string{"", "", ""})
}
