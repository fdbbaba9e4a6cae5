package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sealedDatabases numbers the databases that tests seal.
var sealedDatabases atomic.Int32

// newSealable makes a database of the sample schema in pg that no other test
// uses; besides the sample's tables it has one for tenants that are text and one
// for numbers.
func newSealable(t testing.TB, pg *postgres) string {
	t.Helper()
	name := fmt.Sprintf("sealed_%d", sealedDatabases.Add(1))
	pg.exec(t, "postgres", "CREATE DATABASE "+name+" OWNER app_owner")
	pg.exec(t, name, "GRANT ALL ON SCHEMA public TO app_owner; SET ROLE app_owner;\n"+articleSQL)
	for _, x := range tenants {
		pg.exec(t, name, fmt.Sprintf(dataSQL, x.id, x.marker))
	}
	pg.exec(t, name, fmt.Sprintf(`SET ROLE app_owner;
		CREATE TABLE words (tenant_id text NOT NULL, w text);
		INSERT INTO words VALUES ('%[1]s', 'alpha'), ('%[2]s', 'bravo'), ('acme', 'acme'), ('7', 'seven');
		CREATE TABLE numbers (tenant_id int NOT NULL, w text);
		INSERT INTO numbers VALUES (7, 'seven'), (8, 'eight');
		ALTER TABLE words ENABLE ROW LEVEL SECURITY; ALTER TABLE numbers ENABLE ROW LEVEL SECURITY;
		CREATE POLICY p ON words USING (tenant_id = current_setting('app.current_tenant_id', true));
		CREATE POLICY p ON numbers USING (tenant_id::text = current_setting('app.current_tenant_id', true));
		GRANT SELECT, INSERT, UPDATE, DELETE ON words, numbers TO app_role;
		CREATE FUNCTION run(sql text) RETURNS text LANGUAGE plpgsql AS 'DECLARE r text; BEGIN EXECUTE sql INTO r; RETURN r; END';
		CREATE FUNCTION run_as_owner(sql text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS 'DECLARE r text; BEGIN EXECUTE sql INTO r; RETURN r; END';
		CREATE VIEW my_users WITH (security_invoker) AS SELECT * FROM users;
		GRANT SELECT ON my_users TO app_role`, tenantA.id, tenantB.id))
	return name
}

// seen is everything that a session sees of the tables of the sample, as one text.
const seen = `SELECT concat((SELECT string_agg(email, ' ') FROM users), (SELECT string_agg(name, ' ') FROM projects),
	(SELECT string_agg(memo, ' ') FROM invoices), (SELECT string_agg(w, ' ') FROM words), (SELECT string_agg(name, ' ') FROM tenants))`

