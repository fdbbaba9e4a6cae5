package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/proxy"
	"github.com/tenantgate/tenantgate/session"
)

// testSecret is the HS256 secret of the tests; it must never be printed.
const testSecret = "hunter2-hunter2-hunter2-hunter2-hunter2"

// minimal is the smallest configuration that passes.
const minimal = `
auth: {keys: [{algorithm: HS256, secret: ` + testSecret + `}]}
databases: {app: {dsn: "host=127.0.0.1 dbname=app user=app_user password=swordfish"}}
`

// writeFile writes a file into a directory of the test and returns its path.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loadText loads a configuration from text.
func loadText(t *testing.T, text string) (*loaded, error) {
	t.Helper()
	return load(writeFile(t, t.TempDir(), "config.yaml", text), io.Discard)
}

func TestExampleHoldsEveryKeyWithItsDefault(t *testing.T) {
	const example = "../../config.example.yaml"
	t.Setenv("TENANTGATE_SECRET", testSecret)
	l, err := load(example, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	var db databaseConfig
	db.setDefaults()
	db.DSN, db.Require = l.file.Databases["app"].DSN, map[string]string{}
	want.Databases = map[string]databaseConfig{"app": db}
	want.Auth.Keys = []keyConfig{{Algorithm: "HS256", Secret: testSecret}}
	want.Context.Settings = map[string]settingConfig{}
	if !reflect.DeepEqual(l.file, want) {
		t.Errorf("the example differs from the defaults:\n got %+v\nwant %+v", l.file, want)
	}

	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	p := &problems{lines: map[string]int{}, hidden: map[string]string{}}
	if _, err := parse(p, text, "."); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for path, line := range p.lines {
		if !strings.ContainsAny(path, "[") && strings.Contains(path, ".") && !strings.HasSuffix(lines[line-1], ":") && !strings.Contains(lines[line-1], " # ") {
			t.Errorf("%s has no comment", path)
		}
	}
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			name := keyName(typ.Field(i))
			if name == "" {
				continue
			}
			at := strings.TrimPrefix(path+"."+name, ".")
			if _, ok := p.lines[at]; !ok && at != "auth.keys[0].public_key_file" { // an HS256 key has none
				t.Errorf("the example lacks %s", at)
			}
			switch ft := typ.Field(i).Type; {
			case ft.Kind() == reflect.Struct:
				walk(at, ft)
			case ft == reflect.TypeFor[map[string]databaseConfig]():
				walk(at+".app", ft.Elem())
			case ft == reflect.TypeFor[[]tenantLimits]():
				for i := range ft.Elem().NumField() { // the entries are comments
					if name := keyName(ft.Elem().Field(i)); !slices.ContainsFunc(lines, func(l string) bool {
						return strings.HasPrefix(l, "    # - {") && strings.Contains(l, name+": ")
					}) {
						t.Errorf("the example has no entry of %s with %s", at, name)
					}
				}
			case ft.Kind() == reflect.Slice:
				walk(at+"[0]", ft.Elem())
			}
		}
	}
	walk("", reflect.TypeFor[config]())
}

