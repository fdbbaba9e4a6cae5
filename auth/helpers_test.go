package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// testSecret is long enough for every HS* algorithm.
const testSecret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// tenantA is the tenant of every good test token.
const tenantA = "11111111-1111-4111-8111-11111111111a"

// testNow is the time that test tokens are verified at.
var testNow = time.Unix(1_800_000_000, 0)

// pair is a private key with its public side.
type pair struct {
	private crypto.Signer
	public  crypto.PublicKey
}

// once makes a key pair at its first use.
func once[K crypto.Signer](generate func() (K, error)) func() pair {
	return sync.OnceValue(func() pair {
		k, err := generate()
		if err != nil {
			panic(err)
		}
		return pair{k, k.Public()}
	})
}

// ec returns a generator of keys on a curve.
func ec(curve elliptic.Curve) func() (*ecdsa.PrivateKey, error) {
	return func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(curve, rand.Reader) }
}

// The key pairs of the tests; each algorithm has a second one that is a stranger's.
var (
	rsaPair   = once(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	rsaOther  = once(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	p256Pair  = once(ec(elliptic.P256()))
	p256Other = once(ec(elliptic.P256()))
	p384Pair  = once(ec(elliptic.P384()))
	p384Other = once(ec(elliptic.P384()))
	p521Pair  = once(ec(elliptic.P521()))
	p521Other = once(ec(elliptic.P521()))
	edPair    = once(func() (ed25519.PrivateKey, error) { _, k, err := ed25519.GenerateKey(rand.Reader); return k, err })
	edOther   = once(func() (ed25519.PrivateKey, error) { _, k, err := ed25519.GenerateKey(rand.Reader); return k, err })
)

// publicPEM encodes a public key as PKIX PEM.
func publicPEM(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// privatePEM encodes a private key as PKCS #8 PEM.
func privatePEM(t testing.TB, private crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// file writes a temporary file and returns its path.
func file(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	rewrite(t, path, content)
	return path
}

// rewrite replaces a file's content in place.
func rewrite(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// hsKey is the HS256 entry of the tests.
var hsKey = KeyConfig{Algorithm: "HS256", Secret: testSecret}

// verifier builds a Verifier; without keys it gets hsKey.
func verifier(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	if len(cfg.Keys) == 0 && cfg.JWKS == (JWKSConfig{}) {
		cfg.Keys = []KeyConfig{hsKey}
	}
	v, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// goodClaims are claims that every default Verifier accepts, changed by edits
// (nil takes a claim away).
func goodClaims(edits map[string]any) map[string]any {
	claims := map[string]any{
		"tenant_id": tenantA, "sub": "alice", "jti": "token-1",
		"iat": testNow.Unix() - 60, "exp": testNow.Unix() + 600,
	}
	maps.Copy(claims, edits)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// signed mints a token with a key that LoadSigningKeyFile would give.
func signed(t testing.TB, name, kid string, material any, claims map[string]any) string {
	t.Helper()
	token, err := Mint(SigningKey{algorithm: algorithmNamed(name), id: kid, material: seal(material)}, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// hs mints an HS256 token with the test secret.
func hs(t testing.TB, edits map[string]any) string {
	t.Helper()
	return signed(t, "HS256", "", []byte(testSecret), goodClaims(edits))
}

// rawToken signs any header and payload text with HS256.
func rawToken(header, payload string) string { return macToken(header, payload, []byte(testSecret)) }

// macToken signs any header and payload text with HMAC-SHA-256 and any secret.
func macToken(header, payload string, secret []byte) string {
	text := b64(header) + "." + b64(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + b64(string(mac.Sum(nil)))
}

// b64 is unpadded base64url.
func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// hsHeader is the header of a plain HS256 token.
const hsHeader = `{"alg":"HS256","typ":"JWT"}`

// payload is the good claims as JSON text, with more members put in front.
func payload(more string) string {
	if more != "" {
		more += ","
	}
	return fmt.Sprintf(`{%s"tenant_id":%q,"sub":"alice","exp":%d}`, more, tenantA, testNow.Unix()+600)
}

// wantRefused fails unless the token is refused for that reason with the zero
// Identity and with no part of the token in the error.
func wantRefused(t testing.TB, v *Verifier, token string, reason Reason) {
	t.Helper()
	id, err := v.Verify(testNow, token)
	if !id.IsZero() || id.Tenant() != "" {
		t.Fatalf("a refused token gave an Identity of tenant %q", id.Tenant())
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("error %v, want a *Refusal for %s", err, reason)
	}
	if refusal.Reason != reason {
		t.Fatalf("refused for %s (%v), want %s", refusal.Reason, errors.Unwrap(refusal), reason)
	}
	if got := refusal.Error(); got != "token refused: "+string(reason) {
		t.Fatalf("the error says %q", got)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(fmt.Sprintf("%v %+v %v", refusal, refusal.cause, refusal.LogValue()), part) {
			t.Fatal("the refusal holds a part of the token")
		}
	}
}

// wantAccepted fails unless the token is accepted.
func wantAccepted(t testing.TB, v *Verifier, token string) Identity {
	t.Helper()
	id, err := v.Verify(testNow, token)
	if err != nil {
		t.Fatalf("refused: %v (%v)", err, errors.Unwrap(err))
	}
	if id.IsZero() || id.Tenant() == "" {
		t.Fatal("accepted without a tenant")
	}
	return id
}

// jwkSet encodes a JWKS of public keys.
func jwkSet(t testing.TB, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	entries := make([]string, 0, len(keys))
	for _, k := range keys {
		entry, err := k.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, string(entry))
	}
	return []byte(`{"keys":[` + strings.Join(entries, ",") + `]}`)
}

// logBuffer is a log's output that may be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns what was logged so far.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