// TestNoSQLOfAClientForgesASealedContext runs, without any guard, what tries to
// get around the latch, each in a session of its own of tenant A. Neither its
// answers nor what the session sees after it may hold anything of tenant B, or of
// the key and its two pads.
func TestNoSQLOfAClientForgesASealedContext(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	pg.exec(t, database, "SELECT tenantgate.protect('tenants', 'id')")
	hi, lo := halves(tenantB.id)
	b := tenantB.id
	forge := "SET app.current_tenant_id = '" + b + "'"
	for name, statements := range map[string][]string{
		"nothing":                       {"SELECT 1"},
		"another tenant":                {forge},
		"an administrator":              {"SET app.is_admin = 'true'"},
		"both":                          {forge, "SET app.is_admin = 'true'"},
		"within a statement":            {"SELECT set_config('app.current_tenant_id', '" + b + "', false), email FROM users", "SELECT u.email FROM users u, LATERAL (SELECT set_config('app.current_tenant_id', '" + b + "', false) OFFSET 0) s"},
		"from a cursor":                 {"BEGIN", "DECLARE c CURSOR FOR SELECT email FROM users", forge, "FETCH ALL FROM c", "COMMIT"},
		"for good measure the marker":   {forge, "SET tenantgate.latch = 'text'", "SELECT tenantgate.current_tenant_id(), tenantgate.tenant()"},
		"no marker":                     {forge, "SET tenantgate.latch = ''"},
		"another marker":                {forge, "SET tenantgate.latch = 'none'"},
		"garbage for a seal":            {forge, "SET tenantgate.latch = ''", "SET tenantgate.seal = 'v1.k1.999999999999.999999999999.AAAAAAAAAAAAAAAAAAAAAAAAAA." + strings.Repeat("0", 64) + "'"},
		"more garbage":                  {forge, "SET tenantgate.latch = ''", "SET tenantgate.seal = '" + strings.Repeat("0", 64) + "'"},
		"a marker without a latch":      {discardUnseen, forge},
		"its own discarded sequences":   {forge, "DISCARD SEQUENCES", forge},
		"setval":                        {"SELECT setval('tenantgate.latch_1', " + hi + "), setval('tenantgate.latch_2', " + lo + ")"},
		"setval by the owner of tables": {"SELECT run_as_owner('SELECT setval(''tenantgate.latch_1'', " + hi + ")')", "SELECT run_as_owner('SELECT setval(''tenantgate.latch_2'', " + lo + ")')"},
		"nextval":                       {"SELECT nextval('tenantgate.latch_1')"},
		"altered sequences":             {"ALTER SEQUENCE tenantgate.latch_1 RESTART " + hi},
		"dropped sequences":             {"DROP SEQUENCE tenantgate.latch_1 CASCADE"},
		"updated sequences":             {"UPDATE tenantgate.latch_1 SET last_value = " + hi},
		"sequences of its own":          {"CREATE TEMP SEQUENCE latch_1 MINVALUE -9223372036854775808", "SELECT setval('latch_1', " + hi + ")", "SET search_path = pg_temp, public"},
		"other people's latches":        {"SELECT last_value, is_called FROM tenantgate.latch_1", "SELECT * FROM pg_sequences WHERE schemaname = 'tenantgate'", "SELECT pg_sequence_last_value('tenantgate.latch_1')"},
		"lastval":                       {"SELECT lastval()"},
		"shadows":                       {"CREATE TEMP TABLE pg_class (x text)", "CREATE FUNCTION pg_temp.currval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT " + hi + "::bigint'", "CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$SELECT '" + b + "'$$", "SET search_path = pg_temp, pg_catalog, public"},
		"shadowing types":               {"CREATE DOMAIN pg_temp.uuid AS text", "SET search_path = pg_temp, pg_catalog, public"},
		"a replaced reader":             {"CREATE OR REPLACE FUNCTION tenantgate.current_tenant_id() RETURNS uuid LANGUAGE sql AS $$SELECT '" + b + "'::uuid$$"},
		"an added reader":               {"CREATE FUNCTION tenantgate.tenant(text) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$"},
		"other settings":                {"SELECT tenantgate.configure('{app.x}')"},
		"a key of its own":              {"SELECT tenantgate.add_key_pads('k9', '', '')", "INSERT INTO tenantgate.key VALUES ('k9', '', '')"},
		"the key":                       {"SELECT encode(ipad, 'hex') FROM tenantgate.key", "COPY tenantgate.key TO STDOUT", "SELECT run('SELECT ipad FROM tenantgate.key')", "SELECT run_as_owner('SELECT ipad FROM tenantgate.key')", "SELECT query_to_xml('SELECT * FROM tenantgate.key', true, false, '')"},
		"entering by itself":            {"SELECT tenantgate.enter('v1.k1.999999999999.999999999999.AAAAAAAAAAAAAAAAAAAAAAAAAA', '\\x00', ARRAY['app.current_tenant_id','" + b + "','app.is_admin','true','app.user_id','']::bytea[])", "SELECT tenantgate.enter(NULL, NULL, NULL)", "SELECT tenantgate.enter('', '', ARRAY[NULL,NULL,NULL,NULL,NULL,NULL]::bytea[])"},
		"no protection":                 {"SELECT tenantgate.unprotect('users')", "DROP POLICY tenantgate_seal ON users", "ALTER TABLE users DISABLE ROW LEVEL SECURITY", "SET row_security = off"},
		"another role":                  {"SET ROLE tenantgate_owner", "SET SESSION AUTHORIZATION tenantgate_owner", "SET ROLE app_owner"},
		"prepared before, run after":    {"PREPARE q AS SELECT email FROM users", "EXECUTE q", forge, "EXECUTE q", "SET plan_cache_mode = force_generic_plan", "EXECUTE q"},
		"a subtransaction":              {"BEGIN", "SAVEPOINT s", forge, "DISCARD SEQUENCES", "ROLLBACK TO s", "COMMIT", forge},
		"a rolled back entry":           {"BEGIN", "RESET ALL", "ROLLBACK", forge},
		"a function of the owner":       {"SELECT run_as_owner($$SELECT set_config('app.current_tenant_id', '" + b + "', false)$$)", "SELECT run_as_owner('SELECT string_agg(email, '' '') FROM users')"},
		"an invoker's view":             {forge, "SELECT email FROM my_users"},
		"a write as the other":          {forge, "INSERT INTO projects (tenant_id, name) VALUES ('" + b + "', 'forged')", "UPDATE projects SET tenant_id = '" + b + "'", "DELETE FROM users WHERE tenant_id = '" + b + "'"},
		"two rows in one write":         {"INSERT INTO projects (tenant_id, name) SELECT t::uuid, set_config('app.current_tenant_id', '" + b + "', false) FROM unnest(ARRAY['" + tenantA.id + "','" + b + "']) t"},
		"PL/pgSQL's own settings":       {"SET plpgsql.extra_errors = 'all'", "DISCARD SEQUENCES", forge},
		"odd settings":                  {"SET standard_conforming_strings = off", "SET bytea_output = 'escape'", "SET quote_all_identifiers = on", "SET transform_null_equals = on", "SET xmloption = document", "DISCARD SEQUENCES", forge},
		"plans that are shown":          {"SET debug_print_plan = on", "SET client_min_messages = log", "DISCARD SEQUENCES", "EXPLAIN (VERBOSE, ANALYZE) SELECT email FROM users"},
		"parallel plans":                {"SET parallel_setup_cost = 0", "SET parallel_tuple_cost = 0", "SET min_parallel_table_scan_size = 0", forge, "SELECT string_agg(email, ' ') FROM users"},
	} {
		t.Run(name, func(t *testing.T) {
			c := p.as(tenantA).pgconn(t)
			defer closeSoon(c)
			var answers strings.Builder
			for _, sql := range statements {
				rows, err := tryQuery(c, sql)
				fmt.Fprintln(&answers, rows, err)
			}
			_, _ = tryQuery(c, "ROLLBACK")
			rows, err := tryQuery(c, seen)
			fmt.Fprintln(&answers, rows, err)
			for _, secret := range []string{tenantB.marker, sealKeys["k1"][:16], "68973636", "02fd5c5c"} {
				if strings.Contains(answers.String(), secret) {
					t.Errorf("%q is in the answers:\n%s", secret, answers.String())
				}
			}
			if name == "nothing" && !strings.Contains(answers.String(), tenantA.marker) {
				t.Errorf("the tenant does not see its own: %s", answers.String())
			}
		})
	}
	if got := pg.exec(t, database, "SELECT count(*) FROM projects WHERE tenant_id = '"+b+"' AND (name = 'forged' OR name NOT LIKE '%bravo%')"); got[0][0] != "0" {
		t.Errorf("%s rows of tenant B were written", got[0][0])
	}
	if w := one(t, p.as(tenantB).pgconn(t), seen); !strings.Contains(w, "bravo") || strings.Contains(w, "alpha") {
		t.Errorf("tenant B sees %s", w)
	}
}

