package main

import (
	"time"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/session"
)

// config is the configuration file. Its keys, their defaults and one comment
// each stand in config.example.yaml; load is the only way to a checked one.
type config struct {
	Listen    listenConfig              `yaml:"listen"`
	HTTP      httpConfig                `yaml:"http"`
	Auth      authConfig                `yaml:"auth"`
	Context   contextConfig             `yaml:"context"`
	Databases map[string]databaseConfig `yaml:"databases"`
	Limits    limitsConfig              `yaml:"limits"`
	Timeouts  timeoutsConfig            `yaml:"timeouts"`
	Log       logConfig                 `yaml:"log"`
}

// listenConfig says where clients connect. Address is host:port or a Unix
// socket directory, with an optional :port that names the socket file.
type listenConfig struct {
	Address                string    `yaml:"address"`
	Loops                  int       `yaml:"loops"`
	TLS                    tlsConfig `yaml:"tls"`
	AllowPlaintextPassword bool      `yaml:"allow_plaintext_password"`
}

// tlsConfig is the TLS of the listener.
type tlsConfig struct {
	Mode         string   `yaml:"mode"`
	CertFile     filePath `yaml:"cert_file"`
	KeyFile      filePath `yaml:"key_file"`
	ClientCAFile filePath `yaml:"client_ca_file"`
}

// httpConfig is the listener for metrics and health.
type httpConfig struct {
	Address string `yaml:"address"`
}

// authConfig says which tokens are accepted and what they mean.
type authConfig struct {
	Issuer       string        `yaml:"issuer"`
	Audience     string        `yaml:"audience"`
	Leeway       time.Duration `yaml:"leeway"`
	MaxLifetime  time.Duration `yaml:"max_lifetime"`
	Keys         []keyConfig   `yaml:"keys"`
	JWKS         jwksConfig    `yaml:"jwks"`
	TenantClaim  string        `yaml:"tenant_claim"`
	TenantFormat string        `yaml:"tenant_format"`
	UserClaim    string        `yaml:"user_claim"`
	RevokedFile  filePath      `yaml:"revoked_file"`
	OnExpiry     string        `yaml:"on_expiry"`
}

// keyConfig is one static key, bound to one algorithm.
type keyConfig struct {
	Algorithm     string      `yaml:"algorithm"`
	KeyID         string      `yaml:"key_id"`
	SecretFile    filePath    `yaml:"secret_file"`
	Secret        auth.Secret `yaml:"secret"`
	PublicKeyFile filePath    `yaml:"public_key_file"`
}

// jwksConfig is a key set that the issuer publishes.
type jwksConfig struct {
	URL     urlText       `yaml:"url"`
	File    filePath      `yaml:"file"`
	Refresh time.Duration `yaml:"refresh"`
}

// contextConfig is what is entered on a backend, and how it is guarded.
type contextConfig struct {
	TenantSetting string                   `yaml:"tenant_setting"`
	Settings      map[string]settingConfig `yaml:"settings"`
	Guard         guardConfig              `yaml:"guard"`
	Seal          sealConfig               `yaml:"seal"`
}

// settingConfig derives one further setting from a claim.
type settingConfig struct {
	Claim   string  `yaml:"claim"`
	Equals  *string `yaml:"equals,omitempty"` // nil: the claim's own text
	Default string  `yaml:"default"`
}

// guardConfig holds the mode of every family of guard rules.
type guardConfig struct {
	Context    string `yaml:"context"`
	HiddenSQL  string `yaml:"hidden_sql"`
	SharedRole string `yaml:"shared_role"`
	Channels   string `yaml:"channels"`
}

// sealConfig names the key that seals the context.
type sealConfig struct {
	KeyID   string   `yaml:"key_id"`
	KeyFile filePath `yaml:"key_file"`

	key session.SealKey // what key_file holds; check reads it
}

// databaseConfig is one database that clients may ask for.
type databaseConfig struct {
	DSN             dsnText           `yaml:"dsn"`
	PasswordFile    filePath          `yaml:"password_file"`
	Require         map[string]string `yaml:"require"`
	AllowUnsafeRole bool              `yaml:"allow_unsafe_role"`
	PoolMode        string            `yaml:"pool_mode"`
	PoolSize        int               `yaml:"pool_size"`
	MinPoolSize     int               `yaml:"min_pool_size"`

	password string // what password_file holds; check reads it
}

// limitsConfig bounds what clients may use; 0 means no bound for
// max_login_failures and the tenant limits only.
type limitsConfig struct {
	MaxClientConn       int            `yaml:"max_client_conn"`
	MaxUnauthenticated  int            `yaml:"max_unauthenticated"`
	MaxLoginFailures    int            `yaml:"max_login_failures"`
	MaxTenantClientConn int            `yaml:"max_tenant_client_conn"`
	MaxTenantServerConn int            `yaml:"max_tenant_server_conn"`
	Tenants             []tenantLimits `yaml:"tenants"`
	StatementBuffer     size           `yaml:"statement_buffer"`
	MaxPrepared         int            `yaml:"max_prepared_statements"`
}

// tenantLimits is what holds for some tenants in the place of the general
// limits: for the one that is named, or for those whose token has a claim of
// that text. A nil limit is the general one.
type tenantLimits struct {
	Tenant          string         `yaml:"tenant,omitempty"`
	Claim           string         `yaml:"claim,omitempty"`
	Equals          *string        `yaml:"equals,omitempty"`
	MaxClientConn   *int           `yaml:"max_tenant_client_conn,omitempty"`
	MaxServerConn   *int           `yaml:"max_tenant_server_conn,omitempty"`
	Statement       *time.Duration `yaml:"statement_timeout,omitempty"`
	Transaction     *time.Duration `yaml:"transaction_timeout,omitempty"`
	IdleTransaction *time.Duration `yaml:"idle_transaction_timeout,omitempty"`
}

// timeoutsConfig carries PgBouncer's names where the meaning is PgBouncer's.
type timeoutsConfig struct {
	ClientLogin     time.Duration `yaml:"client_login_timeout"`
	QueryWait       time.Duration `yaml:"query_wait_timeout"`
	ClientIdle      time.Duration `yaml:"client_idle_timeout"`
	IdleTransaction time.Duration `yaml:"idle_transaction_timeout"`
	Statement       time.Duration `yaml:"statement_timeout"`
	Transaction     time.Duration `yaml:"transaction_timeout"`
	ServerConnect   time.Duration `yaml:"server_connect_timeout"`
	ServerReset     time.Duration `yaml:"server_reset_timeout"`
	ServerLifetime  time.Duration `yaml:"server_lifetime"`
	ServerIdle      time.Duration `yaml:"server_idle_timeout"`
	CancelWait      time.Duration `yaml:"cancel_wait_timeout"`
	Shutdown        time.Duration `yaml:"shutdown_timeout"`
}

// logConfig says what is logged to standard error, and how.
type logConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}
