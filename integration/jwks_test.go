package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// issuer has one key pair under one name.
type issuer struct {
	kid    string
	method jwt.SigningMethod
	key    crypto.Signer
}

// newIssuer makes a key pair for RS256 or ES256.
func newIssuer(t *testing.T, kid, algorithm string) *issuer {
	t.Helper()
	var key crypto.Signer
	var err error
	if algorithm == "RS256" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{kid, jwt.GetSigningMethod(algorithm), key}
}

// as is the tenant's connection through the proxy with a fresh token of the issuer.
func (i *issuer) as(t *testing.T, p *proxy, x tenant) endpoint {
	t.Helper()
	token := jwt.NewWithClaims(i.method, jwt.MapClaims{
		"tenant_id": x.id, "sub": "somebody", "jti": rand.Text(), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	token.Header["kid"] = i.kid
	signed, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	ep := p.as(x)
	ep.password = signed
	return ep
}

// keySet renders the issuers' public keys as a JSON Web Key Set.
func keySet(t *testing.T, issuers ...*issuer) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, i := range issuers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: i.key.Public(), KeyID: i.kid, Algorithm: i.method.Alg(), Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// keyServer publishes a key set and counts how often it is asked.
type keyServer struct {
	*httptest.Server
	set   atomic.Pointer[[]byte] // nil: answers 500
	asked atomic.Int32
}

// publish starts a server with the key set.
func publish(t *testing.T, set []byte) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.set.Store(&set)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		set := s.set.Load()
		if set == nil {
			http.Error(w, "the issuer has a bad day", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(*set)
	}))
	t.Cleanup(s.Close)
	return s
}

// verifiedBy makes a JWKS the only source of keys; field is url or file.
func verifiedBy(field, where, refresh string) option {
	return func(p *proxy) {
		delete(p.config["auth"].(map[string]any), "keys")
		p.set("auth/jwks/"+field, where)
		p.set("auth/jwks/refresh", refresh)
	}
}

// loaded waits until a token of the issuer is accepted.
func loaded(t *testing.T, p *proxy, i *issuer) {
	t.Helper()
	eventually(t, 10*time.Second, "the key "+i.kid+" is in force", func() bool { return refusal(t, i.as(t, p, tenantA)) == "" })
}

// TestTokensOfAPublishedKeyLogIn logs in by RS256 and ES256 keys of a JWKS URL;
// an issuer that then fails takes nothing away.
func TestTokensOfAPublishedKeyLogIn(t *testing.T) {
	pg := sharedPostgres(t)
	rs, es, stranger := newIssuer(t, "rs", "RS256"), newIssuer(t, "es", "ES256"), newIssuer(t, "es", "ES256")
	server := publish(t, keySet(t, rs, es))
	p := startProxy(t, pg, verifiedBy("url", server.URL+"/jwks.json", "1s"))
	loaded(t, p, rs)
	all := func(when string) {
		t.Helper()
		for _, i := range []*issuer{rs, es} {
			for _, x := range tenants {
				w, err := i.as(t, p, x).tryLogin(t)
				if err != nil {
					t.Errorf("%s, %s: %v", when, i.method.Alg(), err)
					continue
				}
				if got := w.value("SELECT count(*) FROM users WHERE email LIKE '%" + x.marker + "%'"); got != "10" {
					t.Errorf("%s, %s: %s users of %s", when, i.method.Alg(), got, x.marker)
				}
				depart(w, "Terminate")
			}
		}
		for name, ep := range map[string]endpoint{"a stranger's key": stranger.as(t, p, tenantA), "a shared secret": p.as(tenantA)} {
			if got := refusal(t, ep); got != "28P01" {
				t.Errorf("%s, %s: %q", when, name, got)
			}
		}
	}
	all("at first")
	server.set.Store(nil)
	before := server.asked.Load()
	eventually(t, 10*time.Second, "the issuer has failed twice", func() bool { return server.asked.Load() >= before+2 })
	all("while the issuer answers 500")
	if !logged(p, "jwks does not load", "the issuer answered 500") {
		t.Error("the log does not say that the issuer fails")
	}
	server.CloseClientConnections()
	server.Listener.Close()
	all("while the issuer is away")
}