// halves are the two halves of a uuid as numbers.
func halves(id string) (hi, lo string) {
	digits := strings.ReplaceAll(id, "-", "")
	h, _ := strconv.ParseUint(digits[:16], 16, 64)
	l, _ := strconv.ParseUint(digits[16:], 16, 64)
	return strconv.FormatInt(int64(h), 10), strconv.FormatInt(int64(l), 10)
}

// TestAnEntryIsVerifiedOnceAndLatched looks at what an entry leaves in the session.
func TestAnEntryIsVerifiedOnceAndLatched(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	c := p.as(tenantA).pgconn(t)
	const running = "SELECT query FROM pg_stat_activity WHERE usename = 'app_user' AND datname = '%s' AND query LIKE '%%tenantgate.enter(%%'"
	if rows := pg.exec(t, database, fmt.Sprintf(running, database)); len(rows) != 1 || strings.Contains(rows[0][0], "v1.k1") || strings.Contains(rows[0][0], tenantA.id) {
		t.Errorf("what can be seen of the entry: %q", rows)
	}
	const state = "SELECT current_setting('tenantgate.latch') || current_setting('tenantgate.seal')"
	if got := one(t, c, state); got != "uuid" {
		t.Errorf("the latch is %q", got)
	}
	hi, lo := halves(tenantA.id)
	if got := one(t, c, "SELECT concat(currval('tenantgate.latch_1'), ' ', currval('tenantgate.latch_2'))"); got != hi+" "+lo {
		t.Errorf("the latch holds %s", got)
	}
	if got := pg.exec(t, database, "SELECT count(*) FROM (SELECT last_value, is_called FROM tenantgate.latch_1 UNION SELECT last_value, is_called FROM tenantgate.latch_2 UNION SELECT last_value, is_called FROM tenantgate.latch_3 UNION SELECT last_value, is_called FROM tenantgate.latch_4) x WHERE last_value <> 0 OR is_called"); got[0][0] != "0" {
		t.Error("other sessions can see what was latched")
	}
	for _, sql := range []string{
		"SELECT tenantgate.tenant()", "SELECT tenantgate.current_tenant_id()", "SELECT tenantgate.claim('app.current_tenant_id')",
	} {
		if got := one(t, c, sql); got != tenantA.id {
			t.Errorf("%s: %s", sql, got)
		}
	}
	if got := one(t, c, "SELECT concat_ws(' ', tenantgate.claim('app.user_id'), tenantgate.claim('APP.User_ID'), tenantgate.claim('search_path') IS NULL, tenantgate.is_admin(), tenantgate.tenant_number() IS NULL)"); got != "somebody somebody t f t" {
		t.Errorf("the claims are %q", got)
	}
	// A setting that was changed is no claim any more, nor is any other of its context.
	query(t, c, "SET app.user_id = 'root'")
	if got := one(t, c, "SELECT concat_ws(' ', tenantgate.claim('app.user_id') IS NULL, tenantgate.tenant() IS NULL, tenantgate.is_admin(), tenantgate.current_tenant_id())"); got != "t t f "+tenantA.id {
		t.Errorf("with a forged claim: %q", got)
	}
	query(t, c, "RESET ALL")
	if got := one(t, c, "SELECT tenantgate.claim('app.user_id')"); got != "somebody" {
		t.Errorf("after RESET ALL: %q", got)
	}
	// A direct session without an entry sees nothing, and no error.
	for _, sql := range []string{"SELECT tenantgate.current_tenant_id()", "SELECT tenantgate.tenant()", "SELECT tenantgate.claim('app.user_id')", "SELECT tenantgate.tenant_number()"} {
		if got := pg.exec(t, database, sql+" IS NULL"); got[0][0] != "t" {
			t.Errorf("without an entry %s is not null", sql)
		}
	}
}

