package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signed makes a token of arbitrary claims, method and key.
func signed(t testing.TB, method jwt.SigningMethod, key any, all jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, all).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAllRefusedTokensLookTheSame tries every kind of bad token: the client must
// not learn what was wrong with it, and no backend is opened for it.
func TestAllRefusedTokensLookTheSame(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("auth/issuer", "https://issuer.example"), with("auth/audience", "tenantgate"), with("auth/max_lifetime", "2h"))
	now := time.Now().Unix()
	good := jwt.MapClaims{"tenant_id": tenantA.id, "sub": "s", "iss": "https://issuer.example", "aud": "tenantgate", "iat": now, "exp": now + 3600}
	but := func(name string, value any) jwt.MapClaims {
		changed := jwt.MapClaims{}
		for k, v := range good {
			changed[k] = v
		}
		if changed[name] = value; value == nil {
			delete(changed, name)
		}
		return changed
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := []byte(secret)
	whole := signed(t, jwt.SigningMethodHS256, key, good)
	tokens := map[string]string{
		"not a token": "hunter2", "one dot": "a.b", "empty parts": "..", "expired": signed(t, jwt.SigningMethodHS256, key, but("exp", now-10)),
		"no expiry": signed(t, jwt.SigningMethodHS256, key, but("exp", nil)), "not yet valid": signed(t, jwt.SigningMethodHS256, key, but("nbf", now+600)),
		"issued in the future": signed(t, jwt.SigningMethodHS256, key, but("iat", now+600)), "lives too long": signed(t, jwt.SigningMethodHS256, key, but("exp", now+86400)),
		"another issuer": signed(t, jwt.SigningMethodHS256, key, but("iss", "https://issuer.example/")), "another audience": signed(t, jwt.SigningMethodHS256, key, but("aud", "other")),
		"no tenant": signed(t, jwt.SigningMethodHS256, key, but("tenant_id", nil)), "empty tenant": signed(t, jwt.SigningMethodHS256, key, but("tenant_id", "")),
		"a tenant that is no uuid": signed(t, jwt.SigningMethodHS256, key, but("tenant_id", "x' OR '1'='1")), "a tenant that is a list": signed(t, jwt.SigningMethodHS256, key, but("tenant_id", []string{tenantA.id})),
		"a tenant in other letters": signed(t, jwt.SigningMethodHS256, key, func() jwt.MapClaims { c := but("tenant_id", nil); c["Tenant_Id"] = tenantA.id; return c }()),
		"another key":               signed(t, jwt.SigningMethodHS256, []byte("another-secret-of-thirty-two-bytes-at-least"), good), "another size": signed(t, jwt.SigningMethodHS512, key, good),
		"another kind of key": signed(t, jwt.SigningMethodES256, stranger, good), "no signature": signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good),
		"signature cut off": whole[:len(whole)-4], "signature left out": whole[:strings.LastIndexByte(whole, '.')+1], "a byte too many": whole + "A", "blanks around it": " " + whole, "PostgreSQL's own password": appPassword,
	}
	seen := map[string]string{}
	for name, text := range tokens {
		ep := p.as(tenantA)
		ep.password = text
		_, err := ep.tryLogin(t)
		if err == nil {
			t.Errorf("%s: got in", name)
			continue
		}
		seen[err.Error()] = name
	}
	if len(seen) != 1 {
		t.Errorf("refusals differ: %q", seen)
	}
	for text := range seen {
		if !strings.Contains(text, "C=28P01") || !strings.Contains(text, `password authentication failed for user "anybody"`) {
			t.Errorf("the refusal says %s", text)
		}
	}
	if m := p.metrics(t); m.sum("server_connects_total") != 0 {
		t.Errorf("backends were opened for refused tokens: %v", m.of("server_connects_total"))
	}
	ep := p.as(tenantA)
	ep.password = whole
	if got := ep.login(t).value("SELECT count(*) FROM users"); got != "10" {
		t.Error(got)
	}
	ep.password = signed(t, jwt.SigningMethodHS256, key, but("padding", strings.Repeat("x", 9000)))
	if got := ep.login(t).value("SELECT count(*) FROM users"); got != "10" {
		t.Errorf("a token of %d bytes: %s", len(ep.password), got)
	}
}

// TestWhoMayUseADatabase holds user_claim, the claims that an entry requires, and
// what a client of no database hears.
func TestWhoMayUseADatabase(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, with("auth/user_claim", "sub"), with("databases/literal/require", map[string]any{"role": "migrator"}))
	named := p.as(tenantA)
	named.user = "somebody"
	if got := refusal(t, named); got != "" {
		t.Errorf("the user of the token: %q", got)
	}
	if got := refusal(t, p.as(tenantA)); got != "28P01" {
		t.Errorf("another user than the token's: %q", got)
	}
	if got := refusal(t, named.in("literal")); got == "" || strings.Contains(got, " ") {
		t.Errorf("without the claim that the entry requires: %q", got)
	}
	migrator := p.as(tenantA, claims{"role": "migrator"})
	migrator.user = "somebody"
	if got := refusal(t, migrator.in("literal")); got != "" {
		t.Errorf("with the claim that the entry requires: %q", got)
	}
	if got := refusal(t, named.in("nowhere")); got != "3D000" {
		t.Errorf("an unknown database: %q", got)
	}
	stranger := named.in("nowhere")
	stranger.password = "guess"
	if got := refusal(t, stranger); got != "28P01" {
		t.Errorf("an unknown database without a token: %q", got)
	}
}

// TestAUnixSocketServes logs psql in over a socket directory.
func TestAUnixSocketServes(t *testing.T) {
	pg := sharedPostgres(t)
	dir := workDir(t, "socket")
	p := startProxy(t, pg, with("listen/address", dir))
	ep := p.as(tenantB)
	ep.host, ep.port = dir, 6432
	cmd := exec.Command("psql", "-X", "-At", "-c", "SELECT count(*), min(email) FROM users")
	cmd.Env = ep.environ()
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "10|user10@bravo.example" {
		t.Errorf("%v: %s", err, out)
	}
	if c, err := net.Dial("unix", dir+"/.s.PGSQL.6432"); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

// TestANotificationReachesAnIdleClient holds that the server's word comes through
// although the client has asked for nothing.
func TestANotificationReachesAnIdleClient(t *testing.T) {
	pg := sharedPostgres(t)
	run := func(t *testing.T, ep endpoint) {
		w := ep.login(t)
		w.do(simple("LISTEN an_idle_channel"))
		for range 3 {
			pg.exec(t, "app", "NOTIFY an_idle_channel, 'hello'")
			if f, err := w.readWithin(5 * time.Second); err != nil || f.String() != `A["an_idle_channel\x00hello\x00"]` {
				t.Errorf("%s: %v, %v", ep.name, f, err)
			}
		}
		if got := w.value("SELECT count(*) FROM users"); got != "10" {
			t.Error(got)
		}
	}
	everywhere(t, pg, run)
}
