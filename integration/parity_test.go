package integration

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"strings"
	"testing"
	"time"
)

// exchange is one write and the number of ReadyForQuery that it owes.
type exchange struct {
	bytes []byte
	ready int
}

// q is one simple query.
func q(sql string) exchange { return exchange{simple(sql), 1} }

// x is one pipeline that ends with one Sync.
func x(messages ...[]byte) exchange { return exchange{join(append(messages, syncMessage)...), 1} }

// paritySessions are sessions whose whole traffic must be the same direct and
// through the proxy, message by message and field by field.
var paritySessions = map[string][]exchange{
	"types": {q(`SELECT 1::int2, 2::int4, 3::int8, 1.5::float4, 1e300::float8, 12.340::numeric, true, 'x'::text, 'y'::varchar(10), 'z'::char(5),
		'\xdeadbeef'::bytea, '2026-01-02'::date, '2026-01-02 03:04:05.678'::timestamp, '2026-01-02 03:04:05+06'::timestamptz, '1 day 2 hours'::interval,
		'{"a": [1, 2]}'::json, '{"b": 1}'::jsonb, ARRAY[1, 2, NULL]::int[], '[1,5)'::int4range, '192.0.2.1'::inet, gen_random_uuid() IS NOT NULL,
		NULL::text, ''::text, row(1, 'a'), '<a/>'::xml, 'fat & rat'::tsquery, '(1,2)'::point, B'101', '08:00:2b:01:02:03'::macaddr, 'pg_class'::regclass`)},
	"errors": {
		q("SELECT 1/0"), q("SELEC"), q("SELECT nope FROM users"), q("SELECT * FROM nope"), q("INSERT INTO users VALUES (NULL)"), q("SELECT 'x'::int"),
		q("INSERT INTO tenants VALUES (gen_random_uuid(), 'x')"), q("INSERT INTO users (tenant_id, email) VALUES (gen_random_uuid(), 'x')"), q("SELECT 1; SELECT 1/0; SELECT 2"),
		q("BEGIN"), q("SELECT 1/0"), q("SELECT 1"), q("ROLLBACK"), q("COMMIT"), q("SELECT 1"), q("SELECT chr(0)"), q("SELECT E'\\xff'"), q("SELECT \U0001F600 FROM"),
		q("SET no.such_thing = 1"), q("SET no_such_thing = 1"), q("SET work_mem = 'a lot'"), q("LOCK TABLE users"), q("CREATE TABLE public.t (a int)"), q("DROP TABLE users"),
	},
	"notices": {
		q("SELECT warn('first'), warn('second')"), q("SET client_min_messages = debug1"), q("CREATE TEMP TABLE n (a serial PRIMARY KEY)"), q("DROP TABLE IF EXISTS nope"),
		x(extended("SELECT warn('in the extended protocol')")), q("ROLLBACK"), q("BEGIN"), q("BEGIN"), q("END"),
	},
	"parameter status": {
		q("SET application_name = 'a name'"), q("SET TimeZone = 'Asia/Tokyo'"), q("SET DateStyle = 'German, DMY'"), q("SET client_encoding = 'LATIN1'"), q("SET IntervalStyle = 'iso_8601'"),
		q("BEGIN"), q("SET TimeZone = 'UTC'"), q("ROLLBACK"), q("SET standard_conforming_strings = on"), q("RESET ALL"), q("DISCARD ALL"), q("SELECT set_config('application_name', 'x', false)"),
	},
	"prepared statements": {
		x(parse("s", "SELECT $1::int + 1"), describe('S', "s")), x(bind("", "s", "41"), describe('P', ""), execute("", 0)), x(bind("p", "s", "1"), execute("p", 0), execute("p", 0), closeOf('P', "p")),
		x(parse("s", "SELECT 2")), x(closeOf('S', "s")), x(bind("", "s", "1")), x(closeOf('S', "never")), x(describe('S', "never")), x(parse("", "SELECT 'unnamed'")), x(bind("", ""), execute("", 0)),
		q("PREPARE sql_one AS SELECT 1"), x(bind("", "sql_one"), execute("", 0)), q("EXECUTE sql_one"), q("DEALLOCATE sql_one"), x(bind("", "sql_one")), x(parse("t", "SELECT * FROM users WHERE email = $1"), describe('S', "t")),
		q("DEALLOCATE t"), x(parse("t", "SELECT 1")), q("DEALLOCATE ALL"), x(parse("t", "SELECT 2"), bind("", "t"), execute("", 0)), x(parse("bad", "SELEC")), x(describe('S', "bad")),
	},
	"pipelines": {
		x(extended("SELECT 1"), extended("SELECT 2"), extended("SELECT 3")), x(extended("SELECT 1"), extended("SELECT 1/0"), extended("SELECT 3")),
		{join(extended("SELECT 1"), syncMessage, extended("SELECT 1/0"), syncMessage, extended("SELECT 3"), syncMessage), 3},
		{join(simple("SELECT 1"), simple("SELECT 1/0"), simple("SELECT 2"), simple("")), 4},
		{join(simple("BEGIN"), extended("SELECT 1/0"), syncMessage, simple("SELECT 1"), simple("ROLLBACK")), 4},
		{join(syncMessage, syncMessage, flush, syncMessage), 3},
		x(extended("BEGIN"), extended("SELECT count(*) FROM users"), extended("COMMIT")), x(extended("CREATE TEMP TABLE rolled_back (a int)"), extended("SELECT 1/0")), q("SELECT to_regclass('rolled_back')"), x(parse("", ""), bind("", ""), execute("", 0)),
		x(parse("", "SELECT 1; SELECT 2")), x(extended("SELECT 1/0"), simple("SELECT 'swallowed'"), extended("SELECT 'swallowed'")), q("SELECT 'goes on'"),
	},
	"portals": {
		x(parse("", "SELECT n FROM generate_series(1, 7) n"), bind("", ""), execute("", 3), execute("", 3), execute("", 3), execute("", 3)), q("BEGIN"), x(parse("", "SELECT n, hash FROM plain_numbers WHERE n < 6 ORDER BY n"), bind("p", ""), execute("p", 2)),
		x(execute("p", 2)), x(describe('P', "p")), q("SELECT name FROM pg_cursors"), q("FETCH 1 FROM p"), x(closeOf('P', "p")), x(execute("p", 1)), q("ROLLBACK"),
		q("BEGIN; DECLARE c SCROLL CURSOR FOR SELECT n FROM generate_series(1, 10) n; FETCH 3 FROM c; FETCH BACKWARD 1 FROM c; MOVE 2 FROM c; FETCH ALL FROM c; CLOSE c; COMMIT"),
	},
	"copy": {
		q("CREATE TEMP TABLE c (a int, b text)"),
		{join(simple("COPY c FROM STDIN"), copyData("1\tone\n2\ttw"), copyData("o\n"), copyDone), 1},
		{join(simple("COPY c FROM STDIN (FORMAT csv)"), copyData("3,\"three, or so\"\n"), copyDone), 1},
		q("SELECT * FROM c ORDER BY a"),
		{join(simple("COPY c FROM STDIN"), copyData("x\tnot a number\n"), copyDone), 1},
		{join(simple("COPY c FROM STDIN"), copyData("9\tnine\n"), copyFail("changed my mind")), 1},
		q("COPY c TO STDOUT"), q("COPY (SELECT * FROM plain_numbers ORDER BY n LIMIT 50) TO STDOUT (FORMAT binary)"),
		q("COPY c TO STDOUT; SELECT 'and more'; COPY c TO STDOUT"),
		{join(simple("COPY c FROM STDIN; SELECT count(*) FROM c"), copyData("4\tfour\n"), copyDone), 1},
		{join(extended("COPY c FROM STDIN"), copyData("5\tfive\n"), copyDone, syncMessage), 1},
		{join(extended("COPY c FROM STDIN"), syncMessage, copyData("6\tsix\n"), flush, copyDone, syncMessage), 1},
		x(extended("COPY c TO STDOUT")),
		{join(extended("COPY c FROM STDIN"), copyFail("no"), syncMessage), 1},
		{join(copyData("stray"), copyDone, copyFail("stray"), simple("SELECT count(*) FROM c")), 1},
		q("COPY users FROM STDIN"), q("COPY nope TO STDOUT"),
		{join(simple("COPY c FROM STDIN"), copyDone), 1},
		{join(simple("BEGIN"), simple("COPY c FROM STDIN"), copyData("bad\n"), copyDone, simple("SELECT 1"), simple("ROLLBACK")), 4},
	},
	"notifications": {q("LISTEN a"), q("NOTIFY a, 'payload'"), q("BEGIN"), q("NOTIFY a, 'later'"), q("SELECT 1"), q("COMMIT"), q("SELECT pg_notify('a', repeat('x', 7000))"), q("UNLISTEN *"), q("NOTIFY a"), q("SELECT 1")},
	"transactions": {
		q("BEGIN"), q("SAVEPOINT a"), q("SELECT 1/0"), q("ROLLBACK TO a"), q("SELECT 1"), q("RELEASE a"), q("COMMIT AND CHAIN"), q("ROLLBACK AND NO CHAIN"), q("BEGIN; SELECT 1; COMMIT; SELECT 2"), q("SELECT 1; BEGIN"), q("ROLLBACK; SELECT 3"), q("ABORT"),
		q("START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"), q("INSERT INTO users (email) VALUES ('x')"), q("END"), q("SET TRANSACTION READ ONLY"),
	},
	"catalogue": {q("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0"), q("EXPLAIN (COSTS OFF) SELECT * FROM users"), q("SHOW server_version"), q("SHOW search_path"), q("SELECT current_database(), current_schema()")},
}

