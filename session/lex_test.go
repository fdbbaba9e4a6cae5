package session

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// benchStatement is an ordinary statement of about 500 bytes.
const benchStatement = `SELECT p.id, p.name, p.description, p.created_at, p.updated_at, o.id AS organization_id, o.name AS organization_name, ` +
	`count(t.id) AS tasks, coalesce(sum(t.estimate), 0) AS estimate FROM projects p INNER JOIN organizations o ON o.id = p.organization_id ` +
	`LEFT JOIN tasks t ON t.project_id = p.id AND t.state <> 'archived' WHERE p.owner_id = $1 AND p.created_at >= $2 AND p.name ILIKE '%' || $3 || '%' ` +
	`GROUP BY p.id, o.id ORDER BY p.created_at DESC, p.id LIMIT 50 OFFSET $4`

// benchQuoted is the like from an ORM that quotes every name.
const benchQuoted = `SELECT "core_project"."id", "core_project"."name", "core_project"."created_at", "core_organization"."id", "core_organization"."name" ` +
	`FROM "core_project" INNER JOIN "core_organization" ON ("core_project"."organization_id" = "core_organization"."id") WHERE ` +
	`("core_project"."owner_id" = 42 AND "core_project"."state" IN ('open', 'waiting')) ORDER BY "core_project"."created_at" DESC LIMIT 21`

// fragments are what statements are made of, and what lexers trip over.
var fragments = []string{
	"'", "''", `\`, `\'`, `"`, `""`, "$$", "$a$", "$b$", "$", "--", "\n", "\r", " ", "  ", "/*", "*/", "/", "*", "-", ".", ";", ",",
	"(", ")", "[", "]", ":", "::text", "=", "E'", "U&'", `U&"`, "N'", "b'", "1", "1e", "$1", "x", "e", "u", "é", "a$a$", "select ", "set ",
	"reset ", "session ", "local ", "time zone ", "authorization ", "role ", "names ", "to ", "default ", "all ", "none ", "app", "app.is_admin",
	"'app.is_admin'", "'true'", "'false'", "set_config(", "pg_catalog.", "ts_rewrite(", ".ts_stat", "update ", "pg_settings ", "create ",
	"function ", "alter ", "user ", "mapping ", "discard ", "prepare ", "transaction ", "uescape ", "from ",
	"treat(", "into ", "view ", "rule ", "explain ", "schema ", "only ", "name", "'view'", "İ", "conf\xddg(", "::", "ts_stat ", "delete ", "for ", "current ", "a_rather_long_word",
}

func TestVerdictsDoNotDependOnChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	violations := 0
	for range 20_000 {
		var b strings.Builder
		for range 1 + r.IntN(25) {
			b.WriteString(fragments[r.IntN(len(fragments))])
		}
		sql, conforming := b.String(), r.IntN(4) > 0
		want := judge(strictGuard, sql, conforming, len(sql))
		for _, piece := range []int{1, 1 + r.IntN(30)} {
			if got := judge(strictGuard, sql, conforming, piece); got != want {
				t.Fatalf("%q in pieces of %d: %+v, whole: %+v", sql, piece, got, want)
			}
		}
		if want.Rule != "" {
			violations++
		}
	}
	if violations < 1000 {
		t.Errorf("only %d of the statements violate a rule: the fragments show too little", violations)
	}
}

func TestNoWordsInFrontHideWhatFollows(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	words := slices.DeleteFunc(slices.Clone(fragments), func(f string) bool {
		return strings.ContainsAny(f, `'"$;\`) || strings.Contains(f, "--") || strings.ContainsAny(f, "/*-")
	})
	words = append(words, `"x"`, "'x'", "$1", "set_config ", "pg_notify ", "lo_get.", "delete from ", `U&"x" `, "uescape '!' ")
	var j Judge
	clean := 0
	for range 30_000 {
		b := []byte("SELECT ")
		for range r.IntN(10) {
			b = append(b, words[r.IntN(len(words))]...)
		}
		if judge(strictGuard, string(b), true, len(b)).Rule != "" {
			continue
		}
		clean++
		for _, tail := range []string{
			" set_config('app.is_admin','true',false)", ".ts_stat", " TREAT('x' AS ts_stat)", " UPDATE ONLY (a.pg_settings) SET x = 1",
			" INTO TEMP pg_settings", ` U&"x" UESCAPE '!'(1)`, ";SET app.is_admin = true",
		} {
			j.Begin(strictGuard, true, testOwn)
			j.Feed(b)
			j.Feed([]byte(tail))
			if j.End().Rule == "" {
				t.Fatalf("%s%s passed", b, tail)
			}
		}
	}
	if clean < 10_000 {
		t.Errorf("only %d beginnings are harmless: the words show too little", clean)
	}
}

func BenchmarkJudge(b *testing.B) {
	for _, c := range []struct{ name, sql string }{
		{"36B", `SELECT name FROM users WHERE id = $1`},
		{"500B", benchStatement},
		{"quoted", benchQuoted},
		{"13kB", `INSERT INTO t (a, b, c) VALUES ` + strings.Repeat(`(1, 'some text of a row', $7), `, 450) + `(1, '', 2)`},
	} {
		b.Run(c.name, func(b *testing.B) {
			sql := []byte(c.sql)
			b.SetBytes(int64(len(sql)))
			b.ReportAllocs()
			var j Judge
			for b.Loop() {
				j.Begin(testGuard, true, testOwn)
				j.Feed(sql)
				if j.End().Rule != "" {
					b.Fatal("refused")
				}
			}
		})
	}
}
