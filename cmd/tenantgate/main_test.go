package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantgate/tenantgate/auth"
)

// tenantA is a tenant of the tests.
const tenantA = "11111111-1111-1111-1111-111111111111"

// runWith runs a command line and returns its exit code and what it printed.
func runWith(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodesAndWhereHelpGoes(t *testing.T) {
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string // a part of each; empty: nothing at all
	}{
		{nil, exitUsage, "", "usage: tenantgate COMMAND"},
		{[]string{"help"}, exitOK, "serve ", ""},
		{[]string{"--help"}, exitOK, "check ", ""},
		{[]string{"serv"}, exitUsage, "", "did you mean serve?"},
		{[]string{"-config", "x"}, exitUsage, "", `there is no command "-config"`},
		{[]string{"version"}, exitOK, "tenantgate " + version, ""},
		{[]string{"version", "x"}, exitUsage, "", `unexpected argument "x"`},
		{[]string{"serve"}, exitUsage, "", "-config is required"},
		{[]string{"serve", "-h"}, exitOK, "usage: tenantgate serve", ""},
		{[]string{"serve", "-frob"}, exitUsage, "", "-frob\nSee `tenantgate serve -h`.\n"},
		{[]string{"serve", "-config", "/nowhere.yaml"}, exitFailure, "", "no such file"},
		{[]string{"check"}, exitUsage, "", "-config is required"},
		{[]string{"check", "-config", "/nowhere.yaml"}, exitFailure, "FAIL configuration", "no such file"},
		{[]string{"token", "-tenant", "x"}, exitUsage, "", "-config is required"},
		{[]string{"token", "-config", "x"}, exitUsage, "", "-tenant is required"},
		{[]string{"token", "-config", "x", "-tenant", "x", "-ttl", "0s"}, exitUsage, "", "-ttl must be 1s or more"},
		{[]string{"token", "-claim", "x"}, exitUsage, "", "want NAME=TEXT or NAME:=JSON"},
		{[]string{"token", "-claim", "x:={"}, exitUsage, "", "not JSON"},
		{[]string{"token", "-claim", "a..b=c"}, exitUsage, "", "empty name"},
	} {
		code, stdout, stderr := runWith(tt.args...)
		if code != tt.code {
			t.Errorf("%q ends with %d, want %d", tt.args, code, tt.code)
		}
		for got, want := range map[string]string{"out: " + stdout: "out: " + tt.stdout, "err: " + stderr: "err: " + tt.stderr} {
			if stream, part := want[:5], want[5:]; !strings.Contains(got, part) || part == "" && got != stream {
				t.Errorf("%q prints %q, want %q", tt.args, got, want)
			}
		}
	}
}

// tokenConfig writes a configuration whose section auth is the given one.
func tokenConfig(t *testing.T, dir, section string) string {
	t.Helper()
	return writeFile(t, dir, "config.yaml", complete("auth: "+section))
}

// claimsOf decodes a token without verifying it.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(strings.TrimSuffix(token, "\n"), ".")
	if len(parts) != 3 {
		t.Fatalf("not a token: %q", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestTokenCarriesWhatTheConfigurationAsksFor(t *testing.T) {
	path := tokenConfig(t, t.TempDir(), `{issuer: me, audience: you, tenant_claim: app.tenant, user_claim: user, keys: [{algorithm: HS256, key_id: k1, secret: `+testSecret+`}]}`)
	code, stdout, stderr := runWith("token", "-config", path, "-tenant", tenantA, "-subject", "bob", "-ttl", "90m",
		"-claim", "user=app_user", "-claim", "app.level:=3", "-claim", "https://x.example/y=z", "-claim", "text=a=b")
	if code != exitOK || stderr != "" {
		t.Fatalf("ends with %d: %s", code, stderr)
	}
	if strings.Count(stdout, "\n") != 1 {
		t.Errorf("prints more than the token: %q", stdout)
	}
	got := claimsOf(t, stdout)
	iat, exp := got["iat"].(float64), got["exp"].(float64)
	if exp-iat != 5400 || time.Since(time.Unix(int64(iat), 0)).Abs() > time.Minute {
		t.Errorf("iat %v, exp %v: want now and 90 minutes later", iat, exp)
	}
	if id, _ := got["jti"].(string); len(id) < 20 {
		t.Errorf("jti is %q", id)
	}
	for _, name := range []string{"iat", "exp", "jti"} {
		delete(got, name)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"app":{"level":3,"tenant":"` + tenantA + `"},"aud":"you","https://x.example/y":"z","iss":"me","sub":"bob","text":"a=b","user":"app_user"}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	_, second, _ := runWith("token", "-config", path, "-tenant", tenantA, "-claim", "user=u")
	if claimsOf(t, second)["jti"] == got["jti"] {
		t.Error("two tokens have the same jti")
	}
}

func TestTokenThatWouldBeRefusedIsNotPrinted(t *testing.T) {
	dir := t.TempDir()
	_, otherKey := certificate(t, dir)
	writeFile(t, dir, "revoked", "sub=mallory\n")
	path := tokenConfig(t, dir, `{max_lifetime: 2h, user_claim: user, revoked_file: revoked, keys: [{algorithm: HS256, key_id: k1, secret: `+testSecret+`}]}`)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"tenant format", []string{"-tenant", "acme", "-claim", "user=u"}, "this token would be refused: tenant: the tenant is not a UUID"},
		{"lifetime", []string{"-tenant", tenantA, "-claim", "user=u", "-ttl", "3h"}, "max_lifetime"},
		{"user claim", []string{"-tenant", tenantA}, "auth.user_claim"},
		{"revoked", []string{"-tenant", tenantA, "-claim", "user=u", "-subject", "mallory"}, "revoked"},
		{"not yet valid", []string{"-tenant", tenantA, "-claim", "user=u", "-claim", "nbf:=99999999999"}, "nbf"},
		{"key that nobody trusts", []string{"-tenant", tenantA, "-claim", "user=u", "-key", otherKey}, "no key is bound to ES256"},
		{"key file", []string{"-tenant", tenantA, "-key", "/nowhere/key"}, "-key: open /nowhere/key"},
		{"key id", []string{"-tenant", tenantA, "-key-id", "k2"}, `the key_id "k2"`},
		{"tenant set twice", []string{"-tenant", tenantA, "-claim", "tenant_id=x"}, "the claim tenant_id is set already"},
		{"claim inside a value", []string{"-tenant", tenantA, "-claim", "tenant_id.x=x"}, "cannot stand inside tenant_id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runWith(append([]string{"token", "-config", path}, tt.args...)...)
			if code != exitFailure || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("ends with %d, prints %q and says %q, want %q", code, stdout, stderr, tt.want)
			}
		})
	}
}

