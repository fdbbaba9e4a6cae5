package auth

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/golang-jwt/jwt/v5"
)

// SigningKey signs tokens for the command line and for tests. It does not print
// its material. The zero SigningKey signs nothing.
type SigningKey struct {
	algorithm *algorithm
	id        string
	material  sealed
}

// Algorithm returns the JWS algorithm that the key signs with, "" for the zero
// SigningKey.
func (k SigningKey) Algorithm() string {
	if k.algorithm == nil {
		return ""
	}
	return k.algorithm.name
}

// Format implements fmt.Formatter: every verb prints algorithm and key id only.
func (k SigningKey) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprintf("signing key %s %q", k.Algorithm(), k.id))
}

// LogValue implements slog.LogValuer.
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// LoadSigningKey returns the signing side of a configured key. Only HS* entries
// have one; for the others the private key stands in a file of its own, see
// [LoadSigningKeyFile]. Errors begin with the part of the entry they speak of.
func LoadSigningKey(cfg KeyConfig) (SigningKey, error) {
	k, err := staticKey(cfg)
	if err != nil {
		return SigningKey{}, err
	}
	if k.algorithm.family != familyHMAC {
		return SigningKey{}, fmt.Errorf("algorithm: %s verifies with a public key, which cannot sign; name the private key's file",
			k.algorithm.name)
	}
	return SigningKey{algorithm: k.algorithm, id: k.id, material: k.material}, nil
}

// LoadSigningKeyFile reads a PEM private key (PKCS #8, PKCS #1 or SEC 1), or for
// HS* a secret. An empty name chooses RS256 for RSA, the algorithm of the curve
// for EC and EdDSA for Ed25519. keyID becomes the tokens' `kid`; "": none.
func LoadSigningKeyFile(file, name, keyID string) (SigningKey, error) {
	a := algorithmNamed(name)
	if a == nil && name != "" {
		return SigningKey{}, fmt.Errorf("%q is not supported; use one of %s", name, algorithmNames())
	}
	if a != nil && a.family == familyHMAC {
		return LoadSigningKey(KeyConfig{Algorithm: name, KeyID: keyID, SecretFile: file})
	}
	content, err := readKeyFile(file)
	if err != nil {
		return SigningKey{}, err
	}
	private, public, err := parsePrivateKey(content)
	if err != nil {
		return SigningKey{}, fmt.Errorf("%s %w", file, err)
	}
	if a == nil {
		if a = defaultAlgorithm(public); a == nil {
			return SigningKey{}, fmt.Errorf("%s is on a curve that no algorithm uses; use P-256, P-384 or P-521", file)
		}
	}
	if err := a.fits(public); err != nil {
		return SigningKey{}, fmt.Errorf("%s %w", file, err)
	}
	return SigningKey{algorithm: a, id: keyID, material: seal(private)}, nil
}

// Mint signs a token with exactly these claims; times are the caller's, in whole
// seconds since 1970.
func Mint(key SigningKey, claims map[string]any) (string, error) {
	if key.algorithm == nil {
		return "", errors.New("there is no key to sign with")
	}
	token := jwt.NewWithClaims(key.algorithm.method, jwt.MapClaims(claims))
	if key.id != "" {
		token.Header["kid"] = key.id
	}
	signed, err := token.SignedString(key.material())
	if err != nil {
		return "", fmt.Errorf("sign a token with %s: %w", key.algorithm.name, err)
	}
	return signed, nil
}
