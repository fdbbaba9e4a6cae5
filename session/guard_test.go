package session

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// testGuard has every group but channels on enforce.
var testGuard = NewGuard(GuardConfig{
	Context: GuardEnforce, HiddenSQL: GuardEnforce, SharedRole: GuardEnforce, Channels: GuardOff,
	Reserved: []string{"app.current_tenant_id", "app.is_admin", "app.user_id"},
})

// strictGuard has every group on enforce.
var strictGuard = NewGuard(GuardConfig{
	Context: GuardEnforce, HiddenSQL: GuardEnforce, SharedRole: GuardEnforce, Channels: GuardEnforce,
	Reserved: []string{"app.current_tenant_id", "app.is_admin", "app.user_id"},
})

// testOwn is the context of the session under test.
func testOwn(setting string) string {
	return map[string]string{"app.current_tenant_id": "acme", "app.is_admin": "false", "app.user_id": "42"}[setting]
}

// judge feeds sql in pieces of the given length.
func judge(g *Guard, sql string, conforming bool, piece int) Verdict {
	var j Judge
	j.Begin(g, conforming, testOwn)
	for p := []byte(sql); len(p) > 0; {
		n := min(piece, len(p))
		// A copy that is wiped afterwards: nothing may be kept of a piece.
		b := slices.Clone(p[:n])
		j.Feed(b)
		clear(b)
		p = p[n:]
	}
	return j.End()
}

// judgeAll judges sql whole and in small pieces, which must not differ.
func judgeAll(t *testing.T, g *Guard, sql string, conforming bool) Verdict {
	t.Helper()
	want := judge(g, sql, conforming, len(sql)+1)
	for _, piece := range []int{1, 2, 3, 7} {
		if got := judge(g, sql, conforming, piece); !reflect.DeepEqual(got, want) {
			t.Errorf("%q in pieces of %d: %+v, whole: %+v", sql, piece, got, want)
		}
	}
	return want
}

