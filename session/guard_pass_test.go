package session

import (
	"testing"
)

func TestGuardPassesWhatClientsSend(t *testing.T) {
	for _, sql := range []string{
		``, `;`, `-- ping`, `/* nothing */`, ` `, "--",
		`SELECT 1`, `(SELECT 1) UNION ALL (SELECT 2)`,
		`SELECT tenantgate.current_tenant_id(), enter(1), rooms.enter(2), tenantgate, "tenantgate".claim('app.user_id')`,
		// Drivers and their pools.
		`SET extra_float_digits = 3`, `SET application_name = 'x'`, `SET application_name = E'it\'s'`,
		`SET DateStyle = 'ISO';SET extra_float_digits = 2;show transaction_isolation`,
		`SET TIME ZONE 'UTC'`, `SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE`, `SET SESSION timezone TO 'UTC'`,
		`SET client_min_messages TO warning;SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE;`,
		`SET standard_conforming_strings = on`, `SET standard_conforming_strings TO TRUE`,
		`SELECT set_config('standard_conforming_strings', 'on', false)`,
		`SET intervalstyle = iso_8601`, `SET bytea_output='escape'`, `set datestyle to ISO`,
		`SET client_encoding TO 'UTF8'`, `SET client_encoding = 'utf-8'`, `SET NAMES 'LATIN1'`, `SET NAMES`, `SET NAMES DEFAULT`,
		`set client_encoding to 'iso_8859-15'`, `SET client_encoding = unicode`,
		`SELECT set_config('client_encoding', 'UTF8', false)`,
		`SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;`,
		`DISCARD ALL`, `DEALLOCATE a1`, `DEALLOCATE ALL`, `BEGIN`, `COMMIT`, `ROLLBACK`, `BEGIN ISOLATION LEVEL SERIALIZABLE`,
		`SAVEPOINT s; RELEASE s; ROLLBACK TO SAVEPOINT s; COMMIT AND CHAIN`,
		`SET TRANSACTION ISOLATION LEVEL READ COMMITTED`, `SET TRANSACTION SNAPSHOT '00000003-1'`,
		`SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED`,
		`SET CONSTRAINTS ALL DEFERRED`, `SET SCHEMA 'x'`, `SET XML OPTION DOCUMENT`,
		`SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore'`,
		`SELECT current_setting('app.current_tenant_id'), current_setting('app.x', true)`, `SHOW app.current_tenant_id`,
		`SELECT pg_catalog.version()`, `show standard_conforming_strings`, `SELECT * FROM pg_settings`,
		// pg_dump and pg_restore.
		`SELECT pg_catalog.set_config('search_path', '', false)`, `SELECT set_config('restrict_nonsystem_relation_kind', 'view, foreign-table', false)`,
		`SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`,
		`SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`,
		`SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind' ; -- x`,
		// psql and others read pg_settings.
		`SELECT s.name AS "Parameter" FROM pg_catalog.pg_settings s WHERE s.source <> 'default' ORDER BY 1;`,
		`CREATE TABLE seen AS SELECT * FROM pg_settings`, `INSERT INTO seen SELECT name, setting FROM pg_settings`,
		`WITH s AS (SELECT * FROM pg_settings) SELECT * INTO TEMP seen FROM s`, `EXPLAIN SELECT * FROM pg_settings`,
		`SET row_security = off`, `SET statement_timeout = 0`, `SET idle_in_transaction_session_timeout = 0`,
		`SELECT set_config('search_path'::text, $1, true)`, `SELECT set_config('request.jwt.claims', $1, true)`,
		`LOCK TABLE public.t IN ACCESS SHARE MODE`, `COPY public.t (a, b) TO stdout;`, `COPY t FROM STDIN`,
		`COMMENT ON FUNCTION set_config(text, text, boolean) IS 'x'`, `DROP FUNCTION query_to_xml(text)`,
		`GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO r`, `REVOKE ALL ON FUNCTION pg_catalog.set_config(text,text,boolean) FROM PUBLIC`,
		`ALTER TABLE ONLY public.t ADD CONSTRAINT p PRIMARY KEY (id)`, `ALTER TABLE t ALTER COLUMN a SET DEFAULT 1`,
		`ALTER TABLE t SET SCHEMA app`, `ALTER TABLE t SET (fillfactor = 70)`, `ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r`,
		`CREATE INDEX CONCURRENTLY i ON t (lower(a))`, `CREATE TABLE t (id uuid DEFAULT gen_random_uuid())`,
		`CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()`, `CREATE TEMP VIEW v AS SELECT 1`,
		`CREATE POLICY p ON t USING (tenant_id = current_setting('app.current_tenant_id')::uuid)`,
		`CREATE USER MAPPING FOR x SERVER s`, `DROP USER MAPPING FOR x SERVER s`, `ALTER USER MAPPING FOR x SERVER s OPTIONS (a 'b')`,
		`DROP TABLE t`, `DROP EXTENSION x`, `TRUNCATE t`, `VACUUM ANALYZE t`, `REFRESH MATERIALIZED VIEW v`,
		// The own value, and the way back to it.
		`SET app.current_tenant_id = 'acme'`, `SET app.current_tenant_id TO 'acme';`, `SET LOCAL "app"."current_tenant_id" = acme`,
		`SET app.is_admin = false`, `SET app.is_admin TO FALSE`, `SET app.user_id = 42`, `SET app.user_id = $$42$$ ; SELECT 1`,
		"SET app.current_tenant_id = 'ac'\n'me'", "SET app.current_tenant_id = 'acme' -- mine\n", `SET app.current_tenant_id = "acme" /* */`,
		`SELECT set_config('app.current_tenant_id', 'acme', false)`, `SELECT set_config('APP.is_admin'::text, 'false'::varchar, true), 1`,
		`RESET app.current_tenant_id`, `SET app.is_admin TO DEFAULT`, `RESET ALL`, `SET app.is_admin FROM CURRENT`,
		`SET ROLE NONE`, `SET ROLE 'none'`, `RESET ROLE`, `SET role TO DEFAULT`, `SET SESSION ROLE none`, `SET LOCAL role = none`,
		`SET SESSION AUTHORIZATION DEFAULT`, `RESET SESSION AUTHORIZATION`, `SELECT set_config('role', 'none', false)`,
		`SET session_replication_role TO DEFAULT`, `SET app.other = 'B'`, `SET applepie.current_tenant_id = 1`, `SET xapp.is_admin = 1`,
		// Words that are only names here, and text that is only text.
		`UPDATE t SET do = 1, "do" = 2, role = 'x'`, `UPDATE t SET app.is_admin = true`, `INSERT INTO t (do, listen, notify, role) VALUES (1,2,3,4)`,
		`SELECT "do", "set_config", set_config, query_to_xml FROM "listen", notify WHERE role = 'admin'`,
		`SELECT crosstab, ts_stat, t.set_config FROM crosstab, t ORDER BY ts_stat`, `SELECT (x).pg_notify_count, my_set_config('app.is_admin', 'true')`,
		`SELECT 'SET app.is_admin = true; DO $$', $$ DO $a$ ; SET app.is_admin = true $$, "; DO ;"`,
		`SELECT 'it''s; SET app.is_admin = true', E'\'; SET app.is_admin = true', U&'\0027; DO'`,
		"SELECT 'a'\n'; SET app.is_admin = true'", `SELECT 'C:\dir\', 'x'`, `SELECT B'01', X'1F', N'x', 1e5, 1_000, 0x1F, .5, 1., $1, a[1:2], $2::int`,
		"SELECT 1 -- ; SET app.is_admin = true\n, 2", `SELECT 1 /* ; SET app.is_admin = true; /* */ ; DO */, 2`,
		`SELECT a->>'x', a#>>'{a,b}', a @> b, a ?| b, -1, - -1, 1/2, a*-1, @-1, a || b`, `SELECT U&"d\0061ta" FROM t`, `SELECT u & 1, u&1, e, b, x, n, U FROM t`,
		`SELECT pg_catalog.ts_rewrite(a, b, c), pg_catalog.set_config('a.b', $1, true), a.treat, treat FROM treat`,
		`INSERT INTO treat (a) VALUES (1)`, `SELECT TREAT(x AS reports.kind) FROM t`, `SELECT a AS create, view FROM t`,
		`SELECT set_config('rol'::text, 'x', false), set_config('ap'::text, $1, false), set_config('x.text'::varchar, $1, false)`,
		`SET приложение.язык = 'x'`, `UPDATE städte SET größe = 1 WHERE İlçe = 'x'`, `SELECT SETİ_CONFIG(a) FROM İ`,
		`CREATE TABLE t (notify bool, "create" text, U&"d\0061ta" text); SELECT notify FROM t`, `GRANT CREATE ON SCHEMA x TO r`,
		`CREATE UNLOGGED TABLE IF NOT EXISTS t (a int)`, `CREATE LOCAL TEMP TABLE t (a int)`, `CREATE SCHEMA s CREATE TABLE t (a int)`,
		`CREATE RULE r AS ON INSERT TO t DO INSTEAD (INSERT INTO u VALUES (new.a); DELETE FROM u WHERE old.notify)`,
		`PREPARE transaction AS SELECT 1`, `PREPARE p (int) AS SELECT $1`, `SELECT prepared, load, alter_role FROM t`,
		`SELECT ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery)`, `SELECT ts_rewrite(ts_rewrite(q, a, b), f(c, d), e)`,
		`SELECT * FROM t FOR UPDATE OF t`, `INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1`, `UPDATE U_t SET a = 1`,
		`EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM t`, `DECLARE c CURSOR FOR SELECT 1; FETCH 5 FROM c; CLOSE c`,
	} {
		if v := judgeAll(t, testGuard, sql, true); v.Rule != "" {
			t.Errorf("%q: refused by %q", sql, v.Rule)
		}
	}
}
