package integration

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// guardOff leaves the session layer alone with its promises: clients may say anything.
func guardOff(p *proxy) {
	for _, rule := range []string{"context", "hidden_sql", "shared_role", "channels"} {
		p.set("context/guard/"+rule, "off")
	}
}

// fingerprintSQL asks a session for everything that an earlier client could have
// left in it.
var fingerprintSQL = []string{
	"SELECT name, setting, reset_val FROM pg_settings WHERE source NOT IN ('default', 'configuration file', 'command line', 'override') ORDER BY name",
	"SELECT current_setting('app.current_tenant_id', true), current_setting('app.is_admin', true), current_setting('app.user_id', true)",
	"SELECT coalesce(current_setting('my.residue', true), ''), current_user, session_user, current_setting('role'), current_setting('search_path')",
	"SELECT name, is_holdable FROM pg_cursors",
	"SELECT pg_listening_channels()",
	"SELECT locktype, objid, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'",
	"SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
	"SELECT proname FROM pg_proc WHERE pronamespace = pg_my_temp_schema()",
	"SELECT name, statement FROM pg_prepared_statements WHERE name IN ('left_behind', 'left_behind_too')",
	"SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only'), now() = statement_timestamp()",
	"SELECT count(*), min(email), max(email) FROM users",
}

// fingerprint renders the answers.
func fingerprint(t *testing.T, c *pgconn.PgConn) string {
	t.Helper()
	var b strings.Builder
	for _, sql := range fingerprintSQL {
		fmt.Fprintf(&b, "%s\n  %q\n", sql, query(t, c, sql))
	}
	return b.String()
}

// residue is one thing that a client leaves in its session.
type residue struct {
	name  string
	leave func(w *wire)
	dirty bool // the backend may be closed instead of being given back
}

// say makes a residue of SQL statements, one message each.
func say(statements ...string) func(w *wire) {
	return func(w *wire) {
		for _, sql := range statements {
			frames := w.do(simple(sql))
			if _, code := lastError(frames); code != "" {
				w.t.Errorf("%s: %s", sql, show(frames))
			}
		}
	}
}

// send makes a residue of bytes whose answers nobody reads.
func send(messages ...[]byte) func(w *wire) {
	return func(w *wire) { w.send(messages...) }
}

// residues lists what must not survive the client.
var residues = []residue{
	{name: "nothing", leave: func(*wire) {}},
	{name: "custom setting", leave: say("SET my.residue = 'x'", "SELECT set_config('my.residue', 'y', false)")},
	{name: "settings", leave: say("SET work_mem = '5MB'", "SET TimeZone = 'Asia/Tokyo'", "SET statement_timeout = '7s'", "SET DateStyle = 'German'")},
	{name: "the settings of the context", leave: say("SET app.is_admin = 'true'", "SET app.user_id = 'somebody else'",
		"SET app.current_tenant_id = '33333333-3333-4333-8333-333333333333'")},
	{name: "search_path", leave: say("SET search_path = pg_temp, nowhere")},
	{name: "read-only session", leave: say("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE")},
	{name: "settings that upset the proxy's own statements", leave: say("SET standard_conforming_strings = off", "SET client_encoding = 'LATIN1'",
		"SET exit_on_error = on", "SET default_transaction_read_only = on", "SET row_security = off", "SET statement_timeout = '1ms'")},
	{name: "role", leave: say("SET ROLE app_role")},
	{name: "temporary table and function", leave: say("CREATE TEMP TABLE left_behind AS SELECT * FROM users",
		"CREATE FUNCTION pg_temp.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1'")},
	{name: "shadowing temporary table", leave: say("CREATE TEMP TABLE users AS SELECT * FROM public.users")},
	{name: "prepared statements", leave: func(w *wire) {
		say("PREPARE left_behind AS SELECT * FROM users")(w)
		w.do(parse("left_behind_too", "SELECT * FROM users"), syncMessage)
	}},
	{name: "cursor", leave: say("DECLARE left_behind CURSOR WITH HOLD FOR SELECT * FROM users", "FETCH 1 FROM left_behind")},
	{name: "advisory lock", leave: say("SELECT pg_advisory_lock(42)", "SELECT pg_advisory_lock_shared(43)")},
	{name: "listen", leave: say("LISTEN left_behind", "NOTIFY left_behind, 'to myself'")},
	{name: "open transaction", leave: say("BEGIN", "INSERT INTO users (email) VALUES ('left@behind')"), dirty: true},
	{name: "failed transaction", leave: func(w *wire) { w.do(simple("BEGIN; SELECT 1/0")) }, dirty: true},
	{name: "open transaction with savepoint and cursor", leave: say("BEGIN", "SAVEPOINT s", "DECLARE left_behind CURSOR FOR SELECT * FROM users"), dirty: true},
	{name: "no Sync", leave: send(extended("SELECT email FROM users"), flush), dirty: true},
	{name: "an error and no Sync", leave: send(extended("SELECT 1/0"), flush), dirty: true},
	{name: "half a header", leave: send(simple("SELECT 1")[:3]), dirty: true},
	{name: "half a statement", leave: send(simple("SELECT email FROM users")[:12]), dirty: true},
	{name: "half a Parse", leave: send(parse("", "SELECT email FROM users")[:20]), dirty: true},
	{name: "an unread answer", leave: send(simple("SELECT email FROM users")), dirty: true},
	{name: "a large unread answer", leave: send(simple("SELECT repeat(email, 1000) FROM users, generate_series(1, 200)")), dirty: true},
	{name: "a running statement", leave: send(simple("SELECT email, pg_sleep(60) FROM users")), dirty: true},
	{name: "COPY in cut short", leave: func(w *wire) {
		say("CREATE TEMP TABLE left_behind (t text)")(w)
		w.send(simple("COPY left_behind FROM STDIN"), copyData("one\n"))
		w.until('G', 1)
		w.send(copyData("two\nthree\n")[:7])
	}, dirty: true},
	{name: "COPY in awaited", leave: func(w *wire) {
		say("CREATE TEMP TABLE left_behind (t text)")(w)
		w.send(simple("COPY left_behind FROM STDIN"))
		w.until('G', 1)
	}, dirty: true},
	{name: "COPY out unread", leave: send(simple("COPY (SELECT repeat(email, 1000) FROM users, generate_series(1, 200)) TO STDOUT")), dirty: true},
	{name: "pipelined queries", leave: send(manyQueries(200)), dirty: true},
	{name: "pipelined transaction", leave: send(simple("BEGIN"), simple("DELETE FROM users"), simple("SELECT email FROM users"), extended("SELECT 1")), dirty: true},
}

