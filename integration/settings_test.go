package integration

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// session is a connection that keeps account of the parameters it was told.
type session struct {
	*wire
	told map[string]string
}

func newSession(t testing.TB, ep endpoint, params ...string) *session {
	w := ep.login(t, params...)
	return &session{w, maps.Clone(w.params)}
}

// step sends an exchange and returns what came back but for ParameterStatus, of which it keeps account.
func (s *session) step(e exchange) (frames []frame) {
	s.send(e.bytes)
	for _, f := range s.until('Z', e.ready) {
		if f.typ != 'S' {
			frames = append(frames, f)
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(string(f.body), "\x00"), "\x00")
		s.told[name] = value
	}
	return frames
}

// settings are those of the session that any client may set, and what it was told of them.
func (s *session) settings() string {
	seen := show(s.step(q(`SELECT string_agg(name || '=' || setting, E'\n' ORDER BY name) FROM pg_settings WHERE context = 'user' AND name NOT LIKE '%.%'`)))
	for _, name := range []string{"application_name", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone", "standard_conforming_strings"} {
		seen += "\n" + name + " is told to be " + s.told[name]
	}
	return seen
}

// compare fails with the lines in which two texts differ.
func compare(t *testing.T, what, direct, proxy string) {
	t.Helper()
	if direct == proxy {
		return
	}
	a, b := strings.Split(strings.ReplaceAll(direct, `\n`, "\n"), "\n"), strings.Split(strings.ReplaceAll(proxy, `\n`, "\n"), "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Errorf("%s: direct %q, through the proxy %q", what, a[i], b[i])
		}
	}
	if len(a) != len(b) {
		t.Errorf("%s: %d lines direct, %d through the proxy", what, len(a), len(b))
	}
}

