package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/proxy"
	"github.com/tenantgate/tenantgate/session"
)

// check looks at every value, and builds what can only be checked by building
// it. All mistakes are reported, those that p holds already included.
func (c *config) check(p *problems, logs io.Writer) (*loaded, error) {
	log := c.logger(logs)
	c.checkListen(p)
	c.checkAuth(p)
	c.checkContext(p)
	for _, name := range sortedKeys(c.Databases) {
		db := c.Databases[name]
		db.check(p, "databases."+name)
		c.Databases[name] = db
	}
	if len(c.Databases) == 0 {
		p.addf("databases", "no database is configured; add an entry named as clients ask for it, or \"*\", with a dsn")
	}
	c.checkLimits(p)
	c.checkTenants(p)
	c.checkTimeouts(p)
	p.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	p.oneOf("log.format", c.Log.Format, "text", "json")

	verifier, err := auth.New(c.verifierConfig(), log)
	p.addError(err)
	if err := p.err(); err != nil {
		return nil, err
	}
	return &loaded{file: c, verifier: verifier, server: c.serverConfig(verifier, log)}, nil
}

// checkListen looks at both listeners and at the client side TLS.
func (c *config) checkListen(p *problems) {
	l := &c.Listen
	where := checkAddress(p, "listen.address", l.Address)
	if l.Loops < 0 {
		p.addf("listen.loops", "%d is below 0; 0 chooses from the CPUs", l.Loops)
	}
	l.checkTLS(p)
	if where == remoteAddress && l.TLS.mode() == proxy.TLSDisable && !l.AllowPlaintextPassword {
		p.addf("listen.address", "tokens would cross the network in clear text on %q; set listen.tls.cert_file and key_file, "+
			"or listen.allow_plaintext_password: true when the network itself is encrypted", l.Address)
	}
	if c.HTTP.Address == "" {
		return
	}
	if checkAddress(p, "http.address", c.HTTP.Address) == socketAddress {
		p.addf("http.address", "%q is not host:port; metrics are served over TCP only", c.HTTP.Address)
	}
	if c.HTTP.Address == l.Address {
		p.addf("http.address", "%q is the address of listen; choose another port", c.HTTP.Address)
	}
}

// addressKind says who can reach an address.
type addressKind int

const (
	invalidAddress addressKind = iota
	socketAddress              // a Unix socket directory
	localAddress               // loopback
	remoteAddress              // anything that could be reached from another machine
)

// checkAddress reports an address that cannot be listened on. A host name
// other than localhost counts as remote, whatever it resolves to today.
func checkAddress(p *problems, path, address string) addressKind {
	if dir, _, ok := splitSocket(address); ok {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			p.addf(path, "%q is not a directory that exists; create it, owned by the user that runs tenantgate", dir)
			return invalidAddress
		}
		return socketAddress
	}
	host, port, err := net.SplitHostPort(address)
	if _, badPort := strconv.ParseUint(port, 10, 16); err != nil || badPort != nil || strings.Contains(host, "/") {
		p.addf(path, "%q is not host:port, such as 127.0.0.1:6432, [::1]:6432 or :6432, nor an absolute directory for a Unix socket", address)
		return invalidAddress
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return localAddress
	}
	return remoteAddress
}

// checkTLS looks at the files of the listener's TLS and at what the mode asks
// for.
func (l *listenConfig) checkTLS(p *problems) {
	const at = "listen.tls."
	t := &l.TLS
	if t.Mode != "" {
		p.oneOf(at+"mode", t.Mode, string(proxy.TLSDisable), string(proxy.TLSPrefer), string(proxy.TLSRequire))
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		if m := t.mode(); m == proxy.TLSPrefer || m == proxy.TLSRequire {
			p.addf(at+"mode", "%s needs a certificate; set cert_file and key_file", t.Mode)
		}
	case t.CertFile == "":
		p.addf(at+"key_file", "there is no cert_file that it belongs to; set both")
	case t.KeyFile == "":
		p.addf(at+"cert_file", "there is no key_file that it belongs to; set both")
	default:
		if _, err := tls.LoadX509KeyPair(string(t.CertFile), string(t.KeyFile)); err != nil {
			p.addf(at+"cert_file", "%v", err)
		}
	}
	if t.ClientCAFile == "" {
		return
	}
	if t.mode() != proxy.TLSRequire {
		p.addf(at+"client_ca_file", "a client without TLS shows no certificate; set mode: require, or remove client_ca_file")
	}
	pem, err := os.ReadFile(string(t.ClientCAFile))
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s holds no certificate in PEM form", t.ClientCAFile)
	}
	if err != nil {
		p.addf(at+"client_ca_file", "%v", err)
	}
}