func TestMinimalConfigurationTakesEveryDefault(t *testing.T) {
	l, err := loadText(t, minimal)
	if err != nil {
		t.Fatal(err)
	}
	s := l.server
	want := proxy.Config{
		Listen:   proxy.Listen{Address: "127.0.0.1:6432", Port: "6432", TLS: proxy.TLS{Mode: proxy.TLSDisable}},
		HTTP:     "127.0.0.1:9127",
		Verifier: l.verifier, Throttle: s.Throttle, Log: s.Log,
		OnExpiry: proxy.ExpiryTerminate,
		Leeway:   30 * time.Second,
		Context:  &session.ContextSpec{TenantSetting: "app.current_tenant_id"},
		Guard: session.GuardConfig{
			Context: "enforce", HiddenSQL: "enforce", SharedRole: "enforce", Channels: "off", HiddenSealed: "off",
			Reserved: []string{"app.current_tenant_id"},
		},
		Databases: map[string]proxy.Database{"app": {
			DialConfig: session.DialConfig{
				DSN: "host=127.0.0.1 dbname=app user=app_user password=swordfish", ConnectTimeout: 10 * time.Second,
			},
			PoolSize: 20,
		}},
		Limits: proxy.Limits{MaxClientConn: 10000, MaxUnauthenticated: 500, StatementBuffer: 1 << 20, MaxPrepared: 200},
		Timeouts: proxy.Timeouts{
			ClientLogin: 10 * time.Second, QueryWait: 30 * time.Second, ServerConnect: 10 * time.Second,
			ServerReset: 5 * time.Second, ServerLifetime: time.Hour, ServerIdle: 10 * time.Minute,
			CancelWait: 10 * time.Second, Shutdown: 30 * time.Second,
		},
		Version: version,
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	if s.Throttle == nil || s.Verifier == nil || s.Log == nil {
		t.Errorf("throttle %v, verifier %v, log %v: none may be nil", s.Throttle, s.Verifier, s.Log)
	}
}

// testSealKey is a key as keygen prints it.
var testSealKey = strings.Repeat("5ea1", 16)

func TestEveryKeyReachesTheServer(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	writeFile(t, dir, "password", "opens\n")
	writeFile(t, dir, "revoked", "")
	writeFile(t, dir, "seal", testSealKey+"\n")
	seal, err := session.NewSealKey("k7", testSealKey)
	if err != nil {
		t.Fatal(err)
	}
	l, err := load(writeFile(t, dir, "config.yaml", `
listen: {address: "0.0.0.0:7000", loops: 3, tls: {mode: require, cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}, allow_plaintext_password: true}
http: {address: ""}
auth:
  issuer: me
  leeway: 7s
  keys: [{algorithm: HS256, key_id: k, secret: `+testSecret+`}]
  revoked_file: revoked
  on_expiry: ignore
context:
  tenant_setting: My.Tenant
  settings:
    b.two: {claim: sub, default: nobody}
    b.ONE: {claim: app.role, equals: ""}
  guard: {context: log, hidden_sql: log, shared_role: "off", channels: enforce}
  seal: {key_id: k7, key_file: seal}
databases:
  "*": {dsn: "postgres://u@db.example/d", password_file: password, require: {role: migrator, level: 3}, allow_unsafe_role: true, pool_size: 2, min_pool_size: 1}
limits: {max_client_conn: 1, max_unauthenticated: 2, max_login_failures: 0, max_tenant_client_conn: 4, max_tenant_server_conn: 5, statement_buffer: 64KiB, max_prepared_statements: 6, tenants: [
  {tenant: AAAAAAAA-0000-4000-8000-00000000000A, max_tenant_client_conn: 0, statement_timeout: 20s},
  {claim: app.plan, equals: "", max_tenant_server_conn: 1, transaction_timeout: 0s, idle_transaction_timeout: 21s}]}
timeouts: {statement_timeout: 11s, transaction_timeout: 12s, client_login_timeout: 1s, query_wait_timeout: 2s, client_idle_timeout: 3s, idle_transaction_timeout: 4s, server_connect_timeout: 5s, server_reset_timeout: 6s, server_lifetime: 7s, server_idle_timeout: 8s, cancel_wait_timeout: 9s, shutdown_timeout: 10s}
log: {level: debug, format: json}
`), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := proxy.Config{
		Listen: proxy.Listen{
			Address: "0.0.0.0:7000", Port: "7000", Loops: 3, AllowPlaintextPassword: true,
			TLS: proxy.TLS{Mode: proxy.TLSRequire, CertFile: cert, KeyFile: key, ClientCAFile: cert},
		},
		Verifier: l.verifier, Log: l.server.Log, OnExpiry: proxy.ExpiryIgnore, Leeway: 7 * time.Second,
		Context: &session.ContextSpec{TenantSetting: "My.Tenant", Settings: []session.Setting{
			{Name: "b.ONE", Claim: "app.role", HasEquals: true}, {Name: "b.two", Claim: "sub", Default: "nobody"},
		}},
		Guard: session.GuardConfig{
			Context: "log", HiddenSQL: "log", SharedRole: "off", Channels: "enforce", HiddenSealed: "log",
			Reserved: []string{"my.tenant", "b.one", "b.two"},
		},
		Databases: map[string]proxy.Database{"*": {
			DialConfig: session.DialConfig{DSN: "postgres://u@db.example/d", Password: "opens", ConnectTimeout: 5 * time.Second, AllowUnsafeRole: true, Seal: seal},
			Require:    map[string]string{"role": "migrator", "level": "3"}, PoolSize: 2, MinPoolSize: 1,
		}},
		Limits: proxy.Limits{MaxClientConn: 1, MaxUnauthenticated: 2, StatementBuffer: 64 << 10, MaxPrepared: 6, Tenant: proxy.Bounds{
			MaxClientConn: 4, MaxServerConn: 5, Statement: 11e9, Transaction: 12e9, IdleTransaction: 4e9,
		}, Tenants: []proxy.TenantLimits{
			{Tenant: "aaaaaaaa-0000-4000-8000-00000000000a", Bounds: proxy.Bounds{MaxServerConn: 5, Statement: 20e9, Transaction: 12e9, IdleTransaction: 4e9}},
			{Claim: "app.plan", Bounds: proxy.Bounds{MaxClientConn: 4, MaxServerConn: 1, Statement: 11e9, IdleTransaction: 21e9}},
		}},
		Timeouts: proxy.Timeouts{
			ClientLogin: 1e9, QueryWait: 2e9, ClientIdle: 3e9, ServerConnect: 5e9,
			ServerReset: 6e9, ServerLifetime: 7e9, ServerIdle: 8e9, CancelWait: 9e9, Shutdown: 10e9,
		},
		Version: version,
	}
	if !reflect.DeepEqual(l.server, want) {
		t.Errorf("got  %+v\nwant %+v", l.server, want)
	}
}

func TestVerifierTakesTheWholeSectionAuth(t *testing.T) {
	c := defaults()
	c.Auth = authConfig{
		Issuer: "i", Audience: "a", Leeway: 1, MaxLifetime: 2, JWKS: jwksConfig{URL: "u", File: "f", Refresh: 3},
		Keys:        []keyConfig{{Algorithm: "HS256", KeyID: "k", SecretFile: "s", Secret: "x", PublicKeyFile: "p"}},
		TenantClaim: "t", TenantFormat: "text", UserClaim: "u", RevokedFile: "r",
	}
	want := auth.Config{
		Issuer: "i", Audience: "a", Leeway: 1, MaxLifetime: 2, JWKS: auth.JWKSConfig{URL: "u", File: "f", Refresh: 3},
		Keys:        []auth.KeyConfig{{Algorithm: "HS256", KeyID: "k", SecretFile: "s", Secret: "x", PublicKeyFile: "p"}},
		TenantClaim: "t", TenantFormat: "text", UserClaim: "u", RevokedFile: "r",
	}
	if got := c.verifierConfig(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEffectiveConfigurationShowsNoSecretAndLoadsAgain(t *testing.T) {
	l, err := loadText(t, strings.Replace(minimal, "keys:", "jwks: {url: \"https://keys.example/set?key=swordfish\"}, keys:", 1))
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(l.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{testSecret, "swordfish"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the secret %q is shown in\n%s", secret, text)
		}
	}
	p := &problems{lines: map[string]int{}, hidden: map[string]string{}}
	if _, err := parse(p, text, "."); err != nil || len(p.found) > 0 {
		t.Errorf("the effective configuration does not parse: %v %v", err, p.found)
	}
}

func TestConnectionStringsPrintWithoutPassword(t *testing.T) {
	for _, tt := range []struct{ dsn, want string }{
		{"host=h user=u", "host=h user=u"},
		{"host=h password=pa5s user=u", "host=h password=[redacted] user=u"},
		{"host=h password = 'pa5s word' user=u", "host=h password = [redacted] user=u"},
		{`host=h password='pa5s\' x=y' user=u`, "host=h password=[redacted] user=u"},
		{`host=h password=pa5s\ x user=u`, "host=h password=[redacted] user=u"},
		{"host='password=' password=pa5s", "host='password=[redacted] password=[redacted]"},
		{"postgres://u:pa5s@h/d?sslmode=disable", "postgres://u:[redacted]@h/d?sslmode=disable"},
		{"postgres://u@h/d?password=pa5s", "postgres://u@h/d?password=[redacted]"},
		{"postgres://u@h/d", "postgres://u@h/d"},
		{"postgres://u:pa5s@h:port/d", redacted},
		{"host=h password='pa5s", redacted},
	} {
		if got := dsnText(tt.dsn).String(); got != tt.want {
			t.Errorf("%s prints as %s, want %s", tt.dsn, got, tt.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want size
	}{{"1MiB", 1 << 20}, {"64KiB", 64 << 10}, {"65537", 65537}, {"10B", 10}, {"1 GiB", 1 << 30}, {"0", 0}} {
		got, err := parseSize(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%s is %d, %v; want %d", tt.text, got, err, tt.want)
		}
		if again, err := parseSize(got.String()); err != nil || again != got {
			t.Errorf("%s prints as %s, which is %d, %v", tt.text, got, again, err)
		}
	}
	for _, text := range []string{"", "1MB", "-1", "1.5MiB", "MiB", "3GiB", "99999999999", "1mib", "0x10"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is accepted as %d", text, got)
		}
	}
}

func TestLibpqEnvironmentDoesNotReachConnectionStrings(t *testing.T) {
	t.Cleanup(func() { forgotten = map[string]string{} })
	for _, name := range libpqEnvironment {
		t.Setenv(name, "disable")
	}
	t.Setenv("PGPASSWORD", "from-the-environment")
	if err := forgetLibpqEnvironment(); err != nil {
		t.Fatal(err)
	}
	parsed, err := dsnText("host=db.example user=u sslmode=verify-full").parse()
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Password != "" || len(parsed.RuntimeParams) > 0 || parsed.TLSConfig == nil {
		t.Errorf("the environment shows through: password %q, parameters %v, TLS %t", parsed.Password, parsed.RuntimeParams, parsed.TLSConfig != nil)
	}
	if value, ok := environment("PGPASSWORD"); !ok || value != "from-the-environment" {
		t.Errorf("${PGPASSWORD} is %q, %t", value, ok)
	}
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = writeFile(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	key = writeFile(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	return cert, key
}
