package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// issue makes a server certificate for the given DNS names, signed by c.
func (c *certificate) issue(t *testing.T, hosts ...string) (certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := x509.ParseCertificate(c.pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, &key.PublicKey, c.pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
}

// authorityFile writes the certificate of an authority and returns its path.
func (c *certificate) authorityFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(workDir(t, "ca"), "ca.pem")
	if err := os.WriteFile(path, []byte(c.certPEM), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// reached configures one database by a whole DSN, with the right password.
func reached(name, dsn string) option {
	return func(p *proxy) {
		p.set("databases/"+name, map[string]any{
			"dsn": dsn, "password_file": filepath.Join(p.dir, "app_password"), "pool_mode": poolModes[len(poolModes)-1], "pool_size": 3,
		})
	}
}

// added puts a database into a running proxy and waits until it is known.
func added(t *testing.T, p *proxy, name string, o option) {
	t.Helper()
	o(p)
	p.reload(t)
	eventually(t, 10*time.Second, "the database "+name+" is known", func() bool { return refusal(t, p.as(tenantA).in(name)) != "3D000" })
}

// works logs in, sees the tenant's rows, and cancels a statement.
func works(t *testing.T, pg *postgres, ep endpoint) (pid string) {
	t.Helper()
	w := ep.login(t)
	if got := w.value("SELECT count(*) FROM users"); got != "10" {
		t.Errorf("%s: %s users", ep.database, got)
	}
	pid = w.value("SELECT pg_backend_pid()")
	runningSleep(t, pg, w, "dialled as "+ep.database)
	if err := w.cancel(true); err != nil {
		t.Errorf("%s: the cancel: %v", ep.database, err)
	}
	if _, code := lastError(w.until('Z', 1)); code != "57014" {
		t.Errorf("%s: the cancel came to %q", ep.database, code)
	}
	depart(w, "Terminate")
	return pid
}

// TestBackendsOverVerifiedTLS runs backends with sslmode=verify-full against a
// server with a certificate of an authority of its own: sessions and cancels are
// encrypted, and a server that cannot be verified gets nothing.
func TestBackendsOverVerifiedTLS(t *testing.T) {
	pg := startPostgres(t, "log_connections=on")
	authority := newCertificate(t, "the right authority")
	cert, key := authority.issue(t, "localhost")
	pg.write(t, "data/server.crt", cert)
	pg.write(t, "data/server.key", key)
	pg.write(t, "data/pg_hba.conf", "host all postgres 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
	pg.signal(t, syscall.SIGHUP)
	right, wrong := authority.authorityFile(t), newCertificate(t, "another authority").authorityFile(t)
	dsn := func(host string, port int, root string) string {
		return fmt.Sprintf("host=%s port=%d dbname=app user=app_user sslmode=verify-full sslrootcert=%s", host, port, root)
	}
	eventually(t, 10*time.Second, "the server has its certificate", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		c, err := pgconn.Connect(ctx, strings.Replace(dsn("localhost", pg.port, right), "user=app_user", "user=postgres password="+superPassword, 1))
		if err == nil {
			closeSoon(c)
		}
		return err == nil
	})
	r := startMiddleman(t, pg, nil)
	p := newProxy(t, pg, reached("app", dsn("localhost", pg.port, right)), reached("relayed", dsn("localhost", r.port(), right)))
	delete(p.config["databases"].(map[string]any), "literal") // it is reached without TLS
	for _, mode := range poolModes[1:] {
		delete(p.config["databases"].(map[string]any), "app_"+mode)
	}
	p.writeConfig(t)
	p.start(t)
	defer p.finish(t)
	for _, name := range []string{"app", "relayed"} {
		pid := works(t, pg, p.as(tenantA).in(name)) // it is in the pool now
		if got := pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid = "+pid); got != 1 {
			t.Errorf("%s: the backend is not encrypted", name)
		}
	}
	if got := r.cancels.Load(); got != 0 {
		t.Errorf("%d cancel keys crossed the network in the clear", got)
	}
	log, err := os.ReadFile(filepath.Join(pg.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), `identity="app_user" method=scram-sha-256`) {
		t.Error("the password of the file was not used by SCRAM")
	}
	for name, c := range map[string]struct{ dsn, said string }{
		"wrongca":   {dsn("localhost", pg.port, wrong), "certificate signed by unknown authority"},
		"wronghost": {dsn("127.0.0.1", pg.port, right), "cannot validate certificate for 127.0.0.1"},
		"plain":     {fmt.Sprintf("host=localhost port=%d dbname=app user=app_user sslmode=disable", pg.port), "no encryption"},
	} {
		added(t, p, name, reached(name, c.dsn))
		_, err := p.as(tenantA).in(name).tryLogin(t)
		if err == nil || !strings.Contains(err.Error(), "V=FATAL") || !strings.Contains(err.Error(), "C=08006") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "localhost")) {
			t.Errorf("%s: the client learns %v", name, err)
		}
		if !logged(p, "database="+name, c.said) {
			t.Errorf("%s: the log does not say %q", name, c.said)
		}
		works(t, pg, p.as(tenantA))
	}
}