// manyQueries is a burst of simple and extended queries for the tenant's users.
func manyQueries(n int) []byte {
	var b []byte
	for i := range n {
		sql := fmt.Sprintf("SELECT email, 'vanished %d' FROM users", i)
		if i%2 == 0 {
			b = append(b, simple(sql)...)
		} else {
			b = append(append(b, extended(sql)...), syncMessage...)
		}
	}
	return b
}

// TestNothingOfAClientReachesTheNext leaves every kind of residue on the only
// backend of a pool, by a polite and an abrupt departure, and lets a client of
// the same and of the other tenant look for it.
func TestNothingOfAClientReachesTheNext(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, guardOff, func(p *proxy) { p.database("app", "app", "session", 1) })
	fresh := map[tenant]string{}
	for _, x := range tenants {
		c := p.as(x).pgconn(t)
		fresh[x] = fingerprint(t, c)
		closeSoon(c)
	}
	for _, r := range residues {
		for _, departure := range []string{"Terminate", "FIN", "RST"} {
			for _, next := range []tenant{tenantA, tenantB} {
				t.Run(fmt.Sprintf("%s/%s/%s", r.name, departure, next.marker), func(t *testing.T) {
					w := p.as(tenantA).login(t)
					pid := w.value("SELECT pg_backend_pid()")
					r.leave(w)
					depart(w, departure)
					c := p.as(next).pgconn(t)
					if got := fingerprint(t, c); got != fresh[next] {
						same(t, "the next client", fresh[next], got)
					}
					if got := one(t, c, "SELECT pg_backend_pid()"); !r.dirty && got != pid {
						t.Errorf("the backend was not given back: %s, then %s", pid, got)
					}
					closeSoon(c)
				})
			}
		}
	}
	if n := pg.count(t, "app", "SELECT count(*) FROM users"); n != 20 {
		t.Errorf("%d users are left", n)
	}
}

// TestTempBuffersMayBeRefusedOnce pins a limit: PostgreSQL takes temp_buffers only
// before a process has used a temporary table, whoever's that was.
func TestTempBuffersMayBeRefusedOnce(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", "session", 1) })
	login := func() string {
		w, err := p.as(tenantB).tryLogin(t, "options", "-c temp_buffers=3MB")
		if err != nil {
			return err.Error()
		}
		defer depart(w, "Terminate")
		return w.value("SHOW temp_buffers")
	}
	w := p.as(tenantA).login(t)
	w.do(simple("CREATE TEMP TABLE t AS SELECT 1"))
	depart(w, "Terminate")
	if first, second := login(), login(); !strings.Contains(first, "C=22023") || second != "3MB" {
		t.Errorf("behind a temporary table: %s, then %s", first, second)
	}
	if again := login(); again != "3MB" {
		t.Errorf("behind a client that used none: %s", again)
	}
}

// depart ends a client in one of three ways.
func depart(w *wire, how string) {
	switch how {
	case "Terminate":
		w.send(terminate)
		w.close()
	case "FIN":
		w.close()
	case "RST":
		w.reset()
	}
}