func TestGuardRefusesEverySpellingOfAnEscape(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		sql  string
	}{
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

		// SQL that is not seen.
		{RuleHiddenName, `SELECT set_config($1, $2, false)`},
		{RuleHiddenName, `SELECT set_config(name, setting, false) FROM pg_settings`},
		{RuleHiddenName, `SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'app.is_admin'`},
		{RuleHiddenName, `SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind' OR true`},
		{RuleHiddenName, `SELECT set_config(name, 'x', false) FROM t, pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`},
		{RuleHiddenName, `SELECT set_config(name, 'x', false)`},
		{RuleHiddenName, `SELECT set_config(name, 'B', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`},
		{RuleHiddenName, `SELECT set_config(name, 'view', false), 1 FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`},
		{RuleHiddenName, `SELECT 1, set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`},
		{RuleHiddenName, `SELECT set_config, set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`},
		{RuleHiddenName, `SELECT set_config('a', 'b', false), set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`},
		{RuleHiddenName, `SELECT 1; SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`},
		{RuleHiddenName, `SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'; SELECT 1`},
		{RuleHiddenName, `WITH pg_settings AS (SELECT 'x' AS name) SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`},
		{RuleHiddenName, `SELECT set_config('app.current_tenant_idX'::text, 'B', false)`},
		{RuleHiddenName, `SELECT set_config('role '::varchar::text, 'x', false)`},
		{RuleHiddenName, `SELECT set_config('app.' || 'is_admin', 'true', false)`},
		{RuleHiddenName, `SELECT set_config(E'\x61pp.is_admin', 'true', false)`},
		{RuleHiddenName, `SELECT set_config(U&'\0061pp.is_admin', 'true', false)`},
		{RuleHiddenName, `SELECT set_config(N'app.is_admin', 'true', false)`},
		{RuleHiddenName, `SELECT set_config(('app.is_admin'), 'true', false)`},
		{RuleHiddenName, `SELECT set_config('app.is_adminx'::char(12), 'true', false)`},
		{RuleHiddenName, `SELECT set_config(CAST('app.is_admin' AS text), 'true', false)`},
		{RuleHiddenName, `SELECT set_config(setting_name => 'app.is_admin', new_value => 'true')`},
		{RuleHiddenName, `SELECT set_config(VARIADIC ARRAY['a'])`},
		{RuleHiddenName, `SELECT set_config('` + strings.Repeat("x", 300) + `', 'true', false)`},
		{RuleHiddenDo, `DO $$ BEGIN PERFORM 1; END $$`},
		{RuleHiddenDo, `SELECT 1; do language plpgsql 'begin end'`},
		{RuleHiddenFunction, `CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql AS ''`},
		{RuleHiddenFunction, `CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS ''`},
		{RuleHiddenFunction, `create/**/or--` + "\n" + `replace procedure p() begin atomic select 1; end`},
		{RuleHiddenFunction, `CREATE AGGREGATE pg_temp.a(text, bool) (sfunc = 'set_config', stype = text, initcond = 'app.x')`},
		{RuleHiddenFunction, `CREATE CAST (text AS pg_temp.x) WITH FUNCTION ts_stat`},
		{RuleHiddenFunction, `CREATE OPERATOR pg_temp.## (rightarg = text, function = ts_stat)`},
		{RuleHiddenExtension, `CREATE EXTENSION dblink`},
		{RuleHiddenExtension, `CREATE OR REPLACE TRUSTED PROCEDURAL LANGUAGE plperl`},
		{RuleHiddenLoad, `LOAD '$libdir/x'`},
		{RuleHiddenDynamic, `SELECT query_to_xml('select 1', true, true, '')`},
		{RuleHiddenDynamic, `SELECT pg_catalog."query_to_xml_and_xmlschema"('select 1', true, true, '')`},
		{RuleHiddenDynamic, `SELECT cursor_to_xml('c', 1, true, true, '')`},
		{RuleHiddenDynamic, `SELECT table_to_xml('v', true, true, '')`},
		{RuleHiddenDynamic, `SELECT schema_to_xml('s', true, true, '')`},
		{RuleHiddenDynamic, `SELECT database_to_xml(true, true, '')`},
		{RuleHiddenDynamic, `SELECT * FROM ts_stat('select 1')`},
		{RuleHiddenDynamic, `SELECT ('select 1'::text).ts_stat`},
		{RuleHiddenDynamic, `SELECT ($1) . /**/ ts_stat`},
		{RuleHiddenDynamic, `SELECT $1."ts_stat"`},
		{RuleHiddenDynamic, `SELECT q.a[1].TS_STAT FROM q`},
		{RuleHiddenDynamic, `SELECT a.ts_stat FROM concat('select 1') a`},
		{RuleHiddenDynamic, `SELECT a."ts_stat", 'a statement of some length' FROM concat('select 1') a`},
		{RuleHiddenDynamic, `SELECT a/**/./**/ts_stat FROM concat('select 1') a`},
		{RuleHiddenDynamic, "SELECT a .--\nts_stat FROM concat('select 1') a"},
		{RuleHiddenDynamic, `SELECT (q).a.ts_stat FROM (SELECT 'select 1'::text a) q`},
		{RuleHiddenDynamic, `SELECT TREAT('select 1' AS ts_stat)`},
		{RuleHiddenDynamic, `SELECT update FROM TREAT('select 1' AS ts_stat) update`},
		{RuleHiddenDynamic, `SELECT * FROM treat /**/ ( 'select 1' AS SETOF "ts_stat" )`},
		{RuleHiddenDynamic, `SELECT ts_rewrite('a'::tsquery, 'select 1, 2')`},
		{RuleHiddenDynamic, `SELECT ts_rewrite(f(a, b[1, 2]), 'select 1')`},
		{RuleHiddenDynamic, `SELECT ts_rewrite(ts_rewrite(a, b), c, d)`},
		{RuleHiddenDynamic, `SELECT ts_rewrite(a, b, ts_rewrite(c, d))`},
		{RuleHiddenDynamic, `SELECT * FROM crosstab('select 1') AS c(a int)`},
		{RuleHiddenDynamic, `SELECT * FROM connectby('t', 'a', 'b', 'c', 0)`},
		{RuleHiddenDynamic, `SELECT * FROM xpath_table('a', 'b', 't', '/x', 'true')`},
		{RuleHiddenDynamic, `SELECT dblink_exec('', 'select 1')`},
		{RuleHiddenStrings, `SET standard_conforming_strings = off`},
		{RuleHiddenStrings, `SET standard_conforming_strings TO 'false'`},
		{RuleHiddenStrings, `SET LOCAL Standard_Conforming_Strings = 0`},
		{RuleHiddenStrings, `SET standard_conforming_strings = of`},
		{RuleHiddenStrings, `SELECT set_config('standard_conforming_strings', 'off', false)`},
		{RuleHiddenStrings, `SELECT set_config('standard_conforming_strings', $1, false)`},
		{RuleHiddenEncoding, `SET client_encoding = SJIS`},
		{RuleHiddenEncoding, `SET client_encoding TO 'big-5'`},
		{RuleHiddenEncoding, `SET NAMES 'GBK'`},
		{RuleHiddenEncoding, `SET SESSION NAMES 'shift_jis_2004'`},
		{RuleHiddenEncoding, `SET NAMES E'utf8'`},
		{RuleHiddenEncoding, `SET client_encoding = 'win949'`},
		{RuleHiddenEncoding, `SET client_encoding = 'gb18030'`},
		{RuleHiddenEncoding, `SET client_encoding = 'johab'`},
		{RuleHiddenEncoding, `SELECT set_config('client_encoding', 'UHC', false)`},
		{RuleHiddenEncoding, `SELECT set_config('client_encoding', $1, false)`},
		{RuleHiddenSettings, `UPDATE pg_settings SET setting = 'SJIS' WHERE name = 'client_encoding'`},
		{RuleHiddenSettings, `WITH x AS (SELECT 1) UPDATE ONLY "pg_catalog"."pg_settings" AS p SET setting = 'off'`},
		{RuleHiddenSettings, `CREATE OR REPLACE TEMP VIEW v AS SELECT * FROM pg_settings`},
		{RuleHiddenSettings, `UPDATE ONLY (pg_settings) SET setting = 'off'`},
		{RuleHiddenSettings, `UPDATE ONLY(pg_catalog.pg_settings) SET setting = 'off'`},
		{RuleHiddenSettings, `UPDATE app.pg_catalog.pg_settings SET setting = 'off'`},
		{RuleHiddenSettings, `UPDATE dblink.pg_catalog."pg_settings" SET setting = 'off'`},
		{RuleHiddenSettings, `UPDATE treat.pg_catalog.pg_settings SET setting = 'off'`},
		{RuleHiddenSettings, `UPDATE update.pg_catalog.pg_settings SET setting = 'off'`},
		{RuleHiddenSettings, `UPDATE only.pg_catalog.pg_settings SET setting = 'off'`},
		{RuleHiddenSettings, `UPDATE pg_catalog . U&"pg\005fsettings" SET setting = 'off'`},
		{RuleHiddenSettings, `UPDATE PG_SETTİNGS * SET setting = 'off'`},
		{RuleHiddenSettings, `WITH u AS (UPDATE ONLY (pg_settings) SET setting = 'off' RETURNING 1) SELECT 1`},
		{RuleHiddenSettings, `CREATE RULE r AS ON INSERT TO t DO ALSO UPDATE ONLY (pg_settings) SET setting = 'off'`},
		{RuleHiddenSettings, `CREATE RULE "_RETURN" AS ON SELECT TO v DO INSTEAD SELECT * FROM pg_settings`},
		{RuleHiddenSettings, `CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO v DO INSTEAD (; SELECT * FROM pg_settings)`},
		{RuleHiddenSettings, `CREATE LOCAL TEMPORARY VIEW v AS SELECT * FROM pg_settings`},
		{RuleHiddenSettings, `CREATE GLOBAL TEMP RECURSIVE VIEW v AS TABLE "pg_settings"`},
		{RuleHiddenSettings, `CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT * FROM pg_settings`},
		{RuleHiddenSettings, `CREATE TEMP VIEW pg_settings AS SELECT 'x' AS name`},
		{RuleHiddenSettings, `CREATE TEMP TABLE IF NOT EXISTS pg_settings AS SELECT 'x' AS name`},
		{RuleHiddenSettings, `EXPLAIN (ANALYZE) CREATE UNLOGGED TABLE public.pg_settings AS SELECT 'x' AS name`},
		{RuleHiddenSettings, `SELECT 'x' AS name INTO TEMP TABLE pg_settings`},
		{RuleHiddenSettings, `SELECT 'a text of some length' AS name INTO pg_settings FROM some_table`},
		{RuleHiddenSettings, `ALTER VIEW v RENAME TO pg_settings`},
		{RuleHiddenSettings, `INSERT INTO pg_settings VALUES ('a', 'b') ON CONFLICT DO NOTHING`},
		{RuleHiddenSettings, `DELETE FROM ONLY pg_settings`},
		{RuleHiddenSettings, `MERGE INTO pg_catalog.pg_settings USING s ON true WHEN MATCHED THEN DELETE`},

		// The shared role.
		{RuleRoleAlter, `ALTER ROLE CURRENT_USER PASSWORD 'x'`},
		{RuleRoleAlter, `ALTER USER app SET search_path = x`},
		{RuleRoleAlter, `ALTER GROUP a ADD USER b`},
		{RuleRoleAlter, `ALTER USER app SET app.current_tenant_id = 'B'`},
		{RuleRoleDatabase, `ALTER DATABASE app SET app.current_tenant_id = 'B'`},
		{RuleRoleSystem, `ALTER SYSTEM SET work_mem = 1`},
		{RuleRoleCreate, `CREATE ROLE r`},
		{RuleRoleCreate, `CREATE USER r PASSWORD 'x'`},
		{RuleRoleDrop, `DROP ROLE r`},
		{RuleRoleDrop, `DROP USER IF EXISTS r`},
		{RuleRoleDrop, `DROP USER mapping`},
		{RuleRoleCreate, `CREATE USER mapping PASSWORD 'x'`},
		{RuleRoleDrop, `DROP OWNED BY CURRENT_USER`},
		{RuleRoleDrop, `REASSIGN OWNED BY a TO b`},
		{RuleRoleTwoPhase, `PREPARE TRANSACTION 'x'`},
		{RuleRoleTwoPhase, `COMMIT PREPARED 'x'`},
		{RuleRoleTwoPhase, `ROLLBACK/**/PREPARED 'x'`},
		{RuleRoleTerminate, `SELECT pg_terminate_backend(1)`},
		{RuleRoleTerminate, `SELECT pg_cancel_backend(pid) FROM pg_stat_activity`},
		{RuleRoleTerminate, `SELECT (12).pg_cancel_backend`},
		{RuleRoleTerminate, `SELECT pg_reload_conf()`},
		{RuleRoleTerminate, `SELECT pg_rotate_logfile()`},
		{RuleRoleTerminate, `SELECT a.pg_terminate_backend FROM p, LATERAL generate_series(p.pid, p.pid) a`},
		{RuleRoleTerminate, `SELECT TREAT(1 AS pg_cancel_backend)`},
		{RuleRoleTerminate, `SELECT PG_TERMİNATE_BACKEND(1)`},
		{RuleRoleSet, `SET ROLE admin`},
		{RuleRoleSet, `SET SESSION ROLE 'admin'`},
		{RuleRoleSet, `SET LOCAL ROLE "admin"`},
		{RuleRoleSet, `SET role = admin`},
		{RuleRoleSet, `SET "role" TO admin`},
		{RuleRoleSet, `SET SESSION AUTHORIZATION admin`},
		{RuleRoleSet, `SET SESSION SESSION AUTHORIZATION 'admin'`},
		{RuleRoleSet, `SET LOCAL SESSION AUTHORIZATION "admin"`},
		{RuleRoleSet, `SET session_authorization = admin`},
		{RuleRoleSet, `SELECT set_config('role', 'admin', true)`},
		{RuleRoleSet, `SELECT set_config('role', $2, true)`},
		{RuleRoleSet, `SELECT set_config('session_authorization', 'admin', true)`},
		{RuleRoleSet, `ALTER FUNCTION f() SET role = 'admin'`},
		{RuleRoleReplication, `SET session_replication_role = replica`},

		// What the lexer does not hold.
		{RuleUnreadable, `SELECT $` + strings.Repeat("x", 257) + `$ ; $`},
	} {
		if v := judgeAll(t, testGuard, c.sql, true); v.Rule != c.rule || v.Mode != GuardEnforce {
			t.Errorf("%q: %q (%s), want %q", c.sql, v.Rule, v.Mode, c.rule)
		}
	}
}