// TestANewKeyIsFetchedOnce rotates the issuer's key long before the next
// refresh: tokens that name the new key cause one fetch, half a minute after the
// last one, and get in then; the old key is worth nothing from there on, and the
// sessions that exist go on.
func TestANewKeyIsFetchedOnce(t *testing.T) {
	t.Parallel()
	pg := sharedPostgres(t)
	old, next := newIssuer(t, "first", "RS256"), newIssuer(t, "second", "ES256")
	server := publish(t, keySet(t, old))
	p := startProxy(t, pg, verifiedBy("url", server.URL, "1h"))
	loaded(t, p, old)
	started := time.Now()
	w := old.as(t, p, tenantB).login(t)
	rotated := keySet(t, next)
	server.set.Store(&rotated)
	for range 5 {
		asked := time.Now()
		if got := refusal(t, next.as(t, p, tenantA)); got != "28P01" {
			t.Fatalf("before the fetch the next key's token got %q", got)
		}
		if took := time.Since(asked); took > 3*time.Second {
			t.Errorf("a login waited %v for the issuer", took)
		}
	}
	if got := refusal(t, old.as(t, p, tenantA)); got != "" {
		t.Errorf("before the fetch the old key's token got %q", got)
	}
	eventually(t, 40*time.Second, "the next key is in force", func() bool {
		time.Sleep(200 * time.Millisecond) // a pace, not a promise
		return refusal(t, next.as(t, p, tenantA)) == ""
	})
	if took := time.Since(started); took < 20*time.Second {
		t.Errorf("an unknown key made the proxy ask again after %v", took)
	}
	if got := server.asked.Load(); got != 2 {
		t.Errorf("the issuer was asked %d times, want 2", got)
	}
	if got := refusal(t, old.as(t, p, tenantA)); got != "28P01" {
		t.Errorf("after the fetch the old key's token got %q", got)
	}
	if got := w.value("SELECT count(*) FROM users"); got != "10" {
		t.Errorf("the session from before sees %s users", got)
	}
}

// TestAChangedKeyFileIsTakenUp replaces a JWKS file by rename and in place, and
// then by nonsense, which changes nothing.
func TestAChangedKeyFileIsTakenUp(t *testing.T) {
	pg := sharedPostgres(t)
	first, second, third := newIssuer(t, "first", "RS256"), newIssuer(t, "second", "ES256"), newIssuer(t, "third", "ES256")
	file := filepath.Join(workDir(t, "jwks"), "jwks.json")
	write := func(path string, text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, keySet(t, first))
	p := startProxy(t, pg, verifiedBy("file", file, "5m"))
	if got := refusal(t, first.as(t, p, tenantA)); got != "" {
		t.Fatalf("the first key's token got %q", got)
	}
	write(file+".new", keySet(t, first, second))
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	loaded(t, p, second)
	if got := refusal(t, first.as(t, p, tenantA)); got != "" {
		t.Errorf("the first key, still in the file: %q", got)
	}
	write(file, keySet(t, third))
	loaded(t, p, third)
	for _, i := range []*issuer{first, second} {
		if got := refusal(t, i.as(t, p, tenantA)); got != "28P01" {
			t.Errorf("the key %s, no longer in the file: %q", i.kid, got)
		}
	}
	write(file, []byte("{\"keys\": []}"))
	eventually(t, 10*time.Second, "the broken file is reported", func() bool { return logged(p, "auth.jwks.file does not load") })
	if got := refusal(t, third.as(t, p, tenantA)); got != "" {
		t.Errorf("behind a broken file the last good key's token got %q", got)
	}
}
