package session

import (
	"slices"
	"strings"
	"testing"
)

func TestNoSpellingOfAReservedSettingPasses(t *testing.T) {
	mustRefuse(t, []refusal{
		// SET in every spelling.
		{RuleContextSet, `SET app.current_tenant_id = 'B'`},
		{RuleContextSet, `SET app.current_tenant_id TO 'B'`},
		{RuleContextSet, `set session app.current_tenant_id = 'B'`},
		{RuleContextSet, `SET LOCAL app.current_tenant_id TO 'B';`},
		{RuleContextSet, `SET "app.current_tenant_id" = 'B'`},
		{RuleContextSet, `SET "APP.Current_Tenant_ID" = 'B'`},
		{RuleContextSet, `SET app."current_tenant_id" = 'B'`},
		{RuleContextSet, `SET "app".current_tenant_id = 'B'`},
		{RuleContextSet, `SET App.CURRENT_tenant_Id = 'B'`},
		{RuleContextSet, "SET/**/app\n.\r--x\r current_tenant_id\f=\v'B'"},
		{RuleContextSet, `/* a /* nested */ comment */ SET app.current_tenant_id = 'B'`},
		{RuleContextSet, "-- a comment\rSET app.current_tenant_id = 'B'"},
		{RuleContextSet, `SET app.current_tenant_id = B`},
		{RuleContextSet, `SET app.current_tenant_id = "B"`},
		{RuleContextSet, `SET app.current_tenant_id = E'acme'`},
		{RuleContextSet, `SET app.current_tenant_id = U&'acme'`},
		{RuleContextSet, `SET app.current_tenant_id = $$B$$`},
		{RuleContextSet, `SET app.current_tenant_id = $a$B$a$`},
		{RuleContextSet, "SET app.current_tenant_id = 'acme'\n'2'"},
		{RuleContextSet, "SET app.current_tenant_id = 'acme' --\n 'x'"},
		{RuleContextSet, `SET app.current_tenant_id = 'acme''x'`},
		{RuleContextSet, `SET app.current_tenant_id = 'ACME'`},
		{RuleContextSet, `SET app.current_tenant_id = 'acme', 'B'`},
		{RuleContextSet, `SET app.current_tenant_id = 7`},
		{RuleContextSet, `SET app.current_tenant_id = -7`},
		{RuleContextSet, `SET app.user_id = 42.0`},
		{RuleContextSet, `SET app.user_id = 042`},
		{RuleContextSet, `SET app.current_tenant_id = $1`},
		{RuleContextSet, `SET app.is_admin = true`},
		{RuleContextSet, `SET app.is_admin = on`},
		{RuleContextSet, `SELECT 1; SET app.is_admin = true; SELECT 2`},
		{RuleContextSet, `BEGIN;SET app.is_admin='true';COMMIT`},
		{RuleContextSet, `;;SET app.is_admin='true'`},
		{RuleContextSet, `SET tenantgate.seal = 'x'`},
		{RuleContextSet, `SET tenantgate.anything = ''`},
		{RuleContextSet, `SET "TenantGate.seal" TO ''`},
		{RuleContextSet, `SET app.current_tenant_id = '` + strings.Repeat("x", 300) + `'`},
		{RuleContextSet, `SELECT 1 AS a$tag$; SET app.is_admin = 'true'; SELECT 2 AS b$tag$`},
		{RuleContextSet, `SELECT $1$a$ ; $a$; SET app.is_admin = true`},
		{RuleContextSet, `SELECT $a$ $b$ $$ $a; $a$; SET app.is_admin = true`},
		{RuleContextSet, `SELECT $a$$a$$b$b$b$; SET app.is_admin = true`},
		{RuleContextSet, `SELECT 1 /*/ ; */; SET app.is_admin = true`},
		{RuleContextSet, `SELECT 1 +/* ' */ 2; SET app.is_admin = true`},
		{RuleContextSet, `SELECT 1 +-- '` + "\n" + `2; SET app.is_admin = true`},
		{RuleContextSet, `SELECT '\'; SET app.is_admin = true; --'`},
		{RuleContextSet, `SELECT E'\''; SET app.is_admin = true; --'`},
		{RuleContextSet, `SELECT e'\\'; SET app.is_admin = true; --'`},
		{RuleContextSet, "SELECT E'a'\n'\\''; SET app.is_admin = true; --'"},
		{RuleContextSet, "SELECT 'a' /* */\n E'\\''; SET app.is_admin = true; --'"},
		{RuleContextSet, "SELECT ae'\\'; SET app.is_admin = true; --'"},
		{RuleContextSet, `SELECT B'0''\'; SET app.is_admin = true; --'`},
		{RuleContextSet, `SELECT U&'\'; SET app.is_admin = true; --'`},
		{RuleContextSet, `SELECT N'\'; SET app.is_admin = true; --'`},
		{RuleContextSet, `SELECT "a""; x"; SET app.is_admin = true`},
		{RuleContextSet, `SELECT 'é', "ü$$", é$$ ; SET app.is_admin = true; SELECT 1 AS é$$`},

		// Names that hide what they say.
		{RuleContextUnicode, `SET U&"\0061pp.current_tenant_id" = 'B'`},
		{RuleContextUnicode, `SET u&"app!002ecurrent_tenant_id" UESCAPE '!' = 'B'`},
		{RuleContextUnicode, `SET app.U&"current_tenant_id" = 'B'`},
		{RuleContextUnicode, `SET SESSION U&"app.is_admin" TO true`},
		{RuleContextUnicode, `RESET U&"r"`},
		{RuleContextUnicode, `SELECT U&"set\005fconfig"('app.is_admin', 'true', false)`},
		{RuleContextUnicode, `SELECT pg_catalog.U&"set!005fconfig" UESCAPE '!' ('app.is_admin', 'true', false)`},
		{RuleContextUnicode, `SELECT ('select 1'::text).U&"ts\005fstat"`},
		{RuleContextUnicode, `SELECT a.U&"ts\005fstat" FROM concat('select 1') a`},
		{RuleContextUnicode, `SELECT TREAT('select 1' AS U&"ts\005fstat")`},
		{RuleContextUnicode, `CREATE TEMP VIEW v AS SELECT * FROM U&"pg\005fsettings"`},
		{RuleContextUnicode, `CREATE RULE r AS ON SELECT TO v DO INSTEAD (; SELECT * FROM pg_catalog.U&"pg!005fsettings" UESCAPE '!')`},
		{RuleContextUnicode, `ALTER TABLE t RENAME TO U&"pg\005fsettings"`},
		{RuleContextUnicode, `SET "` + strings.Repeat("x", 64) + `" = 1`},

		// set_config wherever an expression may stand.
		{RuleContextCall, `SELECT set_config('app.current_tenant_id', 'B', false)`},
		{RuleContextCall, `SELECT SET_CONFIG ( 'APP.current_tenant_id' , $1::text, true)`},
		{RuleContextCall, `SELECT 1set_config('app.current_tenant_id', 'B', false), 'a statement of some length'`},
		{RuleContextCall, `SELECT "set_config"('app.current_tenant_id', 'B', false)`},
		{RuleContextCall, `SELECT tenantgate.enter('v1', '', '{}')`},
		{RuleContextCall, `SELECT * FROM t, "tenantgate" /* */ . "enter" ($1, $2, $3)`},
		{RuleContextCall, `VALUES (TenantGate.tenantgate.Enter('v1', '', '{}'))`},
		{RuleContextCall, `SELECT pg_catalog . /* */ set_config /* */ ( 'app.is_admin','true',false)`},
		{RuleContextCall, `SELECT set_config('app.current_tenant_id'::text, 'B', false)`},
		{RuleContextCall, `SELECT set_config('app.current_tenant_id', 'ac' || 'me', false)`},
		{RuleContextCall, `SELECT set_config('app.current_tenant_id', E'acme', false)`},
		{RuleContextCall, `SELECT set_config('app.current_tenant_id', 'acme'::text, false)`},
		{RuleContextCall, `SELECT set_config('app.current_tenant_id'::varchar, 'acme'::varchar(2), false)`},
		{RuleContextCall, `SELECT SET_CONFİG('app.is_admin', 'true', false)`},
		{RuleContextCall, "SELECT set_conf\xddg('app.is_admin', 'true', false), 'a statement of some length'"},
		{RuleContextSet, `SET app.ıs_admin = true`},
		{RuleContextSet, `SET APP.İS_ADMİN = true`},
		{RuleContextCall, `SELECT set_config('app.current_tenant_id', NULL, false)`},
		{RuleContextCall, `SELECT set_config($$app.current_tenant_id$$, 'B', false)`},
		{RuleContextCall, "SELECT set_config('app.current_'\n'tenant_id', 'B', false)"},
		{RuleContextCall, `WITH x AS (SELECT set_config('app.is_admin','true',false)) SELECT * FROM t, x`},
		{RuleContextCall, `SELECT * FROM t WHERE set_config('app.is_admin','true',false) = 'true'`},
		{RuleContextCall, `SELECT * FROM t LIMIT length(set_config('app.is_admin','true',false))`},
		{RuleContextCall, `SELECT * FROM t ORDER BY set_config('app.is_admin','true',false)`},
		{RuleContextCall, `COPY (SELECT set_config('app.is_admin','true',false)) TO STDOUT`},
		{RuleContextCall, `EXPLAIN ANALYZE SELECT set_config('app.is_admin','true',false)`},
		{RuleContextCall, `PREPARE p AS SELECT set_config('app.is_admin','true',false)`},
		{RuleContextCall, `EXECUTE p(set_config('app.is_admin','true',false))`},
		{RuleContextCall, `DECLARE c CURSOR FOR SELECT set_config('app.is_admin','true',false), * FROM t`},
		{RuleContextCall, `CREATE TEMP TABLE t AS SELECT set_config('app.is_admin','true',false)`},
		{RuleContextCall, `CREATE TEMP TABLE t (a text DEFAULT set_config('app.is_admin','true',false))`},
		{RuleContextCall, `CREATE TEMP TABLE t (a text CHECK (set_config('app.is_admin','true',false) IS NULL))`},
		{RuleContextCall, `ALTER TABLE t ALTER a SET DEFAULT set_config('app.is_admin','true',false)`},
		{RuleContextCall, `VALUES (set_config('app.is_admin','true',false))`},
		{RuleContextCall, `INSERT INTO t VALUES (1) RETURNING set_config('app.is_admin','true',false)`},
		{RuleContextCall, `MERGE INTO t USING s ON t.a = set_config('app.is_admin','true',false) WHEN MATCHED THEN DELETE`},
		{RuleContextCall, `CREATE VIEW v AS SELECT set_config('app.is_admin','true',false)`},
		{RuleContextCall, `CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT set_config('app.is_admin','true',false))`},
		{RuleContextCall, `CREATE DOMAIN d AS text CHECK (set_config('app.is_admin','true',false) IS NULL)`},
		{RuleContextCall, `SELECT update FROM set_config('app.is_admin','true',false) update`},
		{RuleContextCall, `SELECT update(set_config('app.is_admin','true',false))`},
		{RuleContextCall, `SELECT 1 FOR UPDATE LIMIT set_config('app.is_admin','true',false)`},
		// Another tenant's session may run what is stored.
		{RuleContextCall, `CREATE TABLE t (a text DEFAULT set_config('app.current_tenant_id', 'acme', false))`},
		{RuleContextCall, `CREATE SCHEMA s CREATE VIEW v AS SELECT set_config('app.current_tenant_id', 'acme', false)`},
		{RuleContextCall, `CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT set_config('app.current_tenant_id', 'acme', false))`},
		{RuleContextCall, `ALTER DOMAIN d SET DEFAULT set_config('app.current_tenant_id', 'acme', false)`},
		{RuleContextCall, `CALL p(set_config('app.is_admin','true',false))`},
		{RuleContextCall, `SELECT set_config('x', set_config('app.is_admin','true',false), false)`},
		{RuleContextCall, `SELECT set_config('tenantgate.seal', '', false)`},

		// SET clauses.
		{RuleContextClause, `ALTER FUNCTION f() SET app.is_admin = 'false'`},
		{RuleContextClause, `ALTER ROUTINE f(a int, b text) SET app.is_admin FROM CURRENT`},
		{RuleContextClause, `ALTER PROCEDURE f SET U&"app.is_admin" = true`},
	})
}

