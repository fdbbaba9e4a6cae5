package audit

import (
	"slices"
	"testing"
)

// The settings of these tests as the server prints them.
const (
	rawTenant    = `(current_setting('app.current_tenant_id'::text))::uuid`
	safeTenant   = `(NULLIF(current_setting('app.current_tenant_id'::text, true), ''::text))::uuid`
	steadyTenant = `( SELECT ` + safeTenant + ` AS "nullif")`
)

func TestAConditionBindsTheTenantOnlyWhenEveryAlternativeDoes(t *testing.T) {
	for text, want := range map[string]bool{
		"(tenant_id = " + rawTenant + ")":                                                    true,
		"(tenant_id = " + steadyTenant + ")":                                                 true,
		"(" + steadyTenant + " = tenant_id)":                                                 true,
		"((tenant_id = " + rawTenant + ") AND (deleted IS NULL))":                            true,
		"((tenant_id = " + rawTenant + ") OR is_public)":                                     false,
		"((tenant_id = " + rawTenant + ") OR (tenant_id IS NULL))":                           false,
		"(tenant_id <> " + rawTenant + ")":                                                   false,
		"(NOT (tenant_id = " + rawTenant + "))":                                              false,
		"(tenant_id IS NOT NULL)":                                                            false,
		"(tenant_id = tenant_id)":                                                            false,
		"true":                                                                               false,
		"(tenant_id = COALESCE(" + safeTenant + ", tenant_id))":                              false,
		"(current_setting('app.is_admin'::text) = 'true'::text)":                             false,
		"((tenant_id IS NOT NULL) AND (current_setting('a.b'::text) = 'x'::text))":           false,
		"(tenant_id = ANY (ARRAY( SELECT auth.tenants() AS tenants)))":                       true,
		"(tenant_id IN ( SELECT m.tenant_id FROM public.members m WHERE (m.role <> 'x')))":   true,
		"auth.is_member(tenant_id)":                                                          true,
		"((tenant_id)::text = (auth.jwt() ->> 'tenant'::text))":                              true,
		"CASE WHEN ((1 = 1) OR (2 = 2)) THEN (tenant_id = " + rawTenant + ") ELSE false END": true,
		`("tenant_id" = ` + rawTenant + `)`:                                                  true,
		"((tenant_id)::text ~~ current_setting('app.current_tenant_id'::text))":              false,
		"((tenant_id >= 1) AND (tenant_id <= 2))":                                            false,
		"('tenant_id = x'::text = current_setting('app.current_tenant_id'::text))":           false,
		"((kind = 'it''s (x) OR y'::text) AND (tenant_id = " + rawTenant + "))":              true,
	} {
		if got := parseExpr(text).binds("tenant_id"); got != want {
			t.Errorf("%s: binds %v, want %v", text, got, want)
		}
	}
}

func TestReadingsAreRewrittenOnceAndForAll(t *testing.T) {
	for text, want := range map[string]string{
		"(tenant_id = " + rawTenant + ")":                                                 "(tenant_id = (SELECT (NULLIF(current_setting('app.current_tenant_id'::text, true), ''))::uuid))",
		"(tenant_id = " + safeTenant + ")":                                                "(tenant_id = (SELECT " + safeTenant + "))",
		"(tenant_id = " + steadyTenant + ")":                                              "(tenant_id = " + steadyTenant + ")",
		"(t = current_setting('a.b'::text))":                                              "(t = (SELECT NULLIF(current_setting('a.b'::text, true), '')))",
		"((COALESCE(current_setting('a.b'::text, true), 'false'::text))::boolean = true)": "((SELECT (COALESCE(NULLIF(current_setting('a.b'::text, true), ''), 'false'::text))::boolean) = true)",
		"((t)::text = (current_setting('a.b'::text))::character varying(20))":             "((t)::text = (SELECT (NULLIF(current_setting('a.b'::text, true), ''))::character varying(20)))",
		"(tenant_id = auth.tenant())":                                                     "(tenant_id = (SELECT auth.tenant()))",
		"auth.may(tenant_id)":                                                             "auth.may(tenant_id)",
		"(tenant_id = ( SELECT auth.tenant() AS tenant))":                                 "(tenant_id = ( SELECT auth.tenant() AS tenant))",
	} {
		e := parseExpr(text)
		got := e.steady()
		if got != want {
			t.Errorf("%s becomes\n %s, want\n %s", text, got, want)
		}
		if again := parseExpr(got); again.steady() != got || len(again.perRow()) > 0 {
			t.Errorf("%s is not steady: %s", got, again.steady())
		}
	}
}

func TestAReadingThatFailsWithoutAContextIsSeen(t *testing.T) {
	for text, fragile := range map[string]bool{
		rawTenant:                            true,
		safeTenant:                           false,
		"current_setting('a.b'::text, true)": false,
		"(current_setting('a.b'::text, true))::bigint":                                   true,
		"(current_setting('a.b'::text, true))::character varying":                        false,
		"current_setting('a.b'::text, false)":                                            true,
		"(COALESCE(current_setting('a.b'::text, true), 'false'::text))::boolean":         true,
		"(COALESCE(NULLIF(current_setting('a.b'::text, true), ''::text), 'f'))::boolean": false,
	} {
		readings := parseExpr(text).readings()
		if len(readings) != 1 || (readings[0].fragile() != "") != fragile {
			t.Errorf("%s: %+v", text, readings)
		}
	}
}

func TestTheAlternativesOfAConditionAreFound(t *testing.T) {
	var got []string
	for _, term := range parseExpr("((a = 1) OR ((b BETWEEN 1 AND 2) OR (c AND (d OR e))))").terms() {
		got = append(got, term.String())
	}
	if want := []string{"a = 1", "b BETWEEN 1 AND 2", "c AND (d OR e)"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzExpressions(f *testing.F) {
	for _, seed := range []string{rawTenant, steadyTenant, "(a OR (b", ") OR (", `"x""y" = E'\'' OR [`, "current_setting(", "auth.f((", "x::", "!C.rrent_setting(", "a.b)(", " Current_setting()::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := parseExpr(text)
		if len(e.tokens) == 0 {
			return
		}
		e.binds("tenant_id")
		e.perRow()
		e.steady()
	})
}
