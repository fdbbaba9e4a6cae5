package main

import (
	"log/slog"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/proxy"
	"github.com/tenantgate/tenantgate/session"
)

// defaultSocketPort names the socket file when listen.address is a directory
// without a port: .s.PGSQL.6432.
const defaultSocketPort = "6432"

// socketWithPort is a Unix socket directory followed by a port.
var socketWithPort = regexp.MustCompile(`^(/.*):([0-9]{1,5})$`)

// splitSocket takes a Unix socket directory apart, such as /run/tenantgate or
// /run/tenantgate:6433; ok is false for anything that is not an absolute path.
func splitSocket(address string) (dir, port string, ok bool) {
	if m := socketWithPort.FindStringSubmatch(address); m != nil {
		return m[1], m[2], true
	}
	return address, defaultSocketPort, address != "" && address[0] == '/'
}

// mode resolves an empty mode: require with a certificate, disable without.
func (t tlsConfig) mode() proxy.TLSMode {
	switch {
	case t.Mode != "":
		return proxy.TLSMode(t.Mode)
	case t.CertFile != "":
		return proxy.TLSRequire
	default:
		return proxy.TLSDisable
	}
}

// verifierConfig is the section auth as the verifier takes it.
func (c *config) verifierConfig() auth.Config {
	a := &c.Auth
	v := auth.Config{
		Issuer: a.Issuer, Audience: a.Audience, Leeway: a.Leeway, MaxLifetime: a.MaxLifetime,
		JWKS:        auth.JWKSConfig{URL: string(a.JWKS.URL), File: string(a.JWKS.File), Refresh: a.JWKS.Refresh},
		TenantClaim: a.TenantClaim, TenantFormat: a.TenantFormat, UserClaim: a.UserClaim, RevokedFile: string(a.RevokedFile),
	}
	for _, k := range a.Keys {
		v.Keys = append(v.Keys, auth.KeyConfig{
			Algorithm: k.Algorithm, KeyID: k.KeyID,
			SecretFile: string(k.SecretFile), Secret: k.Secret, PublicKeyFile: string(k.PublicKeyFile),
		})
	}
	return v
}

// serverConfig is everything that the server takes, from a checked config.
func (c *config) serverConfig(verifier *auth.Verifier, log *slog.Logger) proxy.Config {
	l, t := &c.Limits, &c.Timeouts
	s := proxy.Config{
		Listen:    c.Listen.server(),
		HTTP:      c.HTTP.Address,
		Verifier:  verifier,
		Throttle:  auth.NewThrottle(l.MaxLoginFailures),
		OnExpiry:  proxy.OnExpiry(c.Auth.OnExpiry),
		Context:   c.Context.spec(),
		Leeway:    c.Auth.Leeway,
		Guard:     c.Context.guard(),
		Databases: make(map[string]proxy.Database, len(c.Databases)),
		Limits: proxy.Limits{
			MaxClientConn: l.MaxClientConn, MaxUnauthenticated: l.MaxUnauthenticated,
			Tenant: c.bounds(&tenantLimits{}), Tenants: c.tenantLimits(), StatementBuffer: int(l.StatementBuffer), MaxPrepared: l.MaxPrepared,
		},
		Timeouts: proxy.Timeouts{
			ClientLogin: t.ClientLogin, QueryWait: t.QueryWait, ClientIdle: t.ClientIdle,
			ServerConnect: t.ServerConnect, ServerReset: t.ServerReset, ServerLifetime: t.ServerLifetime,
			ServerIdle: t.ServerIdle, CancelWait: t.CancelWait, Shutdown: t.Shutdown,
		},
		Log:     log,
		Version: version,
	}
	for name, db := range c.Databases {
		s.Databases[name] = db.server(t.ServerConnect, c.Context.Seal.key)
	}
	return s
}

// tenantLimits are the entries of limits.tenants.
func (c *config) tenantLimits() []proxy.TenantLimits {
	var all []proxy.TenantLimits
	for i := range c.Limits.Tenants {
		e := &c.Limits.Tenants[i]
		all = append(all, proxy.TenantLimits{Tenant: e.Tenant, Claim: e.Claim, Equals: or(e.Equals, ""), Bounds: c.bounds(e)})
	}
	return all
}

// bounds are the limits of an entry, with the general value for what it leaves out.
func (c *config) bounds(e *tenantLimits) proxy.Bounds {
	l, t := &c.Limits, &c.Timeouts
	return proxy.Bounds{
		MaxClientConn:   or(e.MaxClientConn, l.MaxTenantClientConn),
		MaxServerConn:   or(e.MaxServerConn, l.MaxTenantServerConn),
		Statement:       or(e.Statement, t.Statement),
		Transaction:     or(e.Transaction, t.Transaction),
		IdleTransaction: or(e.IdleTransaction, t.IdleTransaction),
	}
}

// or is what p points to, or other when that is nothing.
func or[T any](p *T, other T) T {
	if p == nil {
		return other
	}
	return *p
}

// server is the listener as the server takes it.
func (l *listenConfig) server() proxy.Listen {
	address, port, ok := splitSocket(l.Address)
	if !ok {
		_, port, _ = net.SplitHostPort(l.Address)
	}
	return proxy.Listen{
		Address: address, Port: port, Loops: l.Loops,
		TLS: proxy.TLS{
			Mode: l.TLS.mode(), CertFile: string(l.TLS.CertFile),
			KeyFile: string(l.TLS.KeyFile), ClientCAFile: string(l.TLS.ClientCAFile),
		},
		AllowPlaintextPassword: l.AllowPlaintextPassword,
	}
}

// spec is the context that is entered on every lease.
func (x *contextConfig) spec() *session.ContextSpec {
	spec := &session.ContextSpec{TenantSetting: x.TenantSetting}
	for _, name := range sortedKeys(x.Settings) {
		s := x.Settings[name]
		setting := session.Setting{Name: name, Claim: s.Claim, Default: s.Default}
		if s.Equals != nil {
			setting.Equals, setting.HasEquals = *s.Equals, true
		}
		spec.Settings = append(spec.Settings, setting)
	}
	return spec
}

// guard is the guard's mode by family. Where a database is not sealed whole
// nothing but the guard stands before hidden SQL, so auto means enforce there.
func (x *contextConfig) guard() session.GuardConfig {
	hidden, sealed := x.Guard.HiddenSQL, x.Guard.HiddenSQL
	if hidden == "auto" {
		hidden, sealed = "enforce", "off"
	}
	g := session.GuardConfig{
		Context:      session.GuardMode(x.Guard.Context),
		HiddenSQL:    session.GuardMode(hidden),
		SharedRole:   session.GuardMode(x.Guard.SharedRole),
		Channels:     session.GuardMode(x.Guard.Channels),
		HiddenSealed: session.GuardMode(sealed),
		Reserved:     []string{strings.ToLower(x.TenantSetting)},
	}
	for _, name := range sortedKeys(x.Settings) {
		g.Reserved = append(g.Reserved, strings.ToLower(name))
	}
	return g
}

// server is the database as the server takes it.
func (d *databaseConfig) server(connectTimeout time.Duration, seal session.SealKey) proxy.Database {
	return proxy.Database{
		DialConfig: session.DialConfig{
			DSN: string(d.DSN), Password: d.password,
			ConnectTimeout: connectTimeout, AllowUnsafeRole: d.AllowUnsafeRole, Seal: seal,
		},
		Require:     d.Require,
		Transaction: d.PoolMode == "transaction", PoolSize: d.PoolSize, MinPoolSize: d.MinPoolSize,
	}
}
