package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestClaimNamesAreExact(t *testing.T) {
	v := verifier(t, Config{})
	evil := payload(`"Tenant_Id":"evil","TENANT_ID":"evil","tenant_id ":"evil"`)
	if id := wantAccepted(t, v, rawToken(hsHeader, evil)); id.Tenant() != tenantA {
		t.Fatalf("tenant %q", id.Tenant())
	}
	wantRefused(t, v, rawToken(hsHeader, fmt.Sprintf(`{"Tenant_Id":%q,"exp":9999999999}`, tenantA)), ReasonTenant)
	wantRefused(t, v, rawToken(hsHeader, fmt.Sprintf(`{"ſub":"x","tenant_ıd":%q,"exp":9999999999}`, tenantA)), ReasonTenant)
}

func TestTenantHoldsToItsFormat(t *testing.T) {
	cases := []struct {
		format, value string // value as JSON
		want          string // "": refused
	}{
		{"uuid", `"` + tenantA + `"`, tenantA},
		{"", `"` + strings.ToUpper(tenantA) + `"`, tenantA},
		{"uuid", `"{` + tenantA + `}"`, ""},
		{"uuid", `"` + strings.ReplaceAll(tenantA, "-", "") + `"`, ""},
		{"uuid", `" ` + tenantA + `"`, ""},
		{"uuid", `"` + tenantA + `\n"`, ""},
		{"uuid", `"urn:uuid:` + tenantA + `"`, ""},
		{"uuid", `"` + tenantA[:35] + `g"`, ""},
		{"uuid", `"` + strings.Replace(tenantA, "-", "_", 1) + `"`, ""},
		{"uuid", `12345678`, ""},
		{"uuid", `""`, ""},
		{"text", `""`, ""},
		{"text", `"acme"`, "acme"},
		{"text", `"Ünïcode 株式会社"`, "Ünïcode 株式会社"},
		{"text", `42`, "42"},
		{"text", `-42`, "-42"},
		{"text", `123456789012345678901234567890`, "123456789012345678901234567890"},
		{"text", `0`, "0"},
		{"text", `-0`, ""},
		{"text", `42.0`, ""},
		{"text", `4.2e1`, ""},
		{"text", `42E0`, ""},
		{"text", `true`, ""},
		{"text", `null`, ""},
		{"text", `["acme"]`, ""},
		{"text", `{"id":"acme"}`, ""},
		{"text", `"a\tb"`, ""},
		{"text", `"a\nb"`, ""},
		{"text", `"a\u007fb"`, ""},
		{"text", `"a\u0085b"`, ""},
		{"text", `"` + strings.Repeat("x", 256) + `"`, strings.Repeat("x", 256)},
		{"text", `"` + strings.Repeat("x", 257) + `"`, ""},
		{`[a-z]+`, `"acme"`, "acme"},
		{`[a-z]+`, `"acme2"`, ""},
		{`[a-z]+`, `"acme\n"`, ""},
		{`a|b`, `"ab"`, ""},
		{`a|b`, `"b"`, "b"},
		{`(?m)^a$`, `"a"`, "a"},
		{`(?s).*`, `"a\nb"`, ""},
		{`(?i)acme`, `"ACME"`, "ACME"},
		{`\d+`, `7`, "7"},
		{`.*`, `""`, ""},
	}
	for _, c := range cases {
		v := verifier(t, Config{TenantFormat: c.format})
		token := rawToken(hsHeader, `{"exp":9999999999,"tenant_id":`+c.value+`}`)
		if c.want == "" {
			wantRefused(t, v, token, ReasonTenant)
			continue
		}
		if got := wantAccepted(t, v, token).Tenant(); got != c.want {
			t.Errorf("format %s, value %s: tenant %q", c.format, c.value, got)
		}
	}
	wantRefused(t, verifier(t, Config{}), rawToken(hsHeader, `{"exp":9999999999}`), ReasonTenant)
}

func TestTenantClaimMayBeAPathOrAURL(t *testing.T) {
	cases := []struct {
		path, payload string
		want          string // "": refused
	}{
		{"app_metadata.tenant", `"app_metadata":{"tenant":"a"}`, "a"},
		{"app_metadata.tenant", `"app_metadata.tenant":"a"`, ""},
		{"app_metadata.tenant", `"app_metadata":"a"`, ""},
		{"app_metadata.tenant", `"app_metadata":{"Tenant":"a"}`, ""},
		{"app_metadata.tenant", `"app_metadata":[{"tenant":"a"}]`, ""},
		{"app_metadata.tenant", `"app_metadata":{"tenant":{"tenant":"a"}}`, ""},
		{"a.b.c", `"a":{"b":{"c":"x"}}`, "x"},
		{"https://app.example/tenant", `"https://app.example/tenant":"a"`, "a"},
		{"https://app.example/tenant", `"https://app":{"example/tenant":"a"}`, ""},
		{"urn:app:tenant", `"urn:app:tenant":"a"`, "a"},
	}
	for _, c := range cases {
		v := verifier(t, Config{TenantClaim: c.path, TenantFormat: "text"})
		token := rawToken(hsHeader, `{"exp":9999999999,`+c.payload+`}`)
		if c.want == "" {
			wantRefused(t, v, token, ReasonTenant)
		} else if got := wantAccepted(t, v, token).Tenant(); got != c.want {
			t.Errorf("%s in %s: tenant %q", c.path, c.payload, got)
		}
	}
}

