package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config is the `auth` part of the configuration that concerns tokens. The zero
// value of every field but the keys is usable.
type Config struct {
	Issuer       string        // required `iss`; "": not looked at
	Audience     string        // required `aud`, or one of them; "": not looked at
	Leeway       time.Duration // clock skew allowed on exp, nbf and iat
	MaxLifetime  time.Duration // longest exp - iat; 0: no bound
	Keys         []KeyConfig   // static keys
	JWKS         JWKSConfig
	TenantClaim  string // claim path; "": tenant_id
	TenantFormat string // uuid, text or a regular expression; "": uuid
	UserClaim    string // claim path; "": the startup user is free
	RevokedFile  string // "": nothing is revoked
}

// KeyConfig is one static key. It is bound to its algorithm: a token with
// another `alg` never meets it. HS* takes one of Secret and SecretFile, the
// others take PublicKeyFile.
type KeyConfig struct {
	Algorithm     string
	KeyID         string // "": the key answers to every `kid`
	SecretFile    string // one trailing newline is not part of the secret
	Secret        Secret
	PublicKeyFile string // PEM: public key or certificate
}

// JWKSConfig names a JSON Web Key Set (RFC 7517 §5) by URL or by file.
type JWKSConfig struct {
	URL     string
	File    string
	Refresh time.Duration // of the URL; 0: five minutes
}

// defaultRefresh is how often a JWKS URL is fetched when nothing else is said.
const defaultRefresh = 5 * time.Minute

// defaultTenantClaim is where the tenant stands when nothing else is said.
const defaultTenantClaim = "tenant_id"

// New checks the whole configuration and loads the key files, the JWKS file and
// the revoked file. It returns every problem at once, joined, each beginning
// with its key path (`auth.keys[1].public_key_file: …`) and saying the way out.
// It does not touch the network: [Verifier.Run] fetches a JWKS URL, and until
// that succeeded the tokens that need it are refused with [ReasonNoKeys]. A nil
// log discards.
func New(cfg Config, log *slog.Logger) (*Verifier, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{log: log, leeway: cfg.Leeway, maxLifetime: cfg.MaxLifetime, cache: newCache(maxCachedTokens)}
	v.issuer, v.checks = cfg.Issuer != "", claimChecks(cfg)
	var problems []error
	report := func(path string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("auth.%s: %w", path, err))
		}
	}
	if cfg.Leeway < 0 {
		report("leeway", errors.New("is negative; use 0s or more, e.g. 30s"))
	}
	if cfg.MaxLifetime < 0 {
		report("max_lifetime", errors.New("is negative; use 0s for no bound, or e.g. 24h"))
	}
	for i, entry := range cfg.Keys {
		k, err := staticKey(entry)
		if err != nil {
			problems = append(problems, fmt.Errorf("auth.keys[%d].%w", i, err))
		}
		v.static = append(v.static, k)
	}
	if len(cfg.Keys) == 0 && cfg.JWKS.URL == "" && cfg.JWKS.File == "" {
		report("keys", errors.New("there is no key to verify tokens with; add one, or set auth.jwks.url or auth.jwks.file"))
	}
	path := cfg.TenantClaim
	if path == "" {
		path = defaultTenantClaim
	}
	report("tenant_claim", CheckPath(path))
	rule, err := newTenantRule(path, cfg.TenantFormat)
	report("tenant_format", err)
	v.tenant = rule
	if cfg.UserClaim != "" {
		report("user_claim", CheckPath(cfg.UserClaim))
		v.userClaim = cfg.UserClaim
	}
	v.ring.Store(&keyring{keys: v.static})
	problems = append(problems, v.openJWKS(cfg.JWKS)...)
	if err == nil { // without a tenant rule the tenants of the file cannot be judged
		report("revoked_file", v.openRevoked(cfg.RevokedFile))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return v, nil
}

// openRevoked loads the revoked file, if there is one.
func (v *Verifier) openRevoked(path string) error {
	if path == "" {
		return nil
	}
	v.revokedFile = &watched{path: path, limit: maxRevokedFile}
	content, err := v.revokedFile.load()
	if err != nil {
		return fmt.Errorf("%w; create it, an empty file revokes nothing", err)
	}
	if err := v.revoke(content); err != nil {
		return fmt.Errorf("%s: %w; write one jti=…, sub=… or tenant=… a line", path, err)
	}
	return nil
}
