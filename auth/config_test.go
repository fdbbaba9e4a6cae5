package auth

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestNewReportsEveryProblemWithItsKeyPath(t *testing.T) {
	private := file(t, privatePEM(t, rsaPair().private))
	public := file(t, publicPEM(t, p256Pair().public))
	_, err := New(Config{
		Leeway: -1, MaxLifetime: -1, TenantClaim: "a..b", TenantFormat: "[", UserClaim: ".", JWKS: JWKSConfig{URL: "http://issuer.example/", Refresh: 1},
		Keys: []KeyConfig{
			{Algorithm: "none"},
			{Algorithm: "RS256", PublicKeyFile: "/nonexistent/key.pem"},
			{Algorithm: "HS256"},
			{Algorithm: "HS512", Secret: Secret(testSecret[:63])},
			{Algorithm: "HS256", Secret: testSecret, SecretFile: "x"},
			{Algorithm: "HS256", PublicKeyFile: public},
			{Algorithm: "RS256", PublicKeyFile: private},
			{Algorithm: "ES384", PublicKeyFile: public},
			{Algorithm: "RS256", PublicKeyFile: public},
			{Algorithm: "EdDSA", Secret: testSecret},
			{Algorithm: "EdDSA", SecretFile: "x"},
			{Algorithm: "EdDSA"},
			{Algorithm: "HS256", SecretFile: "/nonexistent/secret"},
		},
	}, nil)
	if err == nil {
		t.Fatal("accepted")
	}
	text := err.Error()
	for _, want := range []string{
		"auth.leeway: ", "auth.max_lifetime: ", "auth.tenant_claim: ", "auth.tenant_format: ", "auth.user_claim: ",
		"auth.jwks.url: is not https", "auth.jwks.refresh: ",
		`auth.keys[0].algorithm: "none" is not supported; use one of HS256, `,
		"auth.keys[1].public_key_file: open /nonexistent/key.pem: no such file or directory; ",
		"auth.keys[2].secret: HS256 needs one; ",
		"auth.keys[3].secret: 63 bytes are too short for HS512; use at least 64 random bytes (openssl rand -base64 64)",
		"auth.keys[4].secret: ", "auth.keys[5].public_key_file: ",
		"auth.keys[6].public_key_file: " + private + " is a private key",
		"auth.keys[7].public_key_file: " + public + " is an EC key on P-256, ES384 needs an EC key on P-384",
		"auth.keys[8].public_key_file: ", "auth.keys[9].secret: ", "auth.keys[10].secret_file: ", "auth.keys[11].public_key_file: ",
		"auth.keys[12].secret_file: open /nonexistent/secret: no such file or directory; ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(text, testSecret[:16]) {
		t.Error("a secret is in the error")
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "auth.") {
			t.Errorf("a line without a key path: %q", line)
		}
	}
}

func TestNewNeedsAKey(t *testing.T) {
	if _, err := New(Config{}, nil); err == nil || !strings.HasPrefix(err.Error(), "auth.keys: there is no key") {
		t.Fatal(err)
	}
}

func TestSecretsShorterThanTheHashAreRefused(t *testing.T) {
	for name, size := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		short := file(t, []byte(testSecret[:size-1]+"\n"))
		if _, err := New(Config{Keys: []KeyConfig{{Algorithm: name, SecretFile: short}}}, nil); err == nil {
			t.Errorf("%s: %d bytes accepted", name, size-1)
		}
		for _, end := range []string{"", "\n", "\r\n"} {
			v := verifier(t, Config{Keys: []KeyConfig{{Algorithm: name, SecretFile: file(t, []byte(testSecret[:size]+end))}}})
			wantAccepted(t, v, signed(t, name, "", []byte(testSecret[:size]), goodClaims(nil)))
		}
	}
	two := verifier(t, Config{Keys: []KeyConfig{{Algorithm: "HS256", SecretFile: file(t, []byte(testSecret+"\n\n"))}}})
	wantAccepted(t, two, signed(t, "HS256", "", []byte(testSecret+"\n"), goodClaims(nil))) // one newline, not all
}

