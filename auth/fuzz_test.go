package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzVerifier accepts HS256, EdDSA and JWKS keys, and any text as a tenant.
func fuzzVerifier(t testing.TB) *Verifier {
	t.Helper()
	return verifier(t, Config{
		TenantFormat: "text", UserClaim: "user.name", MaxLifetime: 1 << 62,
		Keys: []KeyConfig{hsKey, {Algorithm: "EdDSA", PublicKeyFile: file(t, publicPEM(t, edPair().public))}},
		JWKS: JWKSConfig{File: file(t, jwkSet(t, jwk("k", "", p256Pair().public)))},
	})
}

// wantSound fails when an answer of Verify breaks what every caller relies on.
func wantSound(t testing.TB, id Identity, err error) {
	t.Helper()
	var refusal *Refusal
	if err != nil {
		if !errors.As(err, &refusal) || !slices.Contains(Reasons(), refusal.Reason) || refusal.cause == nil {
			t.Fatalf("error %v", err)
		}
		if id != (Identity{}) {
			t.Fatal("an Identity beside an error")
		}
		return
	}
	tenant := id.Tenant()
	if id.IsZero() || tenant == "" || len(tenant) > maxTenant || !utf8.ValidString(tenant) || strings.ContainsAny(tenant, "\x00\n\r") {
		t.Fatalf("tenant %q", tenant)
	}
	for name := range id.claims.values {
		if text, _ := id.Claim(name); !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			t.Fatalf("claim %q is %q", name, text)
		}
	}
}

// FuzzVerify gives any text to Verify, as a token and as the payload and header
// of a token that is signed properly.
func FuzzVerify(f *testing.F) {
	f.Add(hsHeader, payload(`"user":{"name":"app"},"iat":1`))
	f.Add(`{"alg":"none"}`, payload(""))
	f.Add(`{"alg":"HS256","crit":["exp"]}`, payload(""))
	f.Add(hsHeader, `{"tenant_id":"a","tenant_id":"b","exp":1e400,"nbf":"x"}`)
	f.Add(hsHeader, `{"tenant_id":"\ud800","exp":[[[[]]]],"x":{"y":{"z":"\u0000"}}}`)
	f.Add("a.b.c", "..")
	f.Add(`{"alg":"ES256","kid":"k"}`, "{}")
	f.Add(hs(f, nil), signed(f, "EdDSA", "x", edPair().private, goodClaims(nil)))
	v := fuzzVerifier(f)
	f.Fuzz(func(t *testing.T, head, body string) {
		tokens := []string{head, body, head + "." + body + ".", rawToken(head, body), rawToken(hsHeader, body), rawToken(head, payload(""))}
		for _, token := range tokens {
			id, err := v.Verify(testNow, token)
			wantSound(t, id, err)
			again, errAgain := v.Verify(testNow, token)
			wantSound(t, again, errAgain)
			if again != id || fmt.Sprint(err) != fmt.Sprint(errAgain) {
				t.Fatal("the second answer differs")
			}
		}
	})
}

// FuzzCheckJSON compares the strict reader with encoding/json: what it accepts
// decodes to an object that, encoded again, has lost nothing.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1,"b":[{"c":"\ud83d\ude00"},null,true]}`, `{"a":1,"\u0061":2}`, `{"a":{"a":{"a":1}}}`, `[]`, `"x"`, `1`, ` {} `, `{}{}`,
		`{"a":"\ud800"}`, `{"a":"\ud800\u0041"}`, `{"a":"\\u0000"}`, `{"a":"\u0000"}`, "{\"a\":\"\xff\"}", `{"a\"":"\\\"","b":"\\"}`, `{"a":"\ud800\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if checkJSON(data) != nil {
			return
		}
		var values map[string]any
		if err := json.Unmarshal(data, &values); err != nil || values == nil {
			t.Fatalf("accepted, but not an object: %v", err)
		}
		names := strings.Count(string(data), `:`)
		if counted := countNames(values); counted > names {
			t.Fatalf("%d names decoded from %d colons", counted, names)
		}
		decoder := json.NewDecoder(strings.NewReader(string(data)))
		if got, want := countNames(values), countTokens(t, decoder); got != want {
			t.Fatalf("%d names survive of %d: a duplicate was accepted", got, want)
		}
		if !strings.Contains(string(data), "\ufffd") && !strings.Contains(strings.ToLower(string(data)), `\ufffd`) &&
			strings.Contains(fmt.Sprint(values), "\ufffd") {
			t.Fatal("a replacement character appeared")
		}
		if strings.Contains(fmt.Sprint(values), "\x00") {
			t.Fatal("a NUL got through")
		}
	})
}

// countNames counts the names of all objects in a decoded value.
func countNames(value any) int {
	n := 0
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			n += 1 + countNames(inner)
		}
	case []any:
		for _, inner := range v {
			n += countNames(inner)
		}
	}
	return n
}

// countTokens counts the names of all objects in a JSON text.
func countTokens(t *testing.T, decoder *json.Decoder) int {
	t.Helper()
	decoder.UseNumber()
	n := 0
	var value func()
	value = func() {
		token, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		delim, ok := token.(json.Delim)
		if !ok {
			return
		}
		for decoder.More() {
			if delim == '{' {
				if _, err := decoder.Token(); err != nil {
					t.Fatal(err)
				}
				n++
			}
			value()
		}
		if _, err := decoder.Token(); err != nil {
			t.Fatal(err)
		}
	}
	value()
	return n
}

// FuzzParseJWKS gives any text to the key set parser: whatever it accepts is a
// public key that fits its algorithm.
func FuzzParseJWKS(f *testing.F) {
	f.Add(jwkSet(f, jwk("a", "", rsaPair().public), jwk("b", "ES256", p256Pair().public), jwk("c", "", edPair().public)))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQ","e":"AQ"},{"kty":"OKP","crv":"Ed25519","x":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + `","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := parseJWKS(data)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if k.algorithm == nil || k.algorithm.family == familyHMAC || k.algorithm.fits(k.material()) != nil {
				t.Fatalf("accepted %v", k)
			}
		}
	})
}

// FuzzParseRevocations gives any text to the revoked file's parser.
func FuzzParseRevocations(f *testing.F) {
	f.Add([]byte("jti=a\nsub=b\n# c\n\ntenant=" + tenantA))
	f.Add([]byte("jti==\nsub=\xff"))
	rule, err := newTenantRule("tenant_id", "uuid")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parseRevocations(data, rule)
		if (err == nil) != (set != nil) {
			t.Fatal("a set beside an error, or none without")
		}
		if err == nil && set.names(&claims{}) {
			t.Fatal("a token without jti and sub is revoked")
		}
	})
}
