package proxy

import (
	"encoding/base64"
	"strings"
	"testing"
)

// token is a JWT of the given header; its signature has as many bytes as ES256 and EdDSA make.
func token(header string) (jwt, signature string) {
	encode := base64.RawURLEncoding.EncodeToString
	signature = encode([]byte(strings.Repeat("\x5a\xc3", 32)))
	return encode([]byte(header)) + "." + encode([]byte(`{"sub":"s"}`)) + "." + signature, signature
}

func TestATokenInThePlaceOfANameIsNotLogged(t *testing.T) {
	jwt, signature := token(`{"alg":"ES256"}`)
	for name, text := range map[string]string{
		"alone": jwt, "with more behind it": jwt + ".more", "without a signature": strings.TrimSuffix(jwt, signature),
		"as a JWE": "eyJhbGciOiJkaXIifQ..iv.text.tag",
	} {
		if got := printable(text); got != "[redacted]" {
			t.Errorf("a token %s is logged as %q", name, got)
		}
	}
}

func TestNoWholeTokenIsLoggedHoweverItIsWrapped(t *testing.T) {
	jwt, signature := token(`{"alg":"ES256"}`)
	spaced, _ := token("{ \"alg\":\"ES256\"}")
	broken, _ := token("{\n\"alg\":\"ES256\"}")
	for _, text := range []string{spaced, broken, " " + jwt, "Bearer " + jwt, "user=" + jwt, strings.Repeat("x", 40) + jwt} {
		if got := printable(text); strings.Contains(got, signature) || strings.Contains(got, signature[:len(signature)/2]) {
			t.Errorf("%q is logged as %q, with its signature", text, got)
		}
	}
}

func TestNamesAreLoggedAsTheyAreButShort(t *testing.T) {
	for _, name := range []string{"", "app", "first.last", "a.b.c", "eyJack", "eyJ.one", strings.Repeat("x", 63)} {
		if got := printable(name); got != name {
			t.Errorf("%q is logged as %q", name, got)
		}
	}
	if got := printable(strings.Repeat("x", 64)); got != strings.Repeat("x", 63) {
		t.Errorf("a name of 64 bytes is logged with %d", len(got))
	}
}
