package session

import (
	"slices"
	"strings"
	"testing"

	"github.com/tenantgate/tenantgate/wire"
)

func TestOrdinarySettingsAreListedOnceAndSorted(t *testing.T) {
	if !slices.IsSorted(ordinary[:]) || len(slices.Compact(slices.Clone(ordinary[:]))) != len(ordinary) {
		t.Error("they are not in order")
	}
	if len(ordinary) > 125 {
		t.Errorf("%d settings do not fit", len(ordinary))
	}
	for _, name := range ordinary {
		if settingOf(name).names()[0] != name || name != strings.ToLower(name) || reservedParams[name] || strings.Contains(name, ".") {
			t.Error(name)
		}
		if settingOf(name).has(settingsAll.or(settingsBack).or(settingsLocal)) {
			t.Errorf("%s has a bit that is taken", name)
		}
	}
}

func TestSettingsThatAreFollowedAreSeen(t *testing.T) {
	g := NewGuard(GuardConfig{Context: GuardEnforce, HiddenSQL: GuardLog, Reserved: []string{"app.current_tenant_id"}})
	for sql, want := range map[string]string{ // the names; or, behind !, the pin
		`SET extra_float_digits = 3`: "extra_float_digits", `SET SESSION statement_timeout TO '5s'`: "statement_timeout",
		"set\n/* c */Work_Mem=1": "work_mem", `SET "DateStyle" TO ISO, DMY`: "datestyle", `SET search_path = a, b`: "search_path",
		`SET client_min_messages TO warning;SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE;`: "client_min_messages timezone",
		`SET TIME ZONE 'UTC'`: "timezone", `SET TIME ZONE LOCAL`: "timezone", `SET TIME ZONE DEFAULT`: "timezone", `SET SESSION TIME ZONE -3`: "timezone",
		`SET NAMES 'utf8'`: "client_encoding", `SET NAMES DEFAULT`: "client_encoding", `SET SCHEMA 'a'`: "search_path", `SET SCHEMA E'a'`: "search_path",
		`SET standard_conforming_strings = on`: "standard_conforming_strings", `SET work_mem TO DEFAULT`: "work_mem", `SET work_mem FROM CURRENT`: "work_mem",
		`SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE`: "default_transaction_isolation default_transaction_read_only",
		`RESET work_mem`: "work_mem", `RESET TIME ZONE`: "timezone", `BEGIN; SET work_mem = 1; ROLLBACK`: "work_mem", `SET LOCAL work_mem = 1; SET jit = off`: "jit",
		`SELECT set_config('work_mem', $1, false)`: "work_mem", `SELECT pg_catalog.set_config('Search_Path', 'a', f())`: "search_path", `SELECT set_config('work_mem'::varchar, '1', $1)`: "work_mem",
		`SELECT set_config('jit', 'off', false), set_config('work_mem', '1', false)`: "jit work_mem",

		`SET LOCAL work_mem = 1`: "", `SELECT set_config('work_mem', '1', true)`: "", `SET LOCAL TIME ZONE 'UTC'`: "local", "set local\nDateStyle = DMY; SET jit = off": "local jit", `SELECT set_config('IntervalStyle', $1, true)`: "local", `SET LOCAL NAMES 'LATIN1'`: "local",
		`SET LOCAL x.datestyle = 1`: "", `ALTER ROLE r SET datestyle = DMY`: "", `SELECT set_config('x.datestyle', '1', true)`: "", `SELECT 'SET work_mem = 1'`: "", `SHOW work_mem`: "",
		`SET TRANSACTION READ ONLY`: "", `SET LOCAL SCHEMA 'a'`: "", `SET app.current_tenant_id = 'own'`: "", `RESET ALL`: "", `ALTER ROLE r SET work_mem = 1`: "",

		`SET x = 1`: "!set", `SET x.work_mem = 1`: "!set", `SET work_mem.x = 1`: "!set", `SET "work_mem.x" = 1`: "!set", `SET my.own = 1; SET work_mem = 1`: "!set work_mem",
		`SET work_mem = 1; SET my.own = 1`: "!set work_mem", `SET U&"work\005fmem" = 1`: "!unknown", `SET ` + strings.Repeat("x", 70) + `work_mem = 1`: "!set",
		"SET jıt = on": "!set", "SET j\u0130t = off": "!set", `SET seed = 0.5`: "!set", `SET idle_session_timeout = 1`: "!set", `SET temp_buffers = 1`: "!set",
		`SET transaction_isolation = 'serializable'`: "!set", `SET SESSION CHARACTERISTICS AS TRANSACTION DEFERRABLE`: "!set", `SET default_transaction_deferrable = on`: "!set",
		`SET client_encoding = 'SJIS'`: "!unknown client_encoding", `SET standard_conforming_strings = off`: "!unknown standard_conforming_strings",
		`SELECT set_config('work' || '_mem', '1', false)`: "!unknown", `SELECT set_config($1, '1', false)`: "!unknown", `SELECT set_config('work_mem'::text, '1', false)`: "!set",
		`SELECT set_config('my.own', '1', false)`: "!set", `SELECT set_config('work_mem', set_config('jit', 'off', false), false)`: "!set jit",
		`CREATE VIEW v AS SELECT set_config('work_mem', '1', false)`: "!set", `PREPARE p AS SELECT set_config('work_mem', '1', false)`: "!prepare work_mem",
		`SET search_path = 'pg_temp'`: "!temporary search_path", `SET search_path = a, pg_temp`: "!temporary search_path", `SET SCHEMA 'pg_temp'`: "!temporary search_path",
		`UPDATE pg_settings SET setting = '1' WHERE name = 'work_mem'`: "!set",
	} {
		for _, n := range []int{len(sql), 1, 3} {
			var j Judge
			j.Begin(g, true, func(string) string { return "own" })
			for p := []byte(sql); len(p) > 0; p = p[min(n, len(p)):] {
				j.Feed(p[:min(n, len(p))])
			}
			e := j.End().Effects
			got := e.Sets.names()
			if e.Sets.has(settingsLocal) {
				got = append([]string{"local"}, got...)
			}
			if e.Pin != PinNone {
				got = append([]string{"!" + e.Pin.String()}, got...)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%q in pieces of %d: %q, want %q", sql, n, got, want)
			}
		}
	}
}

