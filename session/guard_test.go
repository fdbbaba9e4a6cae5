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

// refusal is SQL and the rule that refuses it.
type refusal struct {
	rule Rule
	sql  string
}

// mustRefuse holds that the guard refuses each by its rule, however it is cut in pieces.
func mustRefuse(t *testing.T, all []refusal) {
	t.Helper()
	for _, c := range all {
		if v := judgeAll(t, testGuard, c.sql, true); v.Rule != c.rule || v.Mode != GuardEnforce {
			t.Errorf("%q: %q (%s), want %q", c.sql, v.Rule, v.Mode, c.rule)
		}
	}
}

func TestGuardRefusesWhatTheLexerDoesNotHold(t *testing.T) {
	mustRefuse(t, []refusal{
		{RuleUnreadable, `SELECT $` + strings.Repeat("x", 257) + `$ ; $`},
	})
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
			if got.Pin, got.Stirs, got.Sets = PinNone, false, (settingSet{}); got != want { // see TestPinsAreSeen
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