// checkAuth looks at what the verifier takes its own default for, and at what
// it does not judge: all else of the section is checked by auth.New.
func (c *config) checkAuth(p *problems) {
	a := &c.Auth
	p.oneOf("auth.on_expiry", a.OnExpiry, string(proxy.ExpiryTerminate), string(proxy.ExpiryIgnore))
	p.positive("auth.jwks.refresh", a.JWKS.Refresh)
	if a.TenantClaim == "" {
		p.addf("auth.tenant_claim", "is empty; name the claim that holds the tenant, such as tenant_id")
	}
	if a.TenantFormat == "" {
		p.addf("auth.tenant_format", "is empty; use uuid, text or a regular expression")
	}
}

// settingName is a custom setting as PostgreSQL takes it ("Customized
// Options"): identifiers joined by dots.
var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+$`)

// checkContext looks at the settings that are entered, and at their guard.
func (c *config) checkContext(p *problems) {
	const at = "context."
	x := &c.Context
	checkSettingName(p, at+"tenant_setting", x.TenantSetting)
	seen := map[string]string{strings.ToLower(x.TenantSetting): at + "tenant_setting"}
	for _, name := range sortedKeys(x.Settings) {
		path, s := at+"settings."+name, x.Settings[name]
		checkSettingName(p, path, name)
		if first, ok := seen[strings.ToLower(name)]; ok {
			p.addf(path, "the setting is given by %s already (PostgreSQL ignores case); remove one", first)
		}
		seen[strings.ToLower(name)] = path
		if err := auth.CheckPath(s.Claim); err != nil {
			p.addf(path+".claim", "%q %v", s.Claim, err)
		}
		if s.Equals != nil && s.Default != "" {
			p.addf(path+".default", "equals makes the value 'true' or 'false', a default would never be used; remove one of them")
		}
	}
	g := &x.Guard
	p.oneOf(at+"guard.context", g.Context, "enforce", "log", "off")
	p.oneOf(at+"guard.hidden_sql", g.HiddenSQL, "auto", "enforce", "log", "off")
	p.oneOf(at+"guard.shared_role", g.SharedRole, "enforce", "log", "off")
	p.oneOf(at+"guard.channels", g.Channels, "enforce", "log", "off")
	x.Seal.check(p, at+"seal")
}

// check reads the key that seals the context.
func (s *sealConfig) check(p *problems, at string) {
	switch {
	case s.KeyID == "" && s.KeyFile == "":
		return
	case s.KeyFile == "":
		p.addf(at+".key_id", "there is no key_file that it belongs to; make one with: tenantgate seal keygen > FILE")
		return
	case s.KeyID == "":
		p.addf(at+".key_file", "there is no key_id that tells the key from the one after it; set one such as k1")
		return
	}
	text, err := os.ReadFile(string(s.KeyFile))
	if err != nil {
		p.addf(at+".key_file", "%v", err)
		return
	}
	if s.key, err = session.NewSealKey(s.KeyID, string(text)); err != nil {
		p.addf(at, "%v; make a key with: tenantgate seal keygen", err)
	}
}

// checkSettingName reports a name that cannot be a context setting. Settings
// of PostgreSQL itself have no dot: none of them may carry a context.
func checkSettingName(p *problems, path, name string) {
	switch {
	case !strings.Contains(name, "."):
		p.addf(path, "%q is a setting of PostgreSQL itself or no setting at all; a context setting has a dot, such as app.current_tenant_id", name)
	case !settingName.MatchString(name):
		p.addf(path, "%q is not a setting name; use letters, digits, _ and $, joined by dots, such as app.current_tenant_id", name)
	case strings.HasPrefix(strings.ToLower(name), "tenantgate."):
		p.addf(path, "%q is reserved: settings under tenantgate. are the proxy's own; choose another prefix, such as app.", name)
	}
}

// check looks at one entry of databases.
func (d *databaseConfig) check(p *problems, at string) {
	d.checkDSN(p, at)
	p.oneOf(at+".pool_mode", d.PoolMode, "session", "transaction")
	if d.PoolSize < 1 {
		p.addf(at+".pool_size", "%d is below 1; a pool needs a backend", d.PoolSize)
	} else if d.MinPoolSize > d.PoolSize {
		p.addf(at+".min_pool_size", "%d is above pool_size, which is %d; lower it or raise pool_size", d.MinPoolSize, d.PoolSize)
	}
	p.atLeast(at+".min_pool_size", d.MinPoolSize, 0)
	for _, claim := range sortedKeys(d.Require) {
		if err := auth.CheckPath(claim); err != nil {
			p.addf(at+".require", "%q %v", claim, err)
		}
	}
}

// dsnKeys are the parameters of a connection string that are understood, for
// the hint at a misspelled one.
var dsnKeys = []string{
	"host", "port", "dbname", "user", "password", "passfile", "connect_timeout", "sslmode", "sslkey", "sslcert",
	"sslcertmode", "sslrootcert", "sslnegotiation", "sslpassword", "sslsni", "target_session_attrs", "service",
	"servicefile", "min_protocol_version", "max_protocol_version", "channel_binding", "require_auth", "krbspn", "krbsrvname",
}

// checkDSN looks at the connection string and reads the password file.
func (d *databaseConfig) checkDSN(p *problems, at string) {
	if d.DSN == "" {
		p.addf(at+".dsn", "no dsn is given; set one such as host=127.0.0.1 dbname=app user=app_user sslmode=verify-full")
		return
	}
	parsed, err := d.DSN.parse()
	if err != nil {
		p.addf(at+".dsn", "%v; write key=value pairs or postgres://user@host:port/dbname?key=value", err)
		return
	}
	for _, name := range sortedKeys(parsed.RuntimeParams) {
		// Also catches sslmod=verify-full, which would otherwise connect without TLS.
		hint := "settings come from the client, or from ALTER ROLE … SET on the server"
		if near := closest(name, dsnKeys); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		p.addf(at+".dsn", "%q is not a parameter of a connection; %s", name, hint)
	}
	if d.PasswordFile == "" {
		return
	}
	if d.DSN.hasPassword(parsed) {
		p.addf(at+".password_file", "the dsn has a password already; remove one of them")
	}
	if d.password, err = readPassword(d.PasswordFile); err != nil {
		p.addf(at+".password_file", "%v", err)
	}
}

// readPassword reads a password file; the line break at its end is not part of
// the password.
func readPassword(file filePath) (string, error) {
	text, err := os.ReadFile(string(file))
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s is empty; write the password into it", file)
	}
	return password, nil
}

// checkLimits looks at the section limits.
func (c *config) checkLimits(p *problems) {
	const at = "limits."
	l := &c.Limits
	p.atLeast(at+"max_client_conn", l.MaxClientConn, 1)
	p.atLeast(at+"max_unauthenticated", l.MaxUnauthenticated, 1)
	p.atLeast(at+"max_login_failures", l.MaxLoginFailures, 0)
	p.atLeast(at+"max_tenant_client_conn", l.MaxTenantClientConn, 0)
	p.atLeast(at+"max_tenant_server_conn", l.MaxTenantServerConn, 0)
	if l.StatementBuffer < 1<<10 || l.StatementBuffer > 1<<30 {
		p.addf(at+"statement_buffer", "%s is outside 1KiB to 1GiB", l.StatementBuffer)
	}
	p.atLeast(at+"max_prepared_statements", l.MaxPrepared, 0)
}

// checkTimeouts looks at the section timeouts. Those without which a peer that
// says nothing would be waited for without end cannot be switched off.
func (c *config) checkTimeouts(p *problems) {
	const at = "timeouts."
	t := &c.Timeouts
	p.positive(at+"client_login_timeout", t.ClientLogin)
	p.notNegative(at+"query_wait_timeout", t.QueryWait)
	p.notNegative(at+"client_idle_timeout", t.ClientIdle)
	p.notNegative(at+"idle_transaction_timeout", t.IdleTransaction)
	p.notNegative(at+"statement_timeout", t.Statement)
	p.notNegative(at+"transaction_timeout", t.Transaction)
	p.positive(at+"server_connect_timeout", t.ServerConnect)
	p.positive(at+"server_reset_timeout", t.ServerReset)
	p.notNegative(at+"server_lifetime", t.ServerLifetime)
	p.notNegative(at+"server_idle_timeout", t.ServerIdle)
	p.positive(at+"cancel_wait_timeout", t.CancelWait)
	p.notNegative(at+"shutdown_timeout", t.Shutdown)
}