func TestTokenOfAPrivateKeyIsVerifiedWithItsPublicKey(t *testing.T) {
	dir := t.TempDir()
	_, key := certificate(t, dir)
	path := tokenConfig(t, dir, `{keys: [{algorithm: ES256, key_id: k1, public_key_file: cert.pem}]}`)
	code, stdout, stderr := runWith("token", "-config", path, "-tenant", tenantA, "-key", key, "-key-id", "k1")
	if code != exitOK {
		t.Fatal(stderr)
	}
	l, err := load(path, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := l.verifier.Verify(time.Now(), strings.TrimSpace(stdout)); err != nil || id.Tenant() != tenantA {
		t.Errorf("the token is for %q, %v", id.Tenant(), err)
	}
	if code, stdout, stderr = runWith("token", "-config", path, "-tenant", tenantA); code != exitFailure || stdout != "" || !strings.Contains(stderr, "-key FILE") {
		t.Errorf("without -key: ends with %d, prints %q and says %q", code, stdout, stderr)
	}
}

func TestTokenIsPrintedUnverifiedOnlyWhenTheJWKSIsOutOfReach(t *testing.T) {
	dir := t.TempDir()
	_, key := certificate(t, dir)
	path := tokenConfig(t, dir, `{jwks: {url: "http://127.0.0.1:1/jwks"}}`)
	code, stdout, stderr := runWith("token", "-config", path, "-tenant", tenantA, "-key", key)
	if code != exitOK || claimsOf(t, stdout)["tenant_id"] != tenantA || !strings.Contains(stderr, "the token is not verified") {
		t.Errorf("ends with %d, prints %q and says %q", code, stdout, stderr)
	}
}

func TestCheckReportsEveryItem(t *testing.T) {
	path := writeFile(t, t.TempDir(), "config.yaml", `
auth: {jwks: {url: "http://127.0.0.1:1/jwks"}}
databases:
  one: {dsn: "host=127.0.0.1 port=1 user=u password=swordfish sslmode=disable"}
  two: {dsn: "host=127.0.0.1 port=1 user=u sslmode=disable"}
`)
	code, stdout, stderr := runWith("check", "-config", path)
	if code != exitFailure {
		t.Errorf("ends with %d: %s", code, stderr)
	}
	for _, want := range []string{
		"\n    pool_size: 20\n", "\nok   configuration\n", "\nFAIL auth.jwks.url: fetch http://127.0.0.1:1/jwks: ", "\nFAIL databases.one: failed to connect", "\nFAIL databases.two: failed to connect", "not sealed",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout+stderr, "swordfish") {
		t.Errorf("the password is shown:\n%s%s", stdout, stderr)
	}
}

func TestStartSaysWhatItCannotKeep(t *testing.T) {
	l, err := loadText(t, `
listen: {address: ":6432", allow_plaintext_password: true}
auth: {keys: [{algorithm: HS256, secret: `+testSecret+`}]}
databases: {app: {dsn: host=h, allow_unsafe_role: true, pool_size: 7}, b: {dsn: host=h}}
limits: {max_client_conn: 2000000000}
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.filesNeeded(), uint64(2000000000+500+7+20+spareFiles); got != want {
		t.Errorf("needs %d files, want %d", got, want)
	}
	var log bytes.Buffer
	l.announce(slog.New(slog.NewTextHandler(&log, nil)))
	for _, want := range []string{"not sealed", "can forge its tenant", "allow_unsafe_role is set", "database=app", "clear text", "limit of open files is too low"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "database=b") {
		t.Errorf("a safe database is named:\n%s", log.String())
	}
}

func TestServiceManagerIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify("READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	address := filepath.Join(t.TempDir(), "s")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", address)
	if err := notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	if err := manager.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, err := manager.Read(got)
	if err != nil || string(got[:n]) != "READY=1" {
		t.Errorf("the manager got %q, %v", got[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", address+"-gone")
	if err := notify("READY=1"); err == nil {
		t.Error("a manager that is gone was told")
	}
}

func TestLogLevelAndFormat(t *testing.T) {
	c := defaults()
	c.Log = logConfig{Level: "warn", Format: "json"}
	var out bytes.Buffer
	log := c.logger(&out)
	log.Info("quiet")
	log.Warn("loud", "secret", auth.Secret(testSecret))
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "loud" || line["secret"] != redacted {
		t.Errorf("logged %s", out.String())
	}
}