func TestGuardRefusesWhatKnowsNoTenantWhenChannelsAreOn(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		sql  string
	}{
		{RuleChannelsListen, `LISTEN x`},
		{RuleChannelsListen, `UNLISTEN x`},
		{RuleChannelsNotify, `NOTIFY x, 'y'`},
		{RuleChannelsNotify, `CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM t; NOTIFY x)`},
		{RuleChannelsNotify, `CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x`},
		{RuleChannelsNotify, `SELECT pg_notify('x', 'y')`},
		{RuleChannelsObject, `SELECT lo_open(1, 2)`},
		{RuleChannelsObject, `SELECT (1).lo_unlink`},
		{RuleChannelsObject, `SELECT lowrite(1, 'x')`},
		{RuleChannelsObject, `SELECT pg_catalog.loread(1, 2)`},
		{"", `UNLISTEN *`},
		{"", `SELECT listen, notify, lo_open FROM unlisten`},
	} {
		if v := judgeAll(t, strictGuard, c.sql, true); v.Rule != c.rule {
			t.Errorf("%q: %q, want %q", c.sql, v.Rule, c.rule)
		}
		if v := judgeAll(t, testGuard, c.sql, true); v.Rule != "" {
			t.Errorf("%q with channels off: %q", c.sql, v.Rule)
		}
	}
}