// TestAdministratorsSeeAllOnlyWithASealedClaim compares a token that earns the
// admin setting with sessions that set it themselves.
func TestAdministratorsSeeAllOnlyWithASealedClaim(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	a := p.as(tenantA, admin).pgconn(t)
	if got := one(t, a, "SELECT count(DISTINCT tenant_id) FROM users"); got != "2" {
		t.Errorf("the administrator sees %s tenants", got)
	}
	if got := one(t, a, "SELECT tenantgate.is_admin()"); got != "t" {
		t.Errorf("is_admin: %s", got)
	}
	if got := one(t, a, "SELECT count(*) FROM words"); got != "1" {
		t.Errorf("a table without a policy for administrators shows %s rows", got)
	}
	c := p.as(tenantA).pgconn(t)
	query(t, c, "SET app.is_admin = 'true'")
	if got := one(t, c, "SELECT count(DISTINCT tenant_id) FROM users"); got != "1" {
		t.Errorf("who only says to be one sees %s tenants", got)
	}
}

// TestTenantsMayBeTextOrNumbers seals tenants that are no uuids.
func TestTenantsMayBeTextOrNumbers(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database, with("auth/tenant_format", "text"))
	for _, tt := range []struct{ tenant, words, numbers, latch string }{
		{"acme", "acme", "NULL", "text"},
		{"7", "seven", "seven", "text"},
		{"nobody's; \\ \"ünï\"", "NULL", "NULL", "text"},
		{tenantA.id, "alpha", "NULL", "uuid"},
		{strings.ToUpper(tenantA.id), "NULL", "NULL", "uuid"},
		{"99999999999999999999999", "NULL", "NULL", "text"},
	} {
		c := p.as(tenant{id: tt.tenant, marker: "alpha"}).pgconn(t)
		if got := one(t, c, "SELECT current_setting('tenantgate.latch')"); got != tt.latch {
			t.Errorf("%q: the latch is %s", tt.tenant, got)
		}
		if got := one(t, c, "SELECT tenantgate.tenant()"); got != tt.tenant {
			t.Errorf("%q: the tenant is %q", tt.tenant, got)
		}
		if got := one(t, c, "SELECT tenantgate.current_tenant_id() IS NULL"); got != fmt.Sprintf("%.1s", strconv.FormatBool(tt.latch == "text")) {
			t.Errorf("%q: whether it is no uuid: %s", tt.tenant, got)
		}
		for range 2 {
			if got := one(t, c, "SELECT string_agg(w, ' ') FROM words"); got != tt.words {
				t.Errorf("%q: the words are %q", tt.tenant, got)
			}
			if got := one(t, c, "SELECT string_agg(w, ' ') FROM numbers"); got != tt.numbers {
				t.Errorf("%q: the numbers are %q", tt.tenant, got)
			}
			tt.words, tt.numbers = "NULL", "NULL" // once it has named somebody else, nothing
			query(t, c, "SET app.current_tenant_id = '"+tenantB.id+"'")
		}
		// A latch of text does not turn into a uuid by its marker.
		if _, err := tryQuery(c, "SET tenantgate.latch = 'uuid'"); err != nil {
			t.Error(err)
		}
		if got := one(t, c, "SELECT count(*) FROM users WHERE tenant_id = tenantgate.current_tenant_id()"); tt.latch == "text" && got != "0" {
			t.Errorf("%q: %s users", tt.tenant, got)
		}
	}
}