func TestClaimGivesScalarsAsText(t *testing.T) {
	id := wantAccepted(t, verifier(t, Config{}), rawToken(hsHeader, payload(`
		"text":"it's","empty":"","yes":true,"no":false,"int":9007199254740993,"float":1.50,"huge":1e400,
		"null":null,"list":["a"],"object":{"in":{"side":"deep"},"n":1},"a.b":"literal"`)))
	for path, want := range map[string]string{
		"text": "it's", "empty": "", "yes": "true", "no": "false", "int": "9007199254740993", "float": "1.50", "huge": "1e400",
		"object.in.side": "deep", "object.n": "1", "tenant_id": tenantA, "sub": "alice",
	} {
		if got, present := id.Claim(path); !present || got != want {
			t.Errorf("%s: %q, %v; want %q", path, got, present, want)
		}
	}
	for _, path := range []string{"null", "list", "object", "list.0", "a.b", "missing", "text.more", "", ".", "object.", "Text", "object.in"} {
		if got, present := id.Claim(path); present || got != "" {
			t.Errorf("%s is present: %q", path, got)
		}
	}
}

func TestCarriesNeedsEveryClaim(t *testing.T) {
	id := wantAccepted(t, verifier(t, Config{}), rawToken(hsHeader, payload(`"role":"migrator","admin":true,"o":{"x":1}`)))
	for _, c := range []struct {
		require map[string]string
		want    bool
	}{
		{nil, true},
		{map[string]string{"role": "migrator"}, true},
		{map[string]string{"role": "migrator", "admin": "true", "o.x": "1"}, true},
		{map[string]string{"role": "Migrator"}, false},
		{map[string]string{"role": "migrator", "admin": "false"}, false},
		{map[string]string{"missing": ""}, false},
		{map[string]string{"o": ""}, false},
	} {
		if got := id.Carries(c.require); got != c.want {
			t.Errorf("%v: %v", c.require, got)
		}
	}
	if (Identity{}).Carries(nil) {
		t.Error("nobody carries something")
	}
}

func TestZeroIdentityIsNobody(t *testing.T) {
	var id Identity
	name, bound := id.User()
	if !id.IsZero() || id.Tenant() != "" || id.Subject() != "" || id.TokenID() != "" || name != "" || !bound || !id.ExpiresAt().Before(time.Unix(0, 0)) {
		t.Error("the zero Identity is somebody")
	}
	if _, present := id.Claim("sub"); present {
		t.Error("the zero Identity has claims")
	}
	if !verifier(t, Config{}).Revoked(id) {
		t.Error("the zero Identity is not revoked")
	}
}

func TestUserClaimBindsTheUser(t *testing.T) {
	v := verifier(t, Config{UserClaim: "db.user"})
	id := wantAccepted(t, v, hs(t, map[string]any{"db": map[string]any{"user": "app"}}))
	if name, bound := id.User(); name != "app" || !bound {
		t.Errorf("user %q, bound %v", name, bound)
	}
	for _, db := range []any{nil, "app", map[string]any{"user": ""}, map[string]any{"user": 1}, map[string]any{"User": "app"}} {
		wantRefused(t, v, hs(t, map[string]any{"db": db}), ReasonClaims)
	}
	if name, bound := wantAccepted(t, verifier(t, Config{}), hs(t, nil)).User(); name != "" || bound {
		t.Errorf("without user_claim: user %q, bound %v", name, bound)
	}
}

func TestIdentityTellsSubjectAndTokenID(t *testing.T) {
	v := verifier(t, Config{})
	if id := wantAccepted(t, v, hs(t, nil)); id.Subject() != "alice" || id.TokenID() != "token-1" {
		t.Errorf("subject %q, token id %q", id.Subject(), id.TokenID())
	}
	if id := wantAccepted(t, v, hs(t, map[string]any{"sub": nil, "jti": nil})); id.Subject() != "" || id.TokenID() != "" {
		t.Errorf("subject %q, token id %q", id.Subject(), id.TokenID())
	}
}

func TestWhatIsDerivedOfATokenIsItsOwn(t *testing.T) {
	v := verifier(t, Config{})
	made := 0
	derive := func(id Identity, key any) any {
		value, err := id.Derived(key, func() (any, error) {
			made++
			return fmt.Sprint(id.Tenant(), id.Subject(), key), nil
		})
		if want := fmt.Sprint(id.Tenant(), id.Subject(), key); err != nil || value != want {
			t.Errorf("derived %v (%v), want %s", value, err, want)
		}
		return value
	}
	token := hs(t, nil)
	for range 2 {
		derive(wantAccepted(t, v, token), 1)
	}
	if made != 1 {
		t.Errorf("it was derived %d times for one token", made)
	}
	derive(wantAccepted(t, v, token), 2)
	derive(wantAccepted(t, v, token), 1)
	derive(wantAccepted(t, v, hs(t, map[string]any{"sub": "bob"})), 1)
	if made != 4 {
		t.Errorf("it was derived %d times, want once for each token and key", made)
	}
	derive(Identity{}, 1)
	derive(Identity{}, 1)
	if made != 6 {
		t.Error("something is kept for nobody")
	}
	id := wantAccepted(t, v, hs(t, map[string]any{"sub": "carol"}))
	if _, err := id.Derived(1, func() (any, error) { return nil, errors.New("no") }); err == nil {
		t.Error("the error is lost")
	}
	derive(id, 1)
}