func TestPublicKeyFilesOfEveryUsualForm(t *testing.T) {
	public := rsaPair().public.(*rsa.PublicKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "t"}, NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, rsaPair().private)
	if err != nil {
		t.Fatal(err)
	}
	plain := publicPEM(t, public)
	token := signed(t, "RS256", "", rsaPair().private, goodClaims(nil))
	for name, content := range map[string][]byte{
		"PKIX":             plain,
		"PKCS #1":          pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(public)}),
		"certificate":      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"text around":      []byte("# the issuer\n" + string(plain) + "\n\n"),
		"no final newline": plain[:len(plain)-1],
	} {
		t.Run(name, func(t *testing.T) {
			wantAccepted(t, verifier(t, Config{Keys: []KeyConfig{{Algorithm: "RS256", PublicKeyFile: file(t, content)}}}), token)
		})
	}
	weak, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	p224 := once(ec(elliptic.P224()))()
	for name, content := range map[string][]byte{
		"empty":       nil,
		"text":        []byte("not a key"),
		"two keys":    append(plain[:len(plain):len(plain)], publicPEM(t, rsaOther().public)...),
		"other block": pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: []byte{1}}),
		"broken":      pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1, 2, 3}}),
		"1024 bits":   pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: weak}),
		"P-224":       publicPEM(t, p224.public),
		"too long":    make([]byte, maxKeyFile+1),
	} {
		_, err := New(Config{Keys: []KeyConfig{{Algorithm: "RS256", PublicKeyFile: file(t, content)}}}, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "auth.keys[0].public_key_file: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTenantFormatCannotEscapeItsAnchors(t *testing.T) {
	for _, format := range []string{"a)|(b", "(", "[z-a]", "*", `\`} {
		if _, err := New(Config{Keys: []KeyConfig{hsKey}, TenantFormat: format}, nil); err == nil || !strings.HasPrefix(err.Error(), "auth.tenant_format: ") {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestClaimPathsAreChecked(t *testing.T) {
	for _, good := range []string{"a", "a.b", "urn:x:y", "https://x.example/..a", "a b"} {
		if err := CheckPath(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "\xff", "a\x00"} {
		if CheckPath(bad) == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestTokensWithoutKidTryABoundedNumberOfKeys(t *testing.T) {
	cfg := Config{}
	for i := range 3 * maxCandidates {
		cfg.Keys = append(cfg.Keys, KeyConfig{Algorithm: "HS256", KeyID: string(rune('A' + i)), Secret: Secret(strings.Repeat(string(rune('A'+i)), 40))})
	}
	v := verifier(t, cfg)
	if got := len(v.ring.Load().candidates(algorithmNamed("HS256"), "")); got != maxCandidates {
		t.Errorf("%d keys are tried", got)
	}
	last := cfg.Keys[len(cfg.Keys)-1]
	wantAccepted(t, v, signed(t, "HS256", last.KeyID, []byte(last.Secret), goodClaims(nil)))
}

func TestATenantIsReadAsTokensHaveIt(t *testing.T) {
	for _, tt := range []struct{ format, text, want string }{
		{"uuid", "AAAAAAAA-0000-4000-8000-00000000000A", "aaaaaaaa-0000-4000-8000-00000000000a"},
		{"uuid", "acme", ""},
		{"text", "Acme", "Acme"},
		{"[a-z]+", "acme", "acme"},
		{"[a-z]+", "acme2", ""},
		{"[", "acme", "acme"}, // New reports the format
		{"text", "", ""},
	} {
		if got, err := Tenant(tt.format, tt.text); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s by %s is %q, %v; want %q", tt.text, tt.format, got, err, tt.want)
		}
	}
}