func TestEveryListedFunctionIsSeenInAnyCaseAndPlace(t *testing.T) {
	for name := range callees {
		for _, call := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], `"` + name + `"`} {
			for pad := range 14 {
				sql := `SELECT a,` + strings.Repeat(" ", pad) + call + `(b, c) FROM a_table_of_some_name`
				if v := judge(strictGuard, sql, true, len(sql)); v.Rule == "" {
					t.Fatalf("%q passed", sql)
				}
			}
		}
	}
}

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

func TestStringsAreReadAsTheBackendReadsThem(t *testing.T) {
	for _, c := range []struct {
		sql        string
		conforming bool
		rule       Rule
	}{
		{`SELECT '\'; SET app.is_admin = true; --'`, true, RuleContextSet},
		{`SELECT '\'; SET app.is_admin = true; --'`, false, ""},
		{`SELECT '\\'; SET app.is_admin = true; --'`, false, RuleContextSet},
		{`SELECT '\''''; SET app.is_admin = true; --'`, false, RuleContextSet},
		{`SELECT $$\'$$; SET app.is_admin = true`, false, RuleContextSet},
		{`SET app.is_admin = 'false'`, false, ""},
		{`SET app.is_admin = 'fals\145'`, false, RuleContextSet},
		{`SELECT set_config('app.is\_admin', 'true', false)`, false, RuleHiddenName},
	} {
		if v := judgeAll(t, testGuard, c.sql, c.conforming); v.Rule != c.rule {
			t.Errorf("%q, conforming %v: %q, want %q", c.sql, c.conforming, v.Rule, c.rule)
		}
	}
}