// play runs a session and renders its traffic.
func play(ep endpoint, t *testing.T, session []exchange, split int) string {
	t.Helper()
	w := ep.login(t)
	defer w.close()
	var b strings.Builder
	for n, e := range session {
		if split > 0 {
			for at := 0; at < len(e.bytes); at += split {
				w.send(e.bytes[at:min(at+split, len(e.bytes))])
			}
		} else {
			w.send(e.bytes)
		}
		fmt.Fprintf(&b, "exchange %d\n%s", n, strings.ReplaceAll(show(w.until('Z', e.ready)), ep.user, "USER"))
	}
	return b.String()
}

// TestTheTrafficIsTheServersOwn plays every session direct and through the
// proxy, in large and in tiny writes.
func TestTheTrafficIsTheServersOwn(t *testing.T) {
	pg := sharedPostgres(t)
	want := map[string]string{}
	t.Run("direct", func(t *testing.T) {
		for name, session := range paritySessions {
			want[name] = play(pg.direct(tenantA), t, session, 0)
			same(t, name+" twice", want[name], play(pg.direct(tenantA), t, session, 3))
		}
	})
	t.Run("proxy", func(t *testing.T) {
		p := startProxy(t, pg)
		for name, session := range paritySessions {
			t.Run(name, func(t *testing.T) {
				for _, ep := range p.everyMode(tenantA) {
					same(t, ep.database, want[name], play(ep, t, session, 0))
					same(t, ep.database+", 7 bytes a write", want[name], play(ep, t, session, 7))
					same(t, ep.database+", a byte a write", want[name], play(ep, t, session, 1))
				}
			})
		}
	})
}

