package session

import "testing"

func TestPinsAreSeen(t *testing.T) {
	g := NewGuard(GuardConfig{Context: GuardEnforce, Reserved: []string{"app.current_tenant_id"}})
	for sql, want := range map[string]Pin{
		`SELECT 1`: PinNone, `INSERT INTO t VALUES (1)`: PinNone, `BEGIN; UPDATE t SET a = 1; COMMIT`: PinNone,

		`SET x = 1`: PinSet, `SET SESSION x TO 1`: PinSet, `BEGIN; SET x.y = 'z'; COMMIT`: PinSet, `SET x TO DEFAULT`: PinSet,
		`/* c */ set /* d */ temp_buffers to a`: PinSet, `SET local.x = 1`: PinSet, `SET transaction.x = 1`: PinSet,
		`SET LOCAL x = 1; SET y = 1`: PinSet, `SET XML OPTION DOCUMENT`: PinSet, `SET "local" = 1`: PinSet,
		`SET LOCAL x = 1`: PinNone, `SET LOCAL TIME ZONE 'UTC'`: PinNone, `SET TRANSACTION READ ONLY`: PinNone,
		`SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY`: PinNone, `SET CONSTRAINTS ALL DEFERRED`: PinNone,
		`SET CONSTRAINTS a.b, c IMMEDIATE`: PinNone, `RESET x`: PinNone, `RESET ALL`: PinNone, `DISCARD ALL`: PinNone,
		`SET app.current_tenant_id = 'own'`: PinNone, `SET app.current_tenant_id TO 'own'; SELECT 1`: PinNone,
		`UPDATE t SET a = 1`: PinNone, `ALTER TABLE t SET LOGGED`: PinNone, `ALTER ROLE r SET x = 1`: PinNone,

		`SELECT set_config('x', 'y', false)`: PinSet, `SELECT set_config('x', 'y', $1)`: PinSet, `SELECT set_config('x', $1, not true)`: PinSet,
		`SELECT pg_catalog.set_config('x', f(a, b), 'f')`: PinSet, `SELECT set_config('x', 'y')`: PinSet, `SELECT set_config('x', 'y', true and false)`: PinSet,
		`SELECT set_config('x', set_config('z', 'y', true), true)`: PinSet, `SELECT set_config('x', 'y', true), set_config('x', 'y', false)`: PinSet,
		`SELECT set_config('x', 'y'`:        PinSet,
		`SELECT set_config('x', 'y', true)`: PinNone, `SELECT set_config('x', coalesce(a, (b)[1]), TRUE), 2`: PinNone,
		`SELECT set_config('app.current_tenant_id', 'own', false)`: PinNone, `SELECT set_config('app.current_tenant_id', $1, false)`: PinNone,

		`LISTEN a`: PinListen, `UNLISTEN *`: PinNone, `NOTIFY a`: PinNone,
		`CREATE TEMP TABLE t (a int)`: PinTemp, `CREATE LOCAL TEMPORARY TABLE t AS SELECT 1`: PinTemp, `CREATE OR REPLACE TEMP VIEW v AS SELECT 1`: PinTemp,
		`CREATE TABLE pg_temp.t ()`: PinTemp, `SELECT 1 INTO TEMP t`: PinTemp, `SELECT a INTO LOCAL TEMPORARY TABLE t FROM b`: PinTemp,
		`CREATE FUNCTION "pg_temp".f() RETURNS int LANGUAGE sql AS 'select 1'`: PinUnknown, `SET LOCAL search_path = pg_temp`: PinTemp,
		`CREATE TABLE pg_temp_3.t ()`: PinTemp, `CREATE VIEW "pg_temp_12".v AS SELECT 1`: PinTemp, `SELECT 1 AS a INTO pg_temp_3.t`: PinTemp,
		`UPDATE pg_settings SET setting = '1' WHERE name = 'work_mem'`: PinSet, `SELECT name FROM pg_settings`: PinNone,
		`SET LOCAL seed = 0.5`: PinSet, `SET LOCAL "seed" TO 0.5`: PinSet, `SELECT set_config('seed', '0.5', true)`: PinSet, `SELECT set_config('SEED', $1, true)`: PinSet,
		`SELECT set_config('wo' || 'rk_mem', '1', true)`: PinUnknown, `SET LOCAL client_encoding = 'SJIS'`: PinUnknown,
		`CREATE EXTENSION x`: PinUnknown, `CREATE AGGREGATE a (int) (sfunc = f, stype = int)`: PinUnknown,
		`CREATE TABLE t ()`: PinNone, `SELECT 1 INTO t`: PinNone, `DROP TABLE t`: PinNone,
		`EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1`: PinTemp,

		`SELECT pg_advisory_lock(1)`: PinLock, `select PG_TRY_ADVISORY_LOCK_SHARED(1, 2)`: PinLock, `SELECT "pg_advisory_lock_shared"(1)`: PinLock,
		`SELECT pg_advisory_xact_lock(1)`: PinNone, `SELECT pg_advisory_unlock(1)`: PinNone,
		`PREPARE a AS SELECT 1`: PinPrepare, `DEALLOCATE a`: PinNone, `EXECUTE a`: PinNone,
		`DECLARE c CURSOR WITH HOLD FOR SELECT 1`: PinCursor, `DECLARE c CURSOR FOR SELECT hold FROM t`: PinNone, `DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1`: PinNone,
		`SELECT currval('s')`: PinSequence, `INSERT INTO a VALUES (1); SELECT lastval()`: PinSequence, `SELECT nextval('s')`: PinNone, `SELECT setseed(0.5)`: PinSet,
		`LOAD 'x'`: PinLoad, `DO $$begin end$$`: PinUnknown, `SELECT query_to_xml('select 1', true, true, '')`: PinUnknown,
		`SELECT U&"\0073et_config"('x', 'y', false)`: PinUnknown,
		`SELECT 'SET x = 1; LISTEN a'`:               PinNone, `SELECT $$;SET x = 1$$ -- LISTEN`: PinNone,
	} {
		for _, n := range []int{len(sql), 1, 3} {
			var j Judge
			j.Begin(g, true, func(string) string { return "own" })
			for p := []byte(sql); len(p) > 0; p = p[min(n, len(p)):] {
				j.Feed(p[:min(n, len(p))])
			}
			if got := j.End().Effects.Pin; got != want {
				t.Errorf("%q in pieces of %d: pin %q, want %q", sql, n, got, want)
			}
		}
	}
}

