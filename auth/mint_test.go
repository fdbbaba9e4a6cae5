package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func TestMintedTokensVerify(t *testing.T) {
	for name, k := range algorithmKeys(t) {
		k.cfg.KeyID = "kid-1"
		v := verifier(t, Config{Keys: []KeyConfig{k.cfg}})
		var path string
		switch private := k.good.(type) {
		case []byte:
			path = file(t, append(private, '\n'))
			key, err := LoadSigningKey(k.cfg)
			if err != nil {
				t.Fatal(err)
			}
			token, err := Mint(key, goodClaims(nil))
			if err != nil {
				t.Fatal(err)
			}
			wantAccepted(t, v, token)
		default:
			path = file(t, privatePEM(t, private.(crypto.Signer)))
			if _, err := LoadSigningKey(k.cfg); err == nil || !strings.HasPrefix(err.Error(), "algorithm: "+name) {
				t.Errorf("%s: a public key signs: %v", name, err)
			}
		}
		key, err := LoadSigningKeyFile(path, name, "kid-1")
		if err != nil {
			t.Fatal(err)
		}
		if key.Algorithm() != name {
			t.Errorf("%s: signs with %s", name, key.Algorithm())
		}
		token, err := Mint(key, goodClaims(nil))
		if err != nil {
			t.Fatal(err)
		}
		if id := wantAccepted(t, v, token); id.Tenant() != tenantA {
			t.Errorf("%s: tenant %q", name, id.Tenant())
		}
		stranger, err := LoadSigningKeyFile(path, name, "kid-2")
		if err != nil {
			t.Fatal(err)
		}
		if token, err = Mint(stranger, goodClaims(nil)); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, v, token, ReasonUnknownKey)
	}
}

func TestPrivateKeyFilesOfEveryUsualForm(t *testing.T) {
	rsaKey, p384 := rsaPair().private.(*rsa.PrivateKey), p384Pair().private.(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 5}})
	ecPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})
	for _, c := range []struct {
		content []byte
		want    string
	}{
		{pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}), "RS256"},
		{privatePEM(t, rsaKey), "RS256"},
		{privatePEM(t, p521Pair().private), "ES512"},
		{privatePEM(t, p256Pair().private), "ES256"},
		{privatePEM(t, edPair().private), "EdDSA"},
		{ecPEM, "ES384"},
		{append(params, ecPEM...), "ES384"},
	} {
		key, err := LoadSigningKeyFile(file(t, c.content), "", "")
		if err != nil || key.Algorithm() != c.want {
			t.Errorf("want %s: %s, %v", c.want, key.Algorithm(), err)
		}
	}
	p224 := once(ec(elliptic.P224()))()
	for name, content := range map[string][]byte{
		"empty":     nil,
		"public":    publicPEM(t, p384.Public()),
		"encrypted": pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}}),
		"broken":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}),
		"P-224":     privatePEM(t, p224.private),
	} {
		if _, err := LoadSigningKeyFile(file(t, content), "", ""); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	if _, err := LoadSigningKeyFile(file(t, ecPEM), "ES256", ""); err == nil || !strings.Contains(err.Error(), "P-384") {
		t.Errorf("a P-384 key for ES256: %v", err)
	}
	if _, err := LoadSigningKeyFile(file(t, ecPEM), "none", ""); err == nil {
		t.Error("alg none")
	}
	if _, err := LoadSigningKeyFile("/nonexistent/key", "", ""); err == nil {
		t.Error("a missing file")
	}
}

func TestMintRefusesWhatItCannotSign(t *testing.T) {
	if _, err := Mint(SigningKey{}, goodClaims(nil)); err == nil {
		t.Error("the zero key signs")
	}
	key, err := LoadSigningKey(hsKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Mint(key, map[string]any{"x": make(chan int)}); err == nil {
		t.Error("a channel is a claim")
	}
	if _, err := LoadSigningKey(KeyConfig{Algorithm: "HS256", Secret: "short"}); err == nil {
		t.Error("a short secret signs")
	}
}