// TestALatchThatAClientDiscardsIsSetAgain discards sequences in every way that a
// statement can, in and out of transactions, and expects the rows to stay.
func TestALatchThatAClientDiscardsIsSetAgain(t *testing.T) {
	pg := sharedPostgres(t)
	p := sealedProxy(t, pg, newSealable(t, pg))
	for name, statements := range map[string][]string{
		"simple":                {"DISCARD SEQUENCES"},
		"discard all":           {"DISCARD ALL"},
		"reset all":             {"RESET ALL"},
		"the marker":            {"RESET tenantgate.latch"},
		"committed":             {"BEGIN", "DISCARD SEQUENCES", "?", "COMMIT"},
		"rolled back":           {"BEGIN", "DISCARD SEQUENCES", "?", "ROLLBACK"},
		"savepoint":             {"BEGIN", "SAVEPOINT s", "DISCARD SEQUENCES", "?", "ROLLBACK TO s", "?", "COMMIT"},
		"read-only":             {"BEGIN READ ONLY", "?", "DISCARD SEQUENCES", "?", "COMMIT"},
		"read-only rolled back": {"BEGIN READ ONLY", "DISCARD SEQUENCES", "?", "ROLLBACK"},
		"read-only reset":       {"BEGIN READ ONLY", "RESET ALL", "?", "COMMIT"},
		"failed":                {"DISCARD SEQUENCES; SELECT 1/0"},
		"failed transaction":    {"BEGIN", "DISCARD SEQUENCES; SELECT 1/0", "ROLLBACK"},
		"several":               {"BEGIN; DISCARD SEQUENCES; COMMIT; BEGIN", "?", "ROLLBACK"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
				c := p.as(tenantA).pgx(t)
				want := func() {
					t.Helper()
					var n int
					if err := c.QueryRow(context.Background(), "SELECT count(*) FROM users", mode).Scan(&n); err != nil || n != 10 {
						t.Errorf("%d users, error %v", n, err)
					}
				}
				for _, sql := range statements {
					if sql == "?" {
						want()
						continue
					}
					_, err := c.Exec(context.Background(), sql, mode)
					if err != nil && !strings.Contains(sql, "1/0") && !strings.Contains(sql, ";") {
						t.Fatalf("%s: %v", sql, err)
					}
				}
				want()
				if got := one(t, c.PgConn(), "SELECT current_setting('tenantgate.latch')"); got != "uuid" {
					t.Errorf("the latch is %q", got)
				}
			}
		})
	}
}

