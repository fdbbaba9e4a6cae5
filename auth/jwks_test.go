package auth

import (
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// jwk is a signing key of a set.
func jwk(kid, name string, public crypto.PublicKey) jose.JSONWebKey {
	return jose.JSONWebKey{Key: public, KeyID: kid, Algorithm: name, Use: "sig"}
}

// rawJWK is a key with members changed (nil takes one away).
func rawJWK(t testing.TB, k jose.JSONWebKey, edits map[string]any) string {
	t.Helper()
	text, err := k.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range edits {
		members[name] = value
		if value == nil {
			delete(members, name)
		}
	}
	if text, err = json.Marshal(members); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestJWKSKeysAreBoundToOneAlgorithm(t *testing.T) {
	set := jwkSet(t,
		jwk("r", "", rsaPair().public), jwk("ps", "PS384", rsaOther().public), jwk("e", "", p256Pair().public),
		jwk("e3", "ES384", p384Pair().public), jwk("e5", "", p521Pair().public), jwk("ed", "", edPair().public))
	v := verifier(t, Config{JWKS: JWKSConfig{File: file(t, set)}})
	for _, c := range []struct {
		name, kid string
		key       pair
	}{
		{"RS256", "r", rsaPair()},
		{"PS384", "ps", rsaOther()},
		{"ES256", "e", p256Pair()},
		{"ES384", "e3", p384Pair()},
		{"ES512", "e5", p521Pair()},
		{"EdDSA", "ed", edPair()},
		{"RS256", "", rsaPair()},
		{"EdDSA", "", edPair()},
	} {
		wantAccepted(t, v, signed(t, c.name, c.kid, c.key.private, goodClaims(nil)))
	}
	for _, c := range []struct {
		name, kid string
		key       pair
		reason    Reason
	}{
		{"RS384", "r", rsaPair(), ReasonAlgorithm}, // RSA without alg is RS256 alone
		{"PS256", "r", rsaPair(), ReasonAlgorithm},
		{"RS256", "ps", rsaOther(), ReasonUnknownKey},
		{"RS256", "r", rsaOther(), ReasonSignature},
		{"ES256", "r", p256Pair(), ReasonUnknownKey},
		{"ES256", "e", p256Other(), ReasonSignature},
	} {
		wantRefused(t, v, signed(t, c.name, c.kid, c.key.private, goodClaims(nil)), c.reason)
	}
	wantRefused(t, v, macToken(`{"alg":"HS256","kid":"r"}`, payload(""), publicPEM(t, rsaPair().public)), ReasonAlgorithm)
}

func TestOneBadKeyDoesNotCostTheSet(t *testing.T) {
	good := rawJWK(t, jwk("good", "ES256", p256Pair().public), nil)
	token := signed(t, "ES256", "good", p256Pair().private, goodClaims(nil))
	private, err := jose.JSONWebKey{Key: p256Other().private, KeyID: "bad"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	weak := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	even := &rsa.PublicKey{N: rsaOther().public.(*rsa.PublicKey).N, E: 4}
	other := jwk("bad", "", p256Other().public)
	for name, bad := range map[string]string{
		"oct":              `{"kty":"oct","kid":"bad","alg":"HS256","k":"` + b64(testSecret) + `"}`,
		"private":          string(private),
		"secret beside":    rawJWK(t, other, map[string]any{"k": b64(testSecret)}),
		"weak RSA":         rawJWK(t, jwk("bad", "RS256", weak), nil),
		"even exponent":    rawJWK(t, jwk("bad", "RS256", even), nil),
		"for encryption":   rawJWK(t, other, map[string]any{"use": "enc"}),
		"use is a number":  rawJWK(t, other, map[string]any{"use": 1}),
		"key_ops sign":     rawJWK(t, other, map[string]any{"key_ops": []string{"sign"}}),
		"alg to encrypt":   rawJWK(t, other, map[string]any{"alg": "ECDH-ES"}),
		"alg HS256":        rawJWK(t, other, map[string]any{"alg": "HS256"}),
		"alg none":         rawJWK(t, other, map[string]any{"alg": "none"}),
		"alg of RSA":       rawJWK(t, other, map[string]any{"alg": "RS256"}),
		"alg of a curve":   rawJWK(t, other, map[string]any{"alg": "ES384"}),
		"curve unknown":    rawJWK(t, other, map[string]any{"crv": "secp256k1"}),
		"curve of another": rawJWK(t, other, map[string]any{"crv": "P-384"}),
		"not on the curve": rawJWK(t, other, map[string]any{"x": strings.Repeat("A", 43)}),
		"kty unknown":      `{"kty":"XYZ","kid":"bad"}`,
		"kty missing":      `{"kid":"bad"}`,
		"members twice":    `{"kty":"EC","kty":"oct"}`,
		"a number":         `7`,
		"null":             `null`,
		"kid is a number":  rawJWK(t, other, map[string]any{"kid": 7}),
	} {
		t.Run(name, func(t *testing.T) {
			keys, skipped, err := parseJWKS([]byte(`{"keys":[` + bad + `,` + good + `]}`))
			if err != nil || len(keys) != 1 || len(skipped) != 1 || keys[0].id != "good" {
				t.Fatalf("%d keys, skipped %v, %v", len(keys), skipped, err)
			}
			if _, _, err := parseJWKS([]byte(`{"keys":[` + bad + `]}`)); err == nil {
				t.Fatal("a set without a usable key is accepted")
			}
		})
	}
	v := verifier(t, Config{JWKS: JWKSConfig{File: file(t, []byte(`{"keys":[{"kty":"XYZ"},`+good+`]}`))}})
	wantAccepted(t, v, token)
}

func TestBadSetsAreRefused(t *testing.T) {
	many := strings.Repeat(`{"kty":"XYZ"},`, maxJWKSKeys) + `{"kty":"XYZ"}`
	for _, content := range []string{"", "{}", "[]", "null", `{"keys":{}}`, `{"keys":[]}`, `{"keys":null}`, `{"Keys":[]}`, "<html>", `{"keys":[` + many + `]}`} {
		_, err := New(Config{JWKS: JWKSConfig{File: file(t, []byte(content))}}, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "auth.jwks.file: ") {
			t.Errorf("%.40q: %v", content, err)
		}
	}
	for name, cfg := range map[string]JWKSConfig{
		"file: ": {File: "/nonexistent/jwks"},
		"url: ":  {URL: "ftp://issuer.example/jwks"},
	} {
		if _, err := New(Config{JWKS: cfg}, nil); err == nil || !strings.HasPrefix(err.Error(), "auth.jwks."+name) {
			t.Errorf("%s%v", name, err)
		}
	}
	if _, err := New(Config{JWKS: JWKSConfig{URL: "https://issuer.example", File: "x"}}, nil); err == nil {
		t.Error("url and file together")
	}
}

func TestJWKSURLMustBeHTTPSOrLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"https://issuer.example/jwks":         true,
		"http://localhost:8080/jwks":          true,
		"http://127.0.0.1/jwks":               true,
		"http://[::1]:1/jwks":                 true,
		"http://issuer.example/jwks":          false,
		"http://localhost.issuer.example/":    false,
		"http://10.0.0.1/":                    false,
		"http://0.0.0.0/":                     false,
		"https://user:secret@issuer.example/": false,
		"https:///jwks":                       false,
		"issuer.example/jwks":                 false,
		"file:///etc/passwd":                  false,
		"https://issuer.example:port/":        false,
	} {
		_, err := New(Config{JWKS: JWKSConfig{URL: address}}, nil)
		if (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "auth.jwks.url: ") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestChangedJWKSFileIsTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged logBuffer
		path := file(t, jwkSet(t, jwk("one", "ES256", p256Pair().public)))
		v, err := New(Config{JWKS: JWKSConfig{File: path}}, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		one := signed(t, "ES256", "one", p256Pair().private, goodClaims(nil))
		two := signed(t, "ES256", "two", p256Other().private, goodClaims(nil))
		wantAccepted(t, v, one)
		wantRefused(t, v, two, ReasonUnknownKey)
		running(t, v)
		for _, bad := range []string{"", `{"keys":[]}`, `{"keys":[`} {
			rewrite(t, path, []byte(bad))
			pass(5 * time.Second)
			wantAccepted(t, v, one)
		}
		if n := strings.Count(logged.String(), "level=ERROR"); n != 3 {
			t.Errorf("%d errors logged for three bad contents: %s", n, &logged)
		}
		rewrite(t, path, jwkSet(t, jwk("two", "ES256", p256Other().public)))
		pass(3 * time.Second)
		wantAccepted(t, v, two)
		wantRefused(t, v, one, ReasonUnknownKey) // although it was cached
	})
}

func TestEqualSetLeavesTheCacheAlone(t *testing.T) {
	set := jwkSet(t, jwk("one", "ES256", p256Pair().public))
	v := verifier(t, Config{JWKS: JWKSConfig{File: file(t, set)}})
	wantAccepted(t, v, signed(t, "ES256", "one", p256Pair().private, goodClaims(nil)))
	before := v.ring.Load()
	if err := v.installJWKS(set); err != nil || v.ring.Load() != before || len(v.cache.entries) != 1 {
		t.Errorf("%v, %d cached", err, len(v.cache.entries))
	}
	if err := v.installJWKS(append(set, ' ')); err != nil || v.ring.Load() == before || len(v.cache.entries) != 0 {
		t.Errorf("%v, %d cached", err, len(v.cache.entries))
	}
	if before.generation == v.ring.Load().generation {
		t.Error("the generation did not change")
	}
}
