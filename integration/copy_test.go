package integration

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// arrivalRows is a COPY of some rows as one client writes it, in messages that
// do not end where rows end.
func arrivalRows(marker string) []byte {
	rows := strings.Repeat(marker+"\n", 12)
	return join(simple("COPY plain_arrivals FROM STDIN"), copyData(rows[:25]), copyData(rows[25:26]), copyData(rows[26:]), copyDone)
}

// TestACopyCutShortArrivesNowhere lets a client vanish behind every byte of a
// COPY; nothing may be stored, and the next client must not notice.
func TestACopyCutShortArrivesNowhere(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", "session", 1) })
	whole := arrivalRows("cut short")
	for _, ep := range p.everyMode(tenantA) {
		for cut := range len(whole) - 1 {
			w := ep.login(t)
			w.send(whole[:cut])
			depart(w, []string{"FIN", "RST"}[cut%2])
			next := p.as(tenants[cut%2]).in(ep.database).login(t)
			if got := show(next.do(simple("SELECT 'mine', count(*) FROM users"))); !strings.Contains(got, "D[mine|10]") || strings.Count(got, "\n") != 4 {
				t.Fatalf("cut at %d: the next client read %s", cut, got)
			}
			depart(next, "Terminate")
		}
	}
	if n := pg.count(t, "app", "SELECT count(*) FROM plain_arrivals"); n != 0 {
		t.Errorf("%d rows arrived", n)
	}
}

// TestAnErrorInACopyStopsIt sends megabytes behind a bad first row: the error
// must come back, the rest must be dropped, the session must go on.
func TestAnErrorInACopyStopsIt(t *testing.T) {
	pg := sharedPostgres(t)
	run := func(t *testing.T, ep endpoint) {
		for _, header := range [][]byte{simple("COPY pair FROM STDIN"), extended("COPY pair FROM STDIN")} {
			w := ep.login(t)
			w.do(simple("CREATE TEMP TABLE pair (a int, b text)"))
			written := make(chan error, 1)
			go func() {
				_, err := w.conn.Write(header)
				for n := 0; err == nil && n < 400; n++ {
					_, err = w.conn.Write(copyData(strings.Repeat("not a number\n", 5000)))
				}
				if err == nil {
					_, err = w.conn.Write(join(copyDone, syncMessage)) // the Sync is a no-op behind a simple COPY's own end
				}
				written <- err
			}()
			frames := w.until('Z', 1)
			if _, code := lastError(frames); code != "22P02" {
				t.Errorf("%s: %s", ep.name, show(frames))
			}
			if err := <-written; err != nil {
				t.Errorf("%s: the client could not finish: %v", ep.name, err)
			}
			if header[0] == 'Q' {
				w.until('Z', 1) // the Sync's
			}
			if got := w.value("SELECT count(*) FROM pair"); got != "0" {
				t.Errorf("%s: %s rows", ep.name, got)
			}
			w.close()
		}
	}
	everywhere(t, pg, run)
}

// TestACopyOfManyRowsArrivesWhole copies 40 MB in and out again.
func TestACopyOfManyRowsArrivesWhole(t *testing.T) {
	pg := sharedPostgres(t)
	run := func(t *testing.T, ep endpoint) string {
		w := ep.login(t)
		w.do(simple("CREATE TEMP TABLE many (n int, filler text)"))
		go func() {
			_, _ = w.conn.Write(simple("COPY many FROM STDIN"))
			var b strings.Builder
			for n := range 200000 {
				fmt.Fprintf(&b, "%d\t%s\n", n, strings.Repeat("f", 190))
				if n%977 == 976 {
					_, _ = w.conn.Write(copyData(b.String()))
					b.Reset()
				}
			}
			_, _ = w.conn.Write(join(copyData(b.String()), copyDone))
		}()
		w.until('Z', 1)
		if got := w.value("SELECT count(*) || ' ' || sum(n) || ' ' || sum(length(filler)) FROM many"); got != "200000 19999900000 38000000" {
			t.Errorf("%s: %s", ep.name, got)
		}
		w.send(simple("COPY many TO STDOUT"))
		size, sum := hashRows(t, w)
		return fmt.Sprint(size, " ", sum)
	}
	sameEverywhere(t, pg, run)
}

// TestACopyOutThatNobodyReadsEnds stalls in the middle of a COPY out and then
// cancels, or leaves.
func TestACopyOutThatNobodyReadsEnds(t *testing.T) {
	pg := sharedPostgres(t)
	run := func(t *testing.T, ep endpoint) {
		w := ep.login(t)
		w.send(simple("COPY (SELECT repeat('x', 1000), pg_backend_pid() FROM generate_series(1, 50000)) TO STDOUT"))
		w.until('d', 3)
		if err := w.cancel(true); err != nil {
			t.Error(err)
		}
		frames := w.until('Z', 1)
		if _, code := lastError(frames); code != "57014" {
			t.Errorf("%s: a cancelled COPY ended with %v", ep.name, frames[len(frames)-2:])
		}
		w.send(simple("COPY (SELECT repeat('unread', 1000) FROM generate_series(1, 50000)) TO STDOUT"))
		w.until('d', 3)
		w.close()
		eventually(t, 5*time.Second, "the COPY ends", func() bool {
			return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%unread%' AND pid <> pg_backend_pid()") == 0
		})
	}
	everywhere(t, pg, run)
}

// TestTheTailOfALongStreamIsNotHeldBack lets a long COPY pause: what PostgreSQL
// has sent by then arrives, and does not wait for more.
func TestTheTailOfALongStreamIsNotHeldBack(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	const rows, width = 5000, 20000
	for _, ep := range p.everyMode(tenantA) {
		w := ep.login(t)
		w.send(simple(fmt.Sprintf("COPY (SELECT repeat('x', %d), CASE WHEN i = %d THEN pg_sleep(120)::text END FROM generate_series(1, %[2]d) i) TO STDOUT", width, rows)))
		// Up to 8 KB of the last row before the pause stay in the server.
		_ = w.conn.SetReadDeadline(time.Now().Add(wireTimeout))
		if n, err := io.CopyN(io.Discard, w.r, (rows-2)*(width+9)); err != nil {
			t.Errorf("%s: %v after %d bytes", ep.name, err, n)
		}
		w.close()
	}
}

// TestWhatIsNoneOfACopyEndsTheSession as PostgreSQL does it, which has lost the thread
// then, and so do Syncs without end, which PostgreSQL would take.
func TestWhatIsNoneOfACopyEndsTheSession(t *testing.T) {
	p := startProxy(t, sharedPostgres(t))
	for _, ep := range p.everyMode(tenantA) {
		for name, say := range map[string][]byte{
			"a query": simple("SELECT 1"),
			"Syncs":   join(bytes.Repeat(syncMessage, 300), copyData("1\n")),
		} {
			w := ep.login(t)
			w.do(simple("CREATE TEMP TABLE c (i int)"))
			w.send(simple("COPY c FROM STDIN"))
			w.until('G', 1)
			w.send(say)
			if severity, code := lastError(w.rest(10 * time.Second)); code != "08P01" || severity != "FATAL" {
				t.Errorf("%s in %s: %s %s", name, ep.database, severity, code)
			}
		}
	}
}