// TestTheLoginTellsTheSameParameters compares the ParameterStatus values of the
// login, with and without startup parameters of the client's own.
func TestTheLoginTellsTheSameParameters(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	for _, params := range [][]string{
		nil,
		{"application_name", "my app"},
		{"client_encoding", "'utf-8'"},
		{"client_encoding", "UNICODE"},
		{"client_encoding", "LATIN1"},
		{"DateStyle", "ISO"},
		{"datestyle", "ISO, MDY"},
		{"TimeZone", "Europe/Berlin", "extra_float_digits", "2"},
		{"IntervalStyle", "iso_8601"},
		{"options", "-c TimeZone=Asia/Tokyo -c application_name=with\\ blanks --IntervalStyle=postgres"},
		{"statement_timeout", "60000", "idle_in_transaction_session_timeout", "60000"},
		{"search_path", "pg_catalog"},
		{"options", "-c statement_timeout=5s"},
	} {
		const read = "SELECT current_setting('statement_timeout') || current_setting('search_path') || current_setting('extra_float_digits') || current_setting('idle_in_transaction_session_timeout')"
		login := func(ep endpoint) string {
			w := ep.login(t, params...)
			text := w.loginBurst() + "\n" + w.value(read)
			w.do(simple("DISCARD ALL")) // goes back to what the startup said
			return strings.ReplaceAll(text+"\n"+w.value(read)+"\n"+w.value("SHOW TimeZone"), ep.user, "USER")
		}
		// The proxy's role is not the direct one.
		want := strings.ReplaceAll(login(pg.direct(tenantA)), "session_authorization=USER", "session_authorization=app_user")
		for _, ep := range p.everyMode(tenantA) {
			same(t, fmt.Sprintf("%q in %s", params, ep.database), want, login(ep))
		}
	}
	for _, params := range [][]string{
		{"DateStyle", "nonsense"}, {"no_such_setting", "1"}, {"work_mem", "-1"}, {"client_encoding", "KLINGON"}, {"options", "-c statement_timeout=soon"}, {"server_version", "1"}, {"max_connections", "1"},
	} {
		refused := func(ep endpoint) string {
			_, err := ep.tryLogin(t, params...)
			return fmt.Sprint(err)
		}
		want, got := refused(pg.direct(tenantA)), refused(p.as(tenantA))
		if code := wordWith(want, "C="); want == "<nil>" || got == "<nil>" || wordWith(got, "C=") != code || !strings.Contains(got, "FATAL") {
			t.Errorf("%q: direct %s, proxy %s", params, want, got)
		}
	}
	for _, value := range []string{"true", "on", "1", "database", "yes"} {
		if _, err := p.as(tenantA).tryLogin(t, "replication", value); err == nil || !strings.Contains(err.Error(), "C=0A000") {
			t.Errorf("replication=%s: %v", value, err)
		}
	}
	for _, params := range [][]string{
		{"app.current_tenant_id", tenantB.id},
		{"app.is_admin", "true"},
		{"APP.IS_ADMIN", "true"},
		{"role", "app_owner"},
		{"session_authorization", "postgres"},
		{"session_replication_role", "replica"},
		{"options", "-c app.current_tenant_id=" + tenantB.id},
		{"options", "-capp.is_admin=true"},
		{"options", "--app.is_admin=true"},
		{"options", "-c role=app_owner"},
		{"options", "-c \\app.is_admin=true"},
	} {
		if _, err := p.as(tenantA).tryLogin(t, params...); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%q: %v", params, err)
		}
	}
}

