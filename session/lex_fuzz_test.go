package session

import (
	"strings"
	"testing"
)

// fuzzSeeds are statements in which every state of the lexer is entered.
var fuzzSeeds = []string{
	benchStatement,
	benchQuoted,
	`SET SESSION "App".current_tenant_id TO 'acme' -- x` + "\n" + `'y'; RESET ALL; RESET TIME ZONE`,
	`SELECT E'\'', B'0''1', U&'\0041' UESCAPE '!', N'x', U&"d""a"(1), $1$a$ $b$ $$ $a$, "a""b"`,
	`/* a /* b */ c **/ SELECT 1 -/**/- 2 -- x` + "\r" + `+ a.b[1].ts_stat, ts_rewrite(a, (b, c), ts_rewrite(d, e))`,
	`SELECT pg_catalog.set_config('app.is_admin'::text, 'false'::text, true), set_config($1, 'x', false)`,
	`CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql SET app.is_admin = true AS $_$ ; DO $_$`,
	`UPDATE ONLY pg_catalog.pg_settings SET a = 1; ALTER USER MAPPING x; DROP OWNED BY y; PREPARE TRANSACTION 'x'`,
	`SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind' ; SELECT TREAT(a AS b.U&"c"), größe.İ`,
	`EXPLAIN ANALYZE CREATE TEMP TABLE a.b AS SELECT 1 INTO c; CREATE RULE r AS ON INSERT TO t DO (; NOTIFY x; UPDATE ONLY (a.b.pg_settings) SET a = 1)`,
	"SELECT 'a' \t\n--b\n'c' -", "SET x = $tag$", "u&", "e", "$", "$a", "-", "/", "'", "\"", "RESET", "SET NAMES\x00;RESET ALL",
}

// FuzzVerdictDoesNotDependOnChunks feeds a statement whole and cut at random: the
// verdicts must be the same, and the lexer must come through anything.
func FuzzVerdictDoesNotDependOnChunks(f *testing.F) {
	for i, s := range fuzzSeeds {
		f.Add(s, uint64(i)*0x9e3779b97f4a7c15, true)
		f.Add(s, uint64(i+7)*0xbf58476d1ce4e5b9, false)
	}
	f.Fuzz(func(t *testing.T, sql string, cuts uint64, conforming bool) {
		want := judge(strictGuard, sql, conforming, len(sql)+1)
		if got := judge(strictGuard, sql, conforming, 1); got != want {
			t.Fatalf("byte by byte: %+v, whole: %+v", got, want)
		}
		var j Judge
		j.Begin(strictGuard, conforming, testOwn)
		for p := []byte(sql); ; {
			cuts = cuts*6364136223846793005 + 1442695040888963407
			n := min(int(cuts>>58), len(p))
			j.Feed(p[:n])
			if p = p[n:]; len(p) == 0 {
				break
			}
		}
		if got := j.End(); got != want {
			t.Fatalf("cut: %+v, whole: %+v", got, want)
		}
	})
}

// FuzzOrdinaryTextHidesNothing puts a forged context behind text that opens no
// literal and no comment, and behind a token whose inside looks like the opening
// of another: the guard must see it.
func FuzzOrdinaryTextHidesNothing(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "\x00\"'$\\") || strings.Contains(text, "--") || strings.Contains(text, "/*") {
			return
		}
		for _, tail := range []string{"/*'*/", "$a$'$$$a$", "'/*'", "\"'\"", "--'\n", "E'\\''"} {
			sql := text + " " + tail + ";SET app.is_admin=true"
			if v := judge(strictGuard, sql, true, 5); v.Rule == "" {
				t.Fatalf("%q passed", sql)
			}
		}
	})
}