// connecting is what drivers send when they connect: the startup packet and what follows.
var connecting = map[string]struct {
	startup []string
	steps   []exchange
}{
	"JDBC": {
		[]string{"client_encoding", "UTF8", "DateStyle", "ISO", "TimeZone", "Europe/Berlin", "extra_float_digits", "2"},
		[]exchange{
			x(parse("", "SET extra_float_digits = 3"), bind("", ""), execute("", 1)),
			x(parse("", "SET application_name = 'PostgreSQL JDBC Driver'"), bind("", ""), execute("", 1)),
		},
	},
	"HikariCP": {
		[]string{"client_encoding", "UTF8", "DateStyle", "ISO", "TimeZone", "UTC"},
		[]exchange{
			x(parse("", "SET extra_float_digits = 3"), bind("", ""), execute("", 1)),
			x(parse("", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ"), bind("", ""), execute("", 1)),
			x(parse("", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), bind("", ""), execute("", 1)),
		},
	},
	"ActiveRecord": {nil, []exchange{
		q("set client_encoding to 'unicode'"), q("SET client_min_messages TO 'warning'"), q("SET standard_conforming_strings = on"), q("SET intervalstyle = iso_8601"),
		q("SET SESSION timezone TO 'UTC'"), q(`SET search_path TO public, "$user"`), q("SET SESSION statement_timeout TO '15s'"),
	}},
	"Django": {[]string{"client_encoding", "UTF8"}, []exchange{
		q("SET DateStyle TO 'ISO'"), q("SET TIME ZONE 'America/Chicago'"), q("BEGIN; SELECT set_config('TimeZone', 'UTC', false)"), q("COMMIT"),
	}},
	"Sequelize": {nil, []exchange{q("SET client_min_messages TO warning;SET TIME ZONE INTERVAL '+05:30' HOUR TO MINUTE;"), q("SHOW SERVER_VERSION")}},
	"Sequel":    {nil, []exchange{q("SET standard_conforming_strings = ON; SET client_min_messages = 'WARNING'; SET DateStyle = 'ISO'")}},
	"psqlODBC":  {nil, []exchange{q("SET DateStyle = 'ISO';SET extra_float_digits = 2;show transaction_isolation")}},
	"psycopg":   {nil, []exchange{x(parse("", "SELECT set_config('TimeZone', $1, false)"), bind("", "", "Asia/Kathmandu"), describe('P', ""), execute("", 0))}},
}

// TestDriversThatSetSettingsTakeTurns has two connections of each driver on two backends, all of them open at
// once. The settings that each has chosen as it connected stay its own on whatever backend, and none is
// kept from giving its backend up.
func TestDriversThatSetSettingsTakeTurns(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 2)
	clients, want := map[string]*session{}, map[string]string{}
	for name, driver := range connecting {
		direct := newSession(t, pg.direct(tenantA), driver.startup...)
		var answers []string
		for _, e := range driver.steps {
			answers = append(answers, show(direct.step(e)))
		}
		want[name] = direct.settings()
		for n := range 2 {
			c := newSession(t, p.as(tenants[n%2]), driver.startup...)
			for i, e := range driver.steps {
				compare(t, name, answers[i], show(c.step(e)))
			}
			clients[fmt.Sprintf("%s %d", name, n)] = c
		}
	}
	pids := map[string]bool{}
	for range 4 {
		for name, c := range clients { // in another order each time
			driver, _, _ := strings.Cut(name, " ")
			for _, f := range c.do(simple("SELECT pg_backend_pid(), current_setting('app.current_tenant_id')")) {
				switch f.typ {
				case 'S':
					t.Errorf("%s is told %v, which it knows", name, f)
				case 'D':
					pids[f.cells()[0]] = true
					if f.cells()[1] != c.ep.tenant.id {
						t.Fatalf("%s works as %s", name, f.cells()[1])
					}
				}
			}
			compare(t, name, want[driver], c.settings())
		}
	}
	m := p.metrics(t)
	if len(pids) > 2 || m.sum("client_pins_total") != 0 {
		t.Errorf("%d backends served; %v", len(pids), m.of("client_pins_total"))
	}
}

// settingSteps change settings in every way that leaves the client any backend. Other clients work between two
// steps; the exchanges of each are one transaction, or go on with what the one before has prepared.
var settingSteps = [][]exchange{
	{q("SET work_mem = '5MB'")},
	{q("SET work_mem = '6MB'; SELECT 1/0")},
	{q("SET work_mem = 'a lot'")},
	{q("BEGIN"), q("SET work_mem = '7MB'"), q("SELECT 1/0"), q("ROLLBACK")},
	{q("BEGIN"), q("SET work_mem = '8MB'; SAVEPOINT a; SET work_mem = '9MB'; SET jit = off; ROLLBACK TO a"), q("COMMIT")},
	{q("BEGIN; SET LOCAL work_mem = '10MB'; COMMIT")},
	{q("SET work_mem TO DEFAULT")},
	{q("SET statement_timeout = 60000; RESET work_mem")},
	{q("RESET statement_timeout")},
	{q("SET TIME ZONE LOCAL")},
	{q("SET TIME ZONE -7.5")},
	{q("SET TIME ZONE INTERVAL '-03:30' HOUR TO MINUTE")},
	{q("SET TIME ZONE 'PST8PDT'; SET DateStyle = German; SET IntervalStyle = sql_standard")},
	{q("SELECT '2026-01-02 03:04+00'::timestamptz, '1 day'::interval, '02.03.2026'::date")},
	{q("RESET DateStyle")},
	{q("SET application_name = 'näme'")},
	{q("SET application_name = ''")},
	{q("RESET application_name")},
	{q(`SET search_path = "$user", pg_catalog, "a b", 'c"d'`)},
	{q("SET SCHEMA 'public'")},
	{q("SET search_path TO ''")},
	{q("RESET search_path")},
	{q("SELECT set_config('lock_timeout', '7s', false), set_config('jit', 'off', true)")},
	{q("BEGIN; SELECT set_config('lock_timeout', '8s', false); ROLLBACK")},
	{q("RESET ALL")},
	{q("SET lock_timeout = 1000; SET extra_float_digits = 0")},
	{q("BEGIN"), q("RESET ALL"), q("ROLLBACK")},
	{q("BEGIN; RESET ALL"), q("COMMIT")},
	{q("SET lock_timeout = 2000")},
	{q("SELECT 1; RESET ALL; SET hash_mem_multiplier = 3")},
	{q("DISCARD ALL")},
	{q("SET jit = off")},
	{q("DISCARD ALL")},
	{x(parse("", "SET work_mem = '12MB'"), bind("", ""), execute("", 0))},
	{q("SET work_mem = '13MB'"), x(bind("", ""), execute("", 0))},
	{x(parse("", "SET work_mem = '14MB'"))},
	{x(parse("", "SET jit = off")), x(bind("", ""), execute("", 0))},
	{x(parse("", "SET jit = on")), x(parse("", "SELEC")), x(bind("", ""), execute("", 0))},
	{x(parse("", "SELECT set_config('work_mem', $1, false)"), bind("", "", "15MB"), execute("", 0), bind("", "", "16MB"), execute("", 0)), x(bind("", "", "17MB"), execute("", 0))},
	{x(extended("SET work_mem = '18MB'"), extended("SELECT 1/0"))},
	{{join(extended("SET work_mem = '19MB'"), syncMessage, extended("SELECT 1"), syncMessage, simple("SET work_mem = '20MB'"), simple("SELECT 1")), 4}},
	{x(extended("RESET ALL"), extended("SET work_mem = '21MB'"))},
	{x(extended("DISCARD ALL"), extended("SET work_mem = '22MB'"), extended("SHOW work_mem"))},
	{x(extended("SET work_mem = '23MB'"), extended("RESET ALL"))},
	{q("SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on")},
	{q("SHOW transaction_isolation"), q("SHOW transaction_read_only")},
	{q("CREATE TABLE no (a int)")},
	{q("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")},
	{q("RESET ALL")},
	{q("SET NAMES 'LATIN1'")},
	{q("SELECT 'caf\xe9', length('caf\xe9')")},
	{q("SET application_name = 'caf\xe9'")},
	{q("SELECT current_setting('application_name') || '\xe9'")},
	{q("SET NAMES 'UTF8'")},
	{q("SELECT 'café', length('café')")},
	{q("RESET client_encoding")},
	{q("SET standard_conforming_strings = on; SET escape_string_warning = off")},
	{q(`SELECT 'a\'`)},
	{q("SET enable_seqscan = off; SET plan_cache_mode = force_custom_plan; SET random_page_cost = 1.1")},
	{q("DISCARD ALL")},
}

// TestSettingsAreThoseOfAConnectionOfOnesOwn has two clients on one backend, so that each of their transactions
// finds what the other one has left. Every answer, every setting that is seen behind it and every
// ParameterStatus is what a connection of their own gives them.
func TestSettingsAreThoseOfAConnectionOfOnesOwn(t *testing.T) {
	follow := func(t *testing.T, pg *postgres, p *proxy) {
		startups := [][]string{nil, {"TimeZone", "utc", "work_mem", "3MB", "application_name", "mine", "options", "-c lock_timeout=4s -c datestyle=sql"}}
		var direct, proxied []*session
		for n, startup := range startups {
			direct = append(direct, newSession(t, pg.direct(tenantA), startup...))
			proxied = append(proxied, newSession(t, p.as(tenants[n%2]), startup...))
		}
		for i, step := range settingSteps {
			for n := range startups {
				for _, e := range step {
					compare(t, fmt.Sprintf("client %d, step %d, %q", n, i, e.bytes), show(direct[n].step(e)), show(proxied[n].step(e)))
				}
			}
			for n := range startups {
				compare(t, fmt.Sprintf("client %d behind step %d, %q", n, i, step[0].bytes), direct[n].settings(), proxied[n].settings())
			}
			if t.Failed() {
				return
			}
		}
		if m := p.metrics(t); m.sum("client_pins_total") != 0 {
			t.Errorf("%v", m.of("client_pins_total"))
		}
	}
	t.Run("guarded", func(t *testing.T) {
		pg := startPostgres(t)
		follow(t, pg, inTransactions(t, pg, 1))
	})
	t.Run("sealed", func(t *testing.T) {
		pg := startPostgres(t)
		follow(t, pg, sealedProxy(t, pg, "app", func(p *proxy) { p.database("app", "app", "transaction", 1) }))
	})
}
