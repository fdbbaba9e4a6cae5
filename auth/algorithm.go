package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// family is the kind of key that an algorithm needs.
type family int

// The families of RFC 7518 §3.1 and RFC 8037 §3.1.
const (
	familyHMAC family = iota
	familyRSA
	familyECDSA
	familyEdDSA
)

// algorithm is one supported JWS algorithm and what a key must be to be bound to
// it.
type algorithm struct {
	name      string
	family    family
	minSecret int            // HMAC: bytes, the hash's output (RFC 7518 §3.2)
	curve     elliptic.Curve // ECDSA
	method    jwt.SigningMethod
	parser    *jwt.Parser // accepts this algorithm alone
}

// Bounds on RSA keys in bits: below, they are too weak (RFC 7518 §3.3); above, a
// verification costs too much.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// algorithms is the closed set of supported algorithms in the order messages
// list them.
var algorithms = []*algorithm{
	newAlgorithm(jwt.SigningMethodHS256, algorithm{family: familyHMAC, minSecret: 32}),
	newAlgorithm(jwt.SigningMethodHS384, algorithm{family: familyHMAC, minSecret: 48}),
	newAlgorithm(jwt.SigningMethodHS512, algorithm{family: familyHMAC, minSecret: 64}),
	newAlgorithm(jwt.SigningMethodRS256, algorithm{family: familyRSA}),
	newAlgorithm(jwt.SigningMethodRS384, algorithm{family: familyRSA}),
	newAlgorithm(jwt.SigningMethodRS512, algorithm{family: familyRSA}),
	newAlgorithm(jwt.SigningMethodPS256, algorithm{family: familyRSA}),
	newAlgorithm(jwt.SigningMethodPS384, algorithm{family: familyRSA}),
	newAlgorithm(jwt.SigningMethodPS512, algorithm{family: familyRSA}),
	newAlgorithm(jwt.SigningMethodES256, algorithm{family: familyECDSA, curve: elliptic.P256()}),
	newAlgorithm(jwt.SigningMethodES384, algorithm{family: familyECDSA, curve: elliptic.P384()}),
	newAlgorithm(jwt.SigningMethodES512, algorithm{family: familyECDSA, curve: elliptic.P521()}),
	newAlgorithm(jwt.SigningMethodEdDSA, algorithm{family: familyEdDSA}),
}

// newAlgorithm completes a table entry. The parser leaves the claims to Verify,
// which has to check their types before it may compare them.
func newAlgorithm(method jwt.SigningMethod, a algorithm) *algorithm {
	a.name, a.method = method.Alg(), method
	a.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{a.name}),
		jwt.WithStrictDecoding(),
		jwt.WithJSONNumber(),
		jwt.WithoutClaimsValidation(),
	)
	return &a
}

// algorithmNamed returns the algorithm of that exact name, or nil.
func algorithmNamed(name string) *algorithm {
	for _, a := range algorithms {
		if a.name == name {
			return a
		}
	}
	return nil
}

// algorithmNames lists the supported algorithms for messages.
func algorithmNames() string {
	names := make([]string, 0, len(algorithms))
	for _, a := range algorithms {
		names = append(names, a.name)
	}
	return strings.Join(names, ", ")
}

// defaultAlgorithm returns the algorithm of a public key that does not name one:
// RS256 for RSA, the one of the curve for EC, EdDSA for Ed25519; nil for others.
func defaultAlgorithm(public any) *algorithm {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return algorithmNamed("RS256")
	case *ecdsa.PublicKey:
		for _, a := range algorithms {
			if a.family == familyECDSA && a.curve == key.Curve {
				return a
			}
		}
	case ed25519.PublicKey:
		return algorithmNamed("EdDSA")
	}
	return nil
}

// fits reports why a public key cannot be bound to the algorithm.
func (a *algorithm) fits(public any) error {
	switch key := public.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		switch {
		case a.family != familyRSA:
			return fmt.Errorf("is an RSA key, %s needs %s", a.name, a.needs())
		case bits < minRSABits || bits > maxRSABits:
			return fmt.Errorf("is an RSA key of %d bits; use one of %d to %d bits", bits, minRSABits, maxRSABits)
		case key.N.Bit(0) == 0 || key.E < 3 || key.E&1 == 0 || int64(key.E) > 1<<31-1:
			return fmt.Errorf("is an RSA key with an unusable modulus or exponent; make a new pair")
		}
		return nil
	case *ecdsa.PublicKey:
		if a.family != familyECDSA || a.curve != key.Curve {
			return fmt.Errorf("is an EC key on %s, %s needs %s", key.Curve.Params().Name, a.name, a.needs())
		}
		return nil
	case ed25519.PublicKey:
		if a.family != familyEdDSA {
			return fmt.Errorf("is an Ed25519 key, %s needs %s", a.name, a.needs())
		}
		return nil
	}
	return fmt.Errorf("is a key of a kind that no algorithm uses; %s needs %s", a.name, a.needs())
}

// needs says in words which key the algorithm takes.
func (a *algorithm) needs() string {
	switch a.family {
	case familyHMAC:
		return fmt.Sprintf("a secret of at least %d bytes", a.minSecret)
	case familyRSA:
		return fmt.Sprintf("an RSA key of at least %d bits", minRSABits)
	case familyECDSA:
		return "an EC key on " + a.curve.Params().Name
	}
	return "an Ed25519 key"
}
