package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/golang-jwt/jwt/v5"
)

// maxKeyFile bounds a secret or key file in bytes.
const maxKeyFile = 64 << 10

// maxCandidates bounds how many keys are tried for one token, so that a token
// without a `kid` does not cost as many verifications as the issuer has keys.
const maxCandidates = 16

// key is one verification key, bound to exactly one algorithm.
type key struct {
	algorithm *algorithm
	id        string // "": answers to every kid
	material  sealed // what golang-jwt verifies with: []byte or a public key
	jwks      bool   // came from the JWKS
}

// sealed holds key material where no print of a struct around it can show it:
// fmt prints the address of a function.
type sealed func() any

// seal returns material as sealed.
func seal(material any) sealed { return func() any { return material } }

// keyring is the set of keys in force; it never changes once it is built.
type keyring struct {
	generation uint64
	keys       []key
	fetched    bool // a JWKS is part of it
}

// candidates returns the keys to try for a token of that algorithm and `kid`
// ("" when it has none), those named by the kid first.
func (r *keyring) candidates(a *algorithm, kid string) []jwt.VerificationKey {
	var named, unnamed []jwt.VerificationKey
	for _, k := range r.keys {
		switch {
		case k.algorithm != a:
		case kid == "" || k.id == kid:
			named = append(named, k.material())
		case k.id == "":
			unnamed = append(unnamed, k.material())
		}
	}
	all := append(named, unnamed...)
	return all[:min(len(all), maxCandidates)]
}

// uses reports whether any key is bound to the algorithm.
func (r *keyring) uses(a *algorithm) bool {
	for _, k := range r.keys {
		if k.algorithm == a {
			return true
		}
	}
	return false
}

// hasJWK reports whether the JWKS gave a key of that algorithm and kid.
func (r *keyring) hasJWK(a *algorithm, kid string) bool {
	for _, k := range r.keys {
		if k.jwks && k.algorithm == a && k.id == kid {
			return true
		}
	}
	return false
}

// staticKey loads one entry of auth.keys. Errors begin with the part of the
// entry they speak of.
func staticKey(cfg KeyConfig) (key, error) {
	a := algorithmNamed(cfg.Algorithm)
	if a == nil {
		return key{}, fmt.Errorf("algorithm: %q is not supported; use one of %s", cfg.Algorithm, algorithmNames())
	}
	k := key{algorithm: a, id: cfg.KeyID}
	var material any
	var err error
	if a.family == familyHMAC {
		material, err = hmacSecret(a, cfg)
	} else {
		material, err = publicKey(a, cfg)
	}
	k.material = seal(material)
	return k, err
}

// hmacSecret returns the secret of an HS* entry. Its bytes are used as they are:
// nothing is decoded from base64 or hex.
func hmacSecret(a *algorithm, cfg KeyConfig) ([]byte, error) {
	if cfg.PublicKeyFile != "" {
		return nil, fmt.Errorf("public_key_file: %s uses a secret, not a public key; set secret or secret_file", a.name)
	}
	field, secret := "secret", []byte(cfg.Secret.Reveal())
	switch {
	case cfg.SecretFile != "" && cfg.Secret != "":
		return nil, errors.New("secret: secret_file is set too; keep one of them")
	case cfg.SecretFile != "":
		field = "secret_file"
		content, err := readKeyFile(cfg.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("secret_file: %w; name a readable file that holds the secret", err)
		}
		secret = content
	case cfg.Secret == "":
		return nil, fmt.Errorf("secret: %s needs one; set secret_file or secret (make one with: openssl rand -base64 %d)",
			a.name, a.minSecret)
	}
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%s: is a PEM key, and whoever has it could sign tokens; %s needs a secret of its own "+
			"(openssl rand -base64 %d)", field, a.name, a.minSecret)
	}
	if len(secret) < a.minSecret {
		return nil, fmt.Errorf("%s: %d bytes are too short for %s; use at least %d random bytes (openssl rand -base64 %d)",
			field, len(secret), a.name, a.minSecret, a.minSecret)
	}
	return secret, nil
}

// publicKey loads the PEM file of an entry that is not HS*.
func publicKey(a *algorithm, cfg KeyConfig) (any, error) {
	switch {
	case cfg.Secret != "":
		return nil, fmt.Errorf("secret: %s uses a public key, not a secret; set public_key_file", a.name)
	case cfg.SecretFile != "":
		return nil, fmt.Errorf("secret_file: %s uses a public key, not a secret; set public_key_file", a.name)
	case cfg.PublicKeyFile == "":
		return nil, fmt.Errorf("public_key_file: %s needs the issuer's public key; name its PEM file", a.name)
	}
	content, err := readKeyFile(cfg.PublicKeyFile)
	if err != nil {
		return nil, fmt.Errorf("public_key_file: %w; name a readable PEM file with the issuer's public key", err)
	}
	public, err := parsePublicKey(content)
	if err == nil {
		err = a.fits(public)
	}
	if err != nil {
		return nil, fmt.Errorf("public_key_file: %s %w", cfg.PublicKeyFile, err)
	}
	return public, nil
}

// parsePublicKey reads exactly one PEM block: a public key (PKIX or PKCS #1) or
// a certificate, whose signature and validity are not looked at.
func parsePublicKey(content []byte) (any, error) {
	block, rest := pem.Decode(content)
	if block == nil {
		return nil, errors.New("holds no PEM block; convert it, e.g. openssl pkey -pubin -in FILE -pubout")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("holds more than one PEM block; keep one key a file, with one auth.keys entry each")
	}
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("is a private key, which a verifier must not have; " +
			"extract the public one: openssl pkey -in FILE -pubout")
	default:
		return nil, errors.New("is not a public key; convert it, e.g. openssl pkey -in FILE -pubout")
	}
	if err != nil {
		return nil, fmt.Errorf("does not parse: %w", err)
	}
	return public, nil
}

// parsePrivateKey reads a PEM private key: PKCS #8, PKCS #1 or SEC 1.
func parsePrivateKey(content []byte) (private, public any, err error) {
	block, rest := pem.Decode(content)
	for block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam -genkey puts it first
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, nil, errors.New("holds no PEM block; make a key, e.g. openssl genpkey -algorithm ed25519")
	}
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, nil, errors.New("is encrypted; decrypt it first: openssl pkey -in FILE")
	default:
		return nil, nil, errors.New("is not a private key")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("does not parse: %w", err)
	}
	switch k := private.(type) {
	case *rsa.PrivateKey:
		return k, &k.PublicKey, nil
	case *ecdsa.PrivateKey:
		return k, &k.PublicKey, nil
	case ed25519.PrivateKey:
		return k, k.Public(), nil
	}
	return nil, nil, errors.New("is a private key of a kind that no algorithm uses")
}

// readKeyFile reads a secret or key file and takes one newline off its end.
func readKeyFile(path string) ([]byte, error) {
	content, err := readBounded(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	content = bytes.TrimSuffix(content, []byte("\n"))
	return bytes.TrimSuffix(content, []byte("\r")), nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, limit)
}

// readAtMost reads r to its end and fails when it holds more than limit bytes.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("longer than %d bytes", limit)
	}
	return content, nil
}