// TestABoundValueIsLeftToTheBind: a parameter in the place of the value is noted where nothing else can
// give it another value than the Bind, and refused anywhere else.
func TestABoundValueIsLeftToTheBind(t *testing.T) {
	const tenant, admin = 0, 1 // in the guard's list
	for sql, want := range map[string][]Binding{
		`SELECT set_config('app.current_tenant_id', $1, false)`:                                       {{1, tenant}},
		`select pg_catalog.set_config('APP.current_tenant_id'::text, $2, $1) -- x`:                    {{2, tenant}},
		`SELECT 1, set_config('app.current_tenant_id', $1::varchar, false) AS a FROM t WHERE b = $2;`: {{1, tenant}},
		`SELECT set_config('app.is_admin', $2, true), set_config('app.current_tenant_id', $1, true)`:  {{2, admin}, {1, tenant}},
		`SELECT set_config('app.current_tenant_id', 'acme', $1)`:                                      nil,
		`SELECT set_config('search_path', $1, $1)`:                                                    nil,
	} {
		v := judgeAll(t, testGuard, sql, true)
		if got := v.bindings(); v.Rule != "" || !slices.Equal(got, want) || v.Bound() != (want != nil) {
			t.Errorf("%q: %q, bindings %v, want %v", sql, v.Rule, got, want)
		}
	}
	for _, sql := range []string{
		`SELECT set_config('app.current_tenant_id', $1, false), $1`, `SELECT $1::pg_temp.d, set_config('app.current_tenant_id', $1, false)`,
		`SELECT set_config('app.current_tenant_id', $1, false), $01`, `SELECT set_config('app.current_tenant_id', $1, $1::bool)`,
		`SELECT set_config('app.current_tenant_id', $1, false), set_config('app.is_admin', $1, false)`,
		`SELECT set_config('app.current_tenant_id', $1, false), $64`, `SELECT set_config('app.current_tenant_id', $64, false)`,
		`SELECT set_config('app.current_tenant_id', $0, false)`, `SELECT set_config('app.current_tenant_id', $18446744073709551617, false)`,
		`SELECT set_config('app.current_tenant_id', $1::text, false)`, `SELECT set_config('app.current_tenant_id', $1::varchar(2), false)`,
		`SELECT set_config('app.current_tenant_id', $1::name, false)`, `SELECT set_config('app.current_tenant_id', CAST($1 AS varchar), false)`,
		`SELECT set_config('app.current_tenant_id', $1 || '', false)`, `SELECT set_config('app.current_tenant_id', ($1), false)`,
		`SELECT set_config('app.current_tenant_id', $1[1], false)`, `SELECT set_config('app.current_tenant_id', $1 COLLATE "C", false)`,
		`SELECT set_config('app.current_tenant_id', -$1, false)`, `SELECT set_config('app.current_tenant_id', $ 1, false)`,
		`SELECT set_config('app.current_tenant_id', $1a, false)`, `SELECT set_config('app.current_tenant_id', $1`,
		`SELECT set_config('tenantgate.seal', $1, false)`, `SELECT set_config('role', $1, false)`,
		`PREPARE p AS SELECT set_config('app.current_tenant_id', $1, false)`, `PREPARE p (text) AS SELECT set_config('app.current_tenant_id', $1, false)`,
		`EXPLAIN SELECT set_config('app.current_tenant_id', $1, false)`, `CREATE TABLE t AS SELECT set_config('app.current_tenant_id', $1, false)`,
		`SELECT 1; SELECT set_config('app.current_tenant_id', $1, false)`, `;SELECT set_config('app.current_tenant_id', $1, false)`,
		`SELECT 1; PREPARE p AS SELECT set_config('app.current_tenant_id', $1, false)`,
		`INSERT INTO t VALUES (set_config('app.current_tenant_id', $1, false))`, `WITH x AS (SELECT 1) SELECT set_config('app.current_tenant_id', $1, false)`,
		`SELECT set_config('app.user_id', $1, true), set_config('app.user_id', $2, true), set_config('app.user_id', $3, true), set_config('app.user_id', $4, true), set_config('app.user_id', $5, true)`,
	} {
		if v := judgeAll(t, testGuard, sql, true); v.Rule == "" {
			t.Errorf("%q passed with %v", sql, v.Bindings)
		}
	}
	if v := judgeAll(t, NewGuard(GuardConfig{Context: GuardLog, Reserved: []string{"app.current_tenant_id"}}), `SELECT set_config('app.current_tenant_id', $1, false)`, true); v.Rule == "" || v.Bound() {
		t.Errorf("in mode log: %+v", v)
	}
}