// TestAnEntryFollowsTheClient holds what an entry becomes of, and that it is the one of the
// login again when nothing of it is left.
func TestAnEntryFollowsTheClient(t *testing.T) {
	first := newParameters(map[string]string{"TimeZone": "Etc/UTC", "DateStyle": "ISO, MDY", "application_name": "x"})
	base, err := modelSpec.NewEntry(1, identities(t, "a")[0], []wire.Param{{Name: "TimeZone", Value: "utc"}, {Name: "WORK_MEM", Value: "4MB"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	set := func(e *Entry, pairs ...string) *Entry {
		var set []wire.Param
		for i := 0; i < len(pairs); i += 2 {
			if !e.origin().begins(pairs[i], pairs[i+1], first, []string{"jit", "work_mem"}) {
				set = append(set, wire.Param{Name: pairs[i], Value: pairs[i+1]})
			}
		}
		return e.with(set, first)
	}
	one := set(base, "timezone", "Asia/Tokyo", "statement_timeout", "5s")
	if got := one.settings; len(got) != 3 || got[0].Name != "WORK_MEM" || got[1].Value != "5s" || got[2].Value != "Asia/Tokyo" {
		t.Errorf("%v", got)
	}
	other := set(set(base, "statement_timeout", "1s"), "statement_timeout", "5s", "timezone", "Asia/Tokyo")
	if one == other || !one.same(other, true) || one.same(base, true) {
		t.Error("equal sessions do not compare equal")
	}
	if set(one, "timezone", "Asia/Tokyo", "statement_timeout", "5s") != one {
		t.Error("nothing has changed, and there is another entry")
	}
	for _, back := range [][]string{{}, {"timezone", "utc"}, {"timezone", "Etc/UTC", "jit", "on"}, {"work_mem", "4MB", "application_name", "x"}, {"app.user_id", "z"}} {
		if set(one, back...) != base {
			t.Errorf("%v is not the beginning", back)
		}
	}
	if set(one, "work_mem", "8MB") == base || set(one, "lock_timeout", "0") == base {
		t.Error("what is set is lost")
	}
	if s, _ := one.undone(&Effects{ResetAll: true}); !slices.Equal(s, base.settings) {
		t.Errorf("RESET ALL goes back to %v", s)
	}
}

// TestNothingIsAwaitedThatWasNotAskedFor: a row that confirms the context must not be taken for values of settings.
func TestNothingIsAwaitedThatWasNotAskedFor(t *testing.T) {
	p := newParty(t, &Terms{Guard: NewGuard(GuardConfig{Context: GuardEnforce, Reserved: modelSpec.Names()})})
	p.as(1, query("set application_name = 'x'"))
	if p.lease.Entry().followed != 1 {
		t.Fatal("the setting is not followed")
	}
	p.as(1, query("reset default_tablespace"))
	if p.lease.asking() || p.lease.follow != nil {
		t.Error("values are awaited, and none were asked for")
	}
}

// TestALongSettingKeepsTheBackend, however long it is, until it is discarded.
func TestALongSettingKeepsTheBackend(t *testing.T) {
	for _, size := range []int{maxFollowed, maxFollowed + 1, gatherLimit + 1, 2 << 20} {
		eachSize(t, func(t *testing.T, piece int) {
			if piece == 1 && size > gatherLimit {
				return // it takes too long
			}
			p := newParty(t, &Terms{Guard: NewGuard(GuardConfig{Context: GuardEnforce, Reserved: modelSpec.Names()})})
			p.as(1, query("select 1 1"))
			p.size = piece
			value := strings.Repeat("x", size)
			p.as(1, query("set work_mem = '"+value+"'"))
			want := PinNone
			if size > maxFollowed {
				want = PinSet
			}
			if p.lease.Pinned() != want || p.lease.Holding() {
				t.Errorf("%d bytes: pinned by %q, holding %v", size, p.lease.Pinned(), p.lease.Holding())
			}
			if p.as(1, query("select 1 1")); p.pg.settings.get("work_mem") != value {
				t.Errorf("%d bytes: the setting is lost", size)
			}
			if p.as(1, query("discard all")); !p.lease.Detachable() || p.pg.settings.get("work_mem") != "" {
				t.Errorf("%d bytes: pinned by %q behind a DISCARD ALL", size, p.lease.Pinned())
			}
		})
	}
}

// TestAPathToTemporaryObjectsKeepsTheBackend, however it is spelled: what is made there
// is lost on another one.
func TestAPathToTemporaryObjectsKeepsTheBackend(t *testing.T) {
	for value, want := range map[string]Pin{"pg_temp, public": PinTemp, `"$user", PG_Temp`: PinTemp, "public": PinNone} {
		entry, err := modelSpec.NewEntry(1, identities(t, "a")[0], []wire.Param{{Name: "SEARCH_PATH", Value: value}}, false)
		if err != nil {
			t.Fatal(err)
		}
		var l Lease
		if err := l.Begin(&Terms{Transaction: true}, entry, &Backend{}, &Out{}); err != nil {
			t.Fatal(err)
		}
		if l.Pinned() != want {
			t.Errorf("search_path %s: pinned by %q, want %q", value, l.Pinned(), want)
		}
	}
}
