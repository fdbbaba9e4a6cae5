package proxy

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/tenantgate/tenantgate/auth"
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

func TestATokenThatIsGoodForAgesEndsNoSession(t *testing.T) {
	secret := auth.KeyConfig{Algorithm: "HS256", Secret: auth.Secret(strings.Repeat("0123456789abcdef", 2))}
	key, err := auth.LoadSigningKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, leeway := range []time.Duration{0, 5 * time.Second, 30 * time.Second} {
		v, err := auth.New(auth.Config{Keys: []auth.KeyConfig{secret}, TenantFormat: "text", Leeway: leeway}, nil)
		if err != nil {
			t.Fatal(err)
		}
		jwt, err := auth.Mint(key, map[string]any{"tenant_id": "a", "exp": time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		id, err := v.Verify(time.Now(), jwt)
		if err != nil {
			t.Fatal(err)
		}
		g := &login{loop: &loop{now: clock()}, config: &Config{Leeway: leeway}, identity: id}
		if at := g.expires(); at < clock() || at+int64(expiryGrace) < at {
			t.Errorf("with %v of leeway it ends at %d, and with its grace at %d", leeway, at, at+int64(expiryGrace))
		}
	}
}