// logged says whether one line of the log holds all of the words.
func logged(p *proxy, words ...string) bool {
lines:
	for line := range strings.Lines(p.log.String()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		return true
	}
	return false
}

// TestBackendsOverAUnixSocket dials the directory of the server's socket.
func TestBackendsOverAUnixSocket(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg, reached("local", fmt.Sprintf("host=%s port=%d dbname=app user=app_user", pg.dir, pg.port)))
	pid := works(t, pg, p.as(tenantA).in("local")) // it is in the pool now
	if got := pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NULL AND pid = "+pid); got != 1 {
		t.Error("the backend is not on the Unix socket")
	}
}

// TestAWrongPasswordFileIsSaid uses a password that is not the role's.
func TestAWrongPasswordFileIsSaid(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	file := filepath.Join(p.dir, "wrong_password")
	if err := os.WriteFile(file, []byte("not the password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	added(t, p, "wrong", with("databases/wrong", map[string]any{"dsn": pg.backendDSN("app"), "password_file": file, "pool_size": 2}))
	if got := refusal(t, p.as(tenantA).in("wrong")); got != "08006" {
		t.Errorf("a wrong password came to %q", got)
	}
	if !logged(p, "database=wrong", "password authentication failed") {
		t.Error("the log does not say why")
	}
	if strings.Contains(p.log.String(), "not the password") {
		t.Error("the password is in the log")
	}
}

// TestTheRightHostOfSeveralIsUsed gives several hosts: one that is dead, and one
// that only reads; and the server of that name has no TLS, which sslmode=prefer
// takes on loopback.
func TestTheRightHostOfSeveralIsUsed(t *testing.T) {
	pg := sharedPostgres(t)
	other := startPostgres(t, "ssl=off")
	both := func(first, second int, more string) string {
		return fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d dbname=app user=app_user %s", first, second, more)
	}
	plain := fmt.Sprintf("host=127.0.0.1 port=%d dbname=app user=app_user sslmode=", other.port)
	p := startProxy(t, pg, reached("dead", both(freePort(t), pg.port, "sslmode=disable")),
		reached("prefer", plain+"prefer"), reached("allow", plain+"allow"), reached("unsaid", strings.TrimSuffix(plain, "sslmode=")))
	port := func(name string) string {
		t.Helper()
		w := p.as(tenantA).in(name).login(t)
		defer depart(w, "Terminate")
		return w.value("SELECT inet_server_port()")
	}
	works(t, pg, p.as(tenantA).in("dead"))
	if got := port("dead"); got != fmt.Sprint(pg.port) {
		t.Errorf("behind a dead host: port %s, want %d", got, pg.port)
	}
	for _, name := range []string{"prefer", "allow", "unsaid"} {
		works(t, other, p.as(tenantA).in(name))
	}
	added(t, p, "require", reached("require", plain+"require"))
	if got := refusal(t, p.as(tenantA).in("require")); got != "08006" {
		t.Errorf("sslmode=require at a server without TLS: %q", got)
	}
	other.exec(t, "postgres", "ALTER SYSTEM SET default_transaction_read_only = on")
	other.exec(t, "postgres", "SELECT pg_reload_conf()")
	eventually(t, 10*time.Second, "the first server only reads", func() bool {
		return other.exec(t, "app", "SHOW default_transaction_read_only")[0][0] == "on"
	})
	added(t, p, "writable", reached("writable", both(other.port, pg.port, "sslmode=disable target_session_attrs=read-write")))
	works(t, pg, p.as(tenantA).in("writable"))
	added(t, p, "whichever", reached("whichever", both(other.port, pg.port, "sslmode=disable")))
	for name, want := range map[string]int{"writable": pg.port, "whichever": other.port} {
		if got := port(name); got != fmt.Sprint(want) {
			t.Errorf("%s: port %s, want %d", name, got, want)
		}
	}
}

// TestTheEnvironmentOfTheProxyChangesNothing sets libpq's variables for the
// proxy: its backends are what a direct session is, before and after RESET ALL.
func TestTheEnvironmentOfTheProxyChangesNothing(t *testing.T) {
	pg := sharedPostgres(t)
	names := map[string]string{
		"PGOPTIONS": "-c timezone=Asia/Tokyo -c work_mem=123MB -c statement_timeout=1234", "PGAPPNAME": "from the environment",
		"PGTZ": "Asia/Tokyo", "PGPASSWORD": "not the password", "PGUSER": "postgres", "PGHOST": "192.0.2.1", "PGHOSTADDR": "192.0.2.1",
		"PGPORT": "1", "PGDATABASE": "postgres", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/nonexistent/ca.pem",
		"PGTARGETSESSIONATTRS": "standby", "PGSERVICE": "nonexistent", "PGSERVICEFILE": "/nonexistent/services", "PGDATESTYLE": "German",
		"PGCLIENTENCODING": "LATIN1", "PGCONNECT_TIMEOUT": "1", "PGGEQO": "off", "PGPASSFILE": "/nonexistent/pgpass",
		"PGREQUIREAUTH": "none", "PGCHANNELBINDING": "require", "PGSSLNEGOTIATION": "direct", "PGLOCALEDIR": "/nonexistent",
		"PGMINPROTOCOLVERSION": "3.2", "PGMAXPROTOCOLVERSION": "3.2", "PGSSLCERT": "/nonexistent/crt", "PGSSLKEY": "/nonexistent/key",
	}
	for name, value := range names {
		t.Setenv(name, value)
	}
	p := newProxy(t, pg, reached("short", fmt.Sprintf("host=127.0.0.1 port=%d dbname=app user=app_user", pg.port)))
	p.launch(t)
	for name := range names { // the test's own connections do without
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	defer p.finish(t)
	eventually(t, 20*time.Second, "the proxy is ready", p.ready)
	settings := []string{
		"timezone", "application_name", "work_mem", "statement_timeout", "datestyle", "client_encoding", "geqo", "search_path",
		"extra_float_digits", "intervalstyle", "default_transaction_read_only",
	}
	direct := pg.direct(tenantA).login(t)
	delete(direct.params, "session_authorization")
	for _, ep := range append(p.everyMode(tenantA), p.as(tenantA).in("short")) {
		w := ep.login(t)
		for _, when := range []string{"at first", "after RESET ALL"} {
			for _, name := range settings {
				if got, want := w.value("SHOW "+name), direct.value("SHOW "+name); got != want {
					t.Errorf("%s, %s: %s is %q, in a direct session %q", ep.database, when, name, got, want)
				}
			}
			if frames := w.do(simple("RESET ALL")); strings.Contains(show(frames), "E[") {
				t.Errorf("%s: %s", ep.database, show(frames))
			}
		}
		if got := w.value("SELECT count(*) FROM users"); got != "10" {
			t.Errorf("%s: %s users", ep.database, got)
		}
		delete(w.params, "session_authorization") // the roles differ
		if got, want := w.loginBurst(), direct.loginBurst(); got != want {
			t.Errorf("%s: the login told\n%s\na direct one\n%s", ep.database, got, want)
		}
	}
}
