package session

import "testing"

func TestPinsAreSeen(t *testing.T) {
	g := NewGuard(GuardConfig{Context: GuardEnforce, Reserved: []string{"app.current_tenant_id"}})
	for sql, want := range map[string]Pin{
		`SELECT 1`: PinNone, `INSERT INTO t VALUES (1)`: PinNone, `BEGIN; UPDATE t SET a = 1; COMMIT`: PinNone,

		`SET x = 1`: PinSet, `SET SESSION x TO 1`: PinSet, `BEGIN; SET x.y = 'z'; COMMIT`: PinSet, `SET TIME ZONE 'UTC'`: PinSet,
		`SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY`: PinSet, `SET NAMES 'utf8'`: PinSet, `SET x TO DEFAULT`: PinSet,
		`/* c */ set /* d */ search_path to a`: PinSet, `SET local.x = 1`: PinSet, `SET transaction.x = 1`: PinSet,
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
		`CREATE FUNCTION "pg_temp".f() RETURNS int LANGUAGE sql AS 'select 1'`: PinTemp, `SET LOCAL search_path = pg_temp`: PinTemp,
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