// wordWith is the first word of the text that starts with the prefix.
func wordWith(text, prefix string) string {
	for word := range strings.FieldsSeq(text) {
		if word = strings.TrimLeft(word, "E["); strings.HasPrefix(word, prefix) {
			return word
		}
	}
	return ""
}

// hashRows reads answers until ReadyForQuery and hashes every byte of them.
func hashRows(t *testing.T, w *wire) (size int64, sum string) {
	t.Helper()
	var head [5]byte
	var h hash.Hash = sha256.New()
	for {
		_ = w.conn.SetReadDeadline(time.Now().Add(wireTimeout))
		if _, err := io.ReadFull(w.r, head[:]); err != nil {
			t.Fatal(err)
		}
		h.Write(head[:])
		n, err := io.CopyN(h, w.r, int64(binary.BigEndian.Uint32(head[1:]))-4)
		if err != nil {
			t.Fatal(err)
		}
		if size += n; head[0] == 'Z' {
			return size, fmt.Sprintf("%x", h.Sum(nil))
		}
	}
}

// TestLargeMessagesGoThroughWhole sends and fetches far more than any buffer
// holds and compares hashes.
func TestLargeMessagesGoThroughWhole(t *testing.T) {
	pg := sharedPostgres(t)
	long := strings.Repeat("0123456789abcdef", 4<<20) // 64 MiB
	run := func(t *testing.T, ep endpoint) []string {
		var sums []string
		for _, bytes := range [][]byte{
			simple("SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) n"),
			simple("COPY (SELECT n, repeat('y', 1000) FROM generate_series(1, 20000) n) TO STDOUT"),
			simple("SELECT repeat('z', 20000000)"),
			join(parse("", "SELECT length($1::text)"), bind("", "", long), execute("", 0), syncMessage),
			join(parse("", "SELECT $1::text"), bind("", "", long[:10<<20]), execute("", 0), syncMessage),
			simple("SELECT length('" + long[:3<<20] + "')"),
			join(parse("", "SELECT length('"+long[:3<<20]+"')"), bind("", ""), execute("", 0), syncMessage),
		} {
			w := ep.login(t)
			go func() { _, _ = w.conn.Write(bytes) }()
			size, sum := hashRows(t, w)
			sums = append(sums, fmt.Sprint(size, " ", sum))
			w.close()
		}
		return sums
	}
	var want []string
	t.Run("direct", func(t *testing.T) { want = run(t, pg.direct(tenantA)) })
	t.Run("proxy", func(t *testing.T) {
		p := startProxy(t, pg)
		for _, ep := range p.everyMode(tenantA) {
			same(t, ep.database, strings.Join(want, "\n"), strings.Join(run(t, ep), "\n"))
		}
		if rss := p.residentBytes(t); !raceEnabled && rss > 128<<20 {
			t.Errorf("the proxy holds %d MiB after 100 MB results", rss>>20)
		}
	})
}
