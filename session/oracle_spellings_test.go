//go:build oracle

package session

import (
	"math/rand/v2"
	"strings"
)

// A grammar of statements that set a setting, or nearly: {name} is an expansion of that name, anything
// else stands as it is. Many are valid SQL, which mutations of a corpus seldom are.
var grammar = map[string][]string{
	"statement": {
		"SET{_}{scope}{setting}{_}{to}{_}{value}", "SET{_}{scope}{setting}{_}{to}{_}{value}", "RESET{_}{setting}", "RESET{_}ALL", "DISCARD{_}ALL",
		"SELECT{_}{call}", "SELECT{_}{call}{_},{_}{call}", "SELECT{_}{call}{_}FROM{_}t", "VALUES{_}({call})", "SELECT {expr}, {call}",
		"WITH x AS (SELECT {call}) SELECT * FROM x", "SELECT * FROM t WHERE {call} = {value}", "COPY (SELECT {call}) TO STDOUT",
		"INSERT INTO t VALUES (1) RETURNING {call}", "PREPARE p AS SELECT {call}", "EXECUTE p({call})", "EXPLAIN{_}SELECT{_}{call}",
		"CREATE TEMP TABLE t AS SELECT {call}", "CREATE VIEW v AS SELECT {call}", "UPDATE t SET a = {call}", "DECLARE c CURSOR FOR SELECT {call}",
		"CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT {call})", "ALTER TABLE t ALTER a SET DEFAULT {call}",
		"ALTER FUNCTION f() SET{_}{setting}{_}{to}{_}{value}", "ALTER FUNCTION f() RESET {setting}", "CALL p({call})", "{statement};{_}{statement}",
		"SELECT {expr}.{function}", "SELECT TREAT({expr} AS {function})", "SELECT {expr} FROM {function}({expr}) AS a", "UPDATE {relation} SET setting = {value}",
		"INSERT INTO {relation} VALUES (1)", "SELECT 1 INTO {relation}", "CREATE VIEW {relation} AS SELECT 1", "CREATE VIEW v AS TABLE {relation}",
		"SET{_}{scope}ROLE{_}{value}", "SET{_}{scope}SESSION AUTHORIZATION{_}{value}", "SET{_}{scope}NAMES{_}{value}", "SET{_}{scope}TIME ZONE{_}{value}",
		"MERGE INTO {relation} USING s ON true WHEN MATCHED THEN DELETE", "DELETE FROM {relation}", "SELECT{_}{expr}{_}/*{value}*/;{_}{statement}",
		"SELECT ts_rewrite({expr}, {expr})", "SELECT ts_rewrite({expr}, {expr}, {expr})", "EXPLAIN ANALYZE EXECUTE p({expr})", "CREATE TABLE t AS EXECUTE p",
	},
	"_":        {" ", " ", " ", "\n", "\t", " /* ' */ ", " /* /* */ \" */ ", "--'\n", "--$$\r", "\f", "/**/"},
	"scope":    {"", "", "", "SESSION ", "LOCAL ", "session{_}"},
	"to":       {"=", "TO", "to", "=", "TO"},
	"setting":  {"{reserved}", "{reserved}", "app.other", "work_mem", "application_name", "role", "client_encoding", "standard_conforming_strings", "tenantgate.x", "session_replication_role"},
	"reserved": {"app.is_admin", "APP.Is_Admin", `"app".is_admin`, `app."is_admin"`, `"app.is_admin"`, `app{_}.{_}is_admin`, "app.current_tenant_id", "app.user_id", `U&"app.is\005fadmin"`, `U&"app!002eis_admin" UESCAPE '!'`, `U&"app"."is_admin"`},
	"value":    {"'true'", "'false'", "true", "42", "'42'", "'acme'", "acme", `"acme"`, "E'acme'", "E'\\x61cme'", "$$acme$$", "$a$acme$a$", "'ac'\n'me'", "'ac' \r 'me'", "DEFAULT", "default", "'utf8'", "none", "'none'", "on", "off", "'acme', 'b'", "-42", "042", "NULL", "local", "U&'acme'", "'SJIS'"},
	"call":     {"{set_config}{_}({_}{name}{_},{_}{given}{_},{_}false)", "{set_config}({name}, {given}, $2)", "{set_config}({name}, {given}, true) AS x"},
	"set_config": {
		"set_config", "SET_CONFIG", "pg_catalog.set_config", `"set_config"`, `pg_catalog{_}.{_}"set_config"`, `U&"set_config"`, `U&"set\005fconfig"`,
		`pg_catalog.U&"set!005fconfig" UESCAPE '!'`,
	},
	"name": {
		"'app.is_admin'", "'APP.is_admin'", "'app.user_id'::text", "'app.current_tenant_id'::varchar", "'app.current_tenant_id'", "E'app.is_admin'", "$$app.is_admin$$",
		"'app.'\n'is_admin'", "'app.' || 'is_admin'", "$1", "('app.is_admin')", "'app.other'", "'search_path'", "'role'", "CAST('app.is_admin' AS text)", "U&'app.is\\005fadmin'", "name", "N'app.is_admin'", "'client_encoding'",
	},
	"given":    {"'true'", "'false'", "'acme'", "'42'", "$1", "$1", "$3::varchar", "$1::text", "$1::varchar(3)", "E'acme'", "$$acme$$", "'ac'\n'me'", "'ac' || 'me'", "NULL", "'acme'::varchar", "'acme'::text", "(SELECT 'acme')", "a", "'utf8'", "'none'"},
	"expr":     {"1", "a", "'x'", "$1", "(a)", "(a).b", "a[1]", "'it''s'", "E'it\\'s'", "$$ ' $$", `"a""b"`, "B'01'", "X'1f'", "1.5e3", "a.b", "-1", "$x$ $$ ' $x$", "f(a)", "'a'::text", "array[1, 2]"},
	"function": {"ts_stat", `"ts_stat"`, "query_to_xml", "pg_terminate_backend", "set_config", "lo_unlink", "lower", "pg_notify", `U&"ts_stat"`, "TS_Stat"},
	"relation": {"pg_settings", "pg_catalog.pg_settings", `"pg_settings"`, "t", "ONLY pg_settings", "ONLY (pg_settings)", "PG_Settings", `U&"pg_settings"`, "a.pg_settings"},
}

// spellings makes n strings by the grammar.
func spellings(n int) []string {
	r := rand.New(rand.NewPCG(7, 8))
	s := &seen{known: map[string]bool{}}
	for range 3 * n {
		s.add(expand(r, "{statement}", 0))
		if len(s.all) == n {
			break
		}
	}
	return s.all
}

// expand replaces the names in text.
func expand(r *rand.Rand, text string, depth int) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{")
		b.WriteString(before)
		if !ok || depth > 12 {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		choices := grammar[name]
		b.WriteString(expand(r, choices[r.IntN(len(choices))], depth+1))
		text = after
	}
}