func TestWhatStirsIsSeen(t *testing.T) {
	for sql, want := range map[string]bool{
		``: false, `;`: false, `SELECT 1`: false, `(SELECT 1) UNION (SELECT 2)`: false, ` ((select 1))`: false, `VALUES (1)`: false, `TABLE t`: false,
		`WITH a AS (SELECT 1) SELECT * FROM a`: false, `INSERT INTO t VALUES (1)`: false, `INSERT INTO t SELECT 1`: false, `UPDATE t SET a = 1`: false,
		`DELETE FROM t`: false, `MERGE INTO t USING s ON true WHEN NOT MATCHED THEN INSERT VALUES (1)`: false,
		`BEGIN; INSERT INTO t VALUES (1); SELECT 1; COMMIT`: false, `START TRANSACTION`: false, `END`: false, `ROLLBACK TO a`: false, `ABORT`: false,
		`SAVEPOINT a`: false, `RELEASE a`: false, `SHOW x`: false, `COPY t FROM STDIN`: false, `LOCK t`: false, `FETCH 1 FROM c`: false,
		`DECLARE c CURSOR FOR SELECT 1`: false, `NOTIFY a`: false, `SET LOCAL x = 1`: false, `SET TRANSACTION READ ONLY`: false,
		`TRUNCATE t`: false, `VACUUM t`: false, `ANALYZE t`: false, `COMMENT ON TABLE t IS 'x'`: false, `REFRESH MATERIALIZED VIEW v`: false,
		`SELECT set_config('x', 'y', true)`: false, `SELECT 'CREATE TABLE t ()'`: false,

		`CREATE TABLE t ()`: true, `SELECT 1; create view v as select 1`: true, `CREATE RULE r AS ON INSERT TO t DO ALSO SELECT 1`: true,
		`SELECT 1 INTO t`: true, `(SELECT 1 INTO t)`: true, `WITH a AS (SELECT 1) SELECT * INTO t FROM a`: true, `SELECT 1 AS insert INTO t`: true,
		`INSERT INTO t VALUES (1); SELECT 1 INTO u`: true, `SELECT a/**/INTO"t"`: true,
		`ALTER TABLE t SET SCHEMA s`: true, `DROP TABLE t`: true, `GRANT SELECT ON t TO r`: true, `CALL p()`: true, `DO 'x'`: true, `EXPLAIN SELECT 1`: true,
		`EXECUTE a`: true, `DEALLOCATE a`: true, `RESET x`: true, `DISCARD PLANS`: true, `LOAD 'x'`: true, `IMPORT FOREIGN SCHEMA s FROM SERVER f INTO t`: true,
		`"select" 1`: true, `U&"x" 1`: true, `séle 1`: true, `nonsense`: true, `1`: true,
		`SET LOCAL search_path = 'pg_temp'`: true, `BEGIN; SET LOCAL "Search_Path" TO a; COMMIT`: true, `SET LOCAL SCHEMA 'pg_temp'`: true,
		`SELECT set_config('search_path', 'pg_temp', true)`: true, `SELECT pg_catalog.set_config('Search_Path'::text, $1, true)`: true,
	} {
		for _, n := range []int{len(sql) + 1, 1, 3} {
			var j Judge
			j.Begin(NewGuard(GuardConfig{}), true, nil)
			for p := []byte(sql); len(p) > 0; p = p[min(n, len(p)):] {
				j.Feed(p[:min(n, len(p))])
			}
			if got := j.End().Effects.Stirs; got != want {
				t.Errorf("%q in pieces of %d: stirs %v, want %v", sql, n, got, want)
			}
		}
	}
}