func TestEffectsTellEveryReset(t *testing.T) {
	names := func(n ...string) (e Effects) {
		copy(e.Resets[:], n)
		return e
	}
	all, discard := Effects{ResetAll: true}, Effects{ResetAll: true, Discard: true, DeallocateAll: true}
	for sql, want := range map[string]Effects{
		`SELECT 1`:                                    {},
		`RESET ALL`:                                   all,
		"/* x */ reset -- \n all ;":                   all,
		`SELECT 1; RESET ALL; SELECT 2`:               all,
		`DISCARD ALL`:                                 discard,
		`DISCARD TEMP`:                                {},
		`DEALLOCATE ALL`:                              {DeallocateAll: true},
		`SELECT 1; execute p('x')`:                    {Execute: true},
		`EXPLAIN (ANALYZE) EXECUTE p`:                 {Execute: true},
		`CREATE TEMP TABLE t AS EXECUTE p`:            {Execute: true},
		`SELECT execute FROM "execute"; GRANT x TO y`: {},
		`DEALLOCATE PREPARE ALL`:                      {DeallocateAll: true},
		`DEALLOCATE "all"`:                            {},
		`DEALLOCATE x`:                                {},
		`RESET "all"`:                                 names("all"),
		`RESET DateStyle`:                             names("datestyle"),
		`RESET "App"."X"`:                             names("app.x"),
		`RESET a.b.C`:                                 names("a.b.c"),
		`RESET session.x; RESET local.y`:              names("session.x", "local.y"),
		`RESET TIME ZONE`:                             names("timezone"),
		`RESET time.zone`:                             names("time.zone"),
		`RESET ROLE`:                                  names("role"),
		`RESET SESSION AUTHORIZATION`:                 names("session_authorization"),
		`RESET TRANSACTION ISOLATION LEVEL`:           names("transaction_isolation"),
		`SET x TO DEFAULT`:                            names("x"),
		`SET x = DEFAULT`:                             names("x"),
		`SET SESSION x TO default; SET LOCAL y = 1`:   names("x"),
		`SET LOCAL app.x TO DEFAULT`:                  names("app.x"),
		`SET SESSION AUTHORIZATION DEFAULT`:           names("session_authorization"),
		`SET SESSION SESSION AUTHORIZATION DEFAULT`:   names("session_authorization"),
		`SET TIME ZONE DEFAULT`:                       names("timezone"),
		`SET SESSION TIME ZONE LOCAL`:                 names("timezone"),
		`SET timezone TO local`:                       names("timezone"),
		`SET TIME ZONE "local"`:                       {},
		`SET x = local`:                               {},
		`SET x = "default"`:                           {},
		`SET x = 'default'`:                           {},
		`SET NAMES`:                                   names("client_encoding"),
		`SET NAMES DEFAULT;`:                          names("client_encoding"),
		`SET NAMES 'utf8'`:                            {},
		`SET x = 1; RESET b; RESET a; RESET b`:        names("b", "a"),
		`RESET U&"x"`:                                 {ResetUnknown: true},
		`SET U&"x" TO DEFAULT`:                        {ResetUnknown: true},
		`RESET "` + strings.Repeat("x", 64) + `"`:     {ResetUnknown: true},
		`SELECT 'x; RESET ALL'; SELECT $$;RESET a$$`:  {},
		`UPDATE t SET a = DEFAULT`:                    {},
		`RESET a;RESET b;RESET c;RESET d;RESET e`:     {ResetUnknown: true, Resets: [4]string{"a", "b", "c", "d"}},
	} {
		for _, g := range []*Guard{testGuard, NewGuard(GuardConfig{}), nil} {
			got := judgeAll(t, g, sql, true).Effects
			if got.Pin, got.Stirs = PinNone, false; got != want { // see TestPinsAreSeen
				t.Errorf("%q: %+v, want %+v", sql, got, want)
			}
		}
	}
}