// TestALatchIsSetAgainWithinABatch discards it in the middle of a pipeline, with
// no Sync between.
func TestALatchIsSetAgainWithinABatch(t *testing.T) {
	pg := sharedPostgres(t)
	p := sealedProxy(t, pg, newSealable(t, pg))
	for _, begin := range []string{"SELECT 1", "BEGIN", "BEGIN READ ONLY"} {
		c := p.as(tenantA).pgx(t)
		batch := &pgx.Batch{}
		for _, sql := range []string{begin, "DISCARD SEQUENCES", "SELECT count(*) FROM users", "ROLLBACK", "SELECT count(*) FROM users"} {
			batch.Queue(sql)
		}
		results := c.SendBatch(context.Background(), batch)
		for range 2 {
			if _, err := results.Exec(); err != nil {
				t.Fatalf("%s: %v", begin, err)
			}
		}
		var n int
		if err := results.QueryRow().Scan(&n); err != nil || n != 10 {
			t.Errorf("%s: %d users in the batch, error %v", begin, n, err)
		}
		if err := results.Close(); err != nil {
			t.Errorf("%s: %v", begin, err)
		}
		if got := one(t, c.PgConn(), "SELECT concat(current_setting('tenantgate.latch'), count(*)) FROM users"); got != "uuid10" {
			t.Errorf("%s: behind the batch: %s", begin, got)
		}
		// The transaction ends in a cycle of its own.
		if _, err := c.Exec(context.Background(), begin); err != nil {
			t.Fatal(err)
		}
		batch = &pgx.Batch{}
		batch.Queue("DISCARD SEQUENCES")
		batch.Queue("SELECT count(*) FROM users")
		if err := c.SendBatch(context.Background(), batch).Close(); err != nil {
			t.Errorf("%s: %v", begin, err)
		}
		if _, err := c.Exec(context.Background(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		if got := one(t, c.PgConn(), "SELECT concat(current_setting('tenantgate.latch'), count(*)) FROM users"); got != "uuid10" {
			t.Errorf("%s: behind its transaction: %s", begin, got)
		}
	}
}

// TestAReadOnlySessionIsEntered serves clients whose default is read-only: by the
// latch if they ask for it, by the seal itself where the role cannot do otherwise.
func TestAReadOnlySessionIsEntered(t *testing.T) {
	pg := startPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	ep := p.as(tenantA)
	cfg, err := pgconn.ParseConfig(ep.dsn())
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["default_transaction_read_only"] = "on"
	c, err := pgconn.ConnectConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSoon(c) })
	const state = "SELECT concat_ws(' ', current_setting('transaction_read_only'), current_setting('tenantgate.latch'), count(*), min(tenant_id::text)) FROM users"
	for _, sql := range []string{"", "RESET ALL", "DISCARD ALL"} {
		query(t, c, sql)
		if got := one(t, c, state); got != "on uuid 10 "+tenantA.id {
			t.Errorf("after %q: %s", sql, got)
		}
	}
	query(t, c, "DISCARD SEQUENCES")
	if got := one(t, c, state); got != "on none 10 "+tenantA.id {
		t.Errorf("after DISCARD SEQUENCES: %s", got)
	}
	pg.exec(t, "postgres", "ALTER ROLE app_user SET default_transaction_read_only = on")
	pg.exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_user'")
	eventually(t, 10*time.Second, "a session is kept by its seal", func() bool {
		return one(t, p.as(tenantB).pgconn(t), state) == "on none 10 "+tenantB.id
	})
	d := p.as(tenantB).pgconn(t)
	query(t, d, "SET app.current_tenant_id = '"+tenantA.id+"'")
	if got := one(t, d, "SELECT count(*) FROM users"); got != "0" {
		t.Errorf("with another tenant than the seal's: %s users", got)
	}
	query(t, d, "RESET ALL; BEGIN READ WRITE")
	if got := one(t, d, state); got != "off uuid 10 "+tenantB.id {
		t.Errorf("in a transaction that writes: %s", got)
	}
}