// TestTheNextTenantsRandomNumbersAreItsOwn holds that a seed, which DISCARD ALL
// does not undo, does not predict what another tenant draws.
func TestTheNextTenantsRandomNumbersAreItsOwn(t *testing.T) {
	pg := sharedPostgres(t)
	for _, mode := range poolModes {
		p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", mode, 1) })
		c := pg.direct(tenantA).pgconn(t)
		query(t, c, "SELECT setseed(0.42)")
		foretold := one(t, c, "SELECT random()")
		for range 3 {
			a := p.as(tenantA).login(t)
			pid := a.value("SELECT pg_backend_pid()")
			a.value("SELECT setseed(0.42)::text IS NULL")
			depart(a, "Terminate")
			b := p.as(tenantB).login(t)
			if got := b.value("SELECT random()"); got == foretold {
				t.Errorf("%s mode: the other tenant drew the number that was seeded: %s", mode, got)
			}
			if got := b.value("SELECT pg_backend_pid()"); got != pid {
				t.Errorf("%s mode: the backend was not reused: %s, %s", mode, pid, got)
			}
			depart(b, "Terminate")
		}
	}
}

// TestABackendThatDiedInThePoolIsNotHandedOut kills the idle backend between two
// clients, and under an idle client.
func TestABackendThatDiedInThePoolIsNotHandedOut(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", "session", 1) })
	for range 10 {
		w := p.as(tenantA).login(t)
		pid := w.value("SELECT pg_backend_pid()")
		depart(w, "Terminate")
		pg.exec(t, "postgres", "SELECT pg_terminate_backend("+pid+")")
		next := p.as(tenantB).login(t)
		if got := next.value("SELECT count(*) FROM users"); got != "10" {
			t.Fatalf("after the backend was killed: %s users", got)
		}
		depart(next, "Terminate")
	}
	w := p.as(tenantA).login(t)
	pg.exec(t, "postgres", "SELECT pg_terminate_backend("+w.value("SELECT pg_backend_pid()")+")")
	frames := w.rest(5 * time.Second)
	if severity, code := lastError(frames); severity != "FATAL" || code != "57P01" {
		t.Errorf("the client of a killed backend read %s", show(frames))
	}
	if got := p.as(tenantB).login(t).value("SELECT count(*) FROM users"); got != "10" {
		t.Errorf("the next client sees %s users", got)
	}
}

// TestAClientThatIsGoneStopsCosting holds that a running statement is cancelled
// when its client goes, instead of running on for nobody.
func TestAClientThatIsGoneStopsCosting(t *testing.T) {
	pg := sharedPostgres(t)
	for _, mode := range poolModes {
		for _, departure := range []string{"FIN", "RST"} {
			p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", mode, 1) })
			w := p.as(tenantA).login(t)
			w.send(simple("SELECT pg_sleep(61)"))
			running := func() bool {
				return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_user' AND state = 'active'") > 0
			}
			eventually(t, 5*time.Second, "the statement runs", running)
			depart(w, departure)
			eventually(t, 2*time.Second, "the statement is cancelled", func() bool { return !running() })
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			c, err := pgconn.Connect(ctx, p.as(tenantB).dsn())
			if err != nil {
				t.Fatalf("%s mode, %s: the next client: %v", mode, departure, err)
			}
			closeSoon(c)
			cancel()
		}
	}
}

// TestTwoThousandUnreadAnswersReachNobody lets clients pipeline and vanish in
// front of a long-lived innocent one and of new ones.
func TestTwoThousandUnreadAnswersReachNobody(t *testing.T) {
	pg := sharedPostgres(t)
	for _, mode := range poolModes {
		t.Run(mode, func(t *testing.T) {
			p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", mode, 2) })
			innocent := p.as(tenantB).login(t)
			burst := manyQueries(2000)
			for n := range 15 {
				w := p.as(tenantA).login(t)
				_ = w.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				_, err := w.conn.Write(burst)
				if err != nil && !gone(err) && !isTimeout(err) {
					t.Fatal(err)
				}
				depart(w, []string{"FIN", "RST"}[n%2])
				for _, c := range []*wire{innocent, p.as(tenants[n%2]).login(t)} {
					nonce := fmt.Sprintf("'nonce %d'", n)
					frames := c.do(simple("SELECT " + nonce + ", count(*), current_setting('app.current_tenant_id') FROM users"))
					if want := fmt.Sprintf("D[nonce %d|10|%s]", n, c.ep.tenant.id); !strings.Contains(show(frames), want) || len(frames) != 4 {
						t.Fatalf("round %d, %s: %s", n, c.ep.tenant.marker, show(frames))
					}
					if c != innocent {
						depart(c, "Terminate")
					}
				}
			}
		})
	}
}

// isTimeout says that an error is a deadline that passed.
func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// TestAFrozenBackendIsNotPooled freezes the one backend while its client leaves:
// the reset cannot be proven, so the next client gets another backend.
func TestAFrozenBackendIsNotPooled(t *testing.T) {
	pg := startPostgres(t)
	p := startProxy(t, pg, with("timeouts/server_reset_timeout", "500ms"), func(p *proxy) { p.database("app", "app", "session", 1) })
	w := p.as(tenantA).login(t)
	pid := w.value("SELECT pg_backend_pid()")
	var n int
	if _, err := fmt.Sscan(pid, &n); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(n, syscall.SIGCONT) }()
	depart(w, "Terminate")
	if got := p.as(tenantB).login(t).value("SELECT pg_backend_pid()"); got == pid {
		t.Error("a backend that did not answer was handed on")
	}
}