func TestLoggedViolationsPassAndEnforcedOnesComeFirst(t *testing.T) {
	g := NewGuard(GuardConfig{Context: GuardLog, SharedRole: GuardEnforce, Reserved: []string{"app.x"}})
	for _, c := range []struct {
		sql  string
		rule Rule
		mode GuardMode
	}{
		{`SET app.x = 1; ALTER ROLE a`, RuleRoleAlter, GuardEnforce},
		{`ALTER ROLE a; SET app.x = 1`, RuleRoleAlter, GuardEnforce},
		{`SET app.x = 1; SET tenantgate.x = 1`, RuleContextSet, GuardLog},
		{`DO ''`, "", ""},
		{`SELECT $` + strings.Repeat("x", 300) + `$`, RuleUnreadable, GuardEnforce},
	} {
		if v := judgeAll(t, g, c.sql, true); v.Rule != c.rule || v.Mode != c.mode {
			t.Errorf("%q: %q %q, want %q %q", c.sql, v.Rule, v.Mode, c.rule, c.mode)
		}
	}
}

func TestRefusedIsKnownBeforeTheStatementEnds(t *testing.T) {
	var j Judge
	j.Begin(testGuard, true, testOwn)
	j.Feed([]byte(`SELECT set_config('app.is_admin', 'true'`))
	if r := j.Refused(); r != "" {
		t.Fatalf("refused early: %q", r)
	}
	j.Feed([]byte(`, false)`))
	if r := j.Refused(); r != RuleContextCall {
		t.Fatalf("Refused() = %q", r)
	}
}

func TestWhatStandsBehindTheNULIsNotRead(t *testing.T) {
	for _, sql := range []string{"SELECT 1\x00; DO ''", "SELECT '\x00'; DO ''", "RESET ALL\x00\x00\x01x"} {
		v := judgeAll(t, testGuard, sql, true)
		if v.Rule != "" || v.Effects.ResetAll != strings.HasPrefix(sql, "RESET") {
			t.Errorf("%q: %+v", sql, v)
		}
	}
}

func TestLongNamesAreCutWherePostgreSQLCutsThem(t *testing.T) {
	long := strings.Repeat("x", 63)
	g := NewGuard(GuardConfig{Context: GuardEnforce, Reserved: []string{"app." + long}})
	for _, sql := range []string{`SET app.` + long + ` = 1`, `SET app.` + long + `yz = 1`, `SET app."` + long + `é" = 1`} {
		if v := judgeAll(t, g, sql, true); v.Rule == "" {
			t.Errorf("%q passed", sql)
		}
	}
}

func TestEveryRuleHasTexts(t *testing.T) {
	for r, text := range ruleTexts {
		if text.message == "" || text.hint == "" || r.Message() != text.message || r.Hint() != text.hint {
			t.Errorf("%s: %+v", r, text)
		}
		if r.group() == groupAny && r != RuleUnreadable {
			t.Errorf("%s is in no group", r)
		}
	}
}

func TestJudgingDoesNotAllocate(t *testing.T) {
	sql := []byte(benchStatement)
	var j Judge
	if n := testing.AllocsPerRun(100, func() {
		j.Begin(testGuard, true, testOwn)
		j.Feed(sql)
		j.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
