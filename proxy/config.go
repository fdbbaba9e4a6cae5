package proxy

import (
	"log/slog"
	"time"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/session"
)

// Config is everything a Server is built from. cmd fills it from the
// configuration file; every value is already checked and defaulted there.
type Config struct {
	Listen    Listen
	HTTP      string // address of /metrics, /healthz, /readyz; empty: off
	Verifier  *auth.Verifier
	Throttle  *auth.Throttle // failed logins by address; nil: no bound
	OnExpiry  OnExpiry
	Leeway    time.Duration // how long past its expiry a token may still log in
	Context   *session.ContextSpec
	Guard     session.GuardConfig
	Databases map[string]Database // by the dbname that clients ask for; "*": any other
	Limits    Limits
	Timeouts  Timeouts
	Log       *slog.Logger
	Version   string // shown by build_info
}

// Listen says where clients connect.
type Listen struct {
	Address                string // host:port, or a Unix socket directory (absolute path)
	Port                   string // the port that names the socket file in a Unix socket directory
	Loops                  int    // event loops; 0: chosen from the CPUs
	TLS                    TLS
	AllowPlaintextPassword bool // accept tokens without TLS from peers that are not loopback
}

// TLSMode says whether clients may, must or cannot use TLS.
type TLSMode string

// The TLS modes of a listener.
const (
	TLSDisable TLSMode = "disable"
	TLSPrefer  TLSMode = "prefer"
	TLSRequire TLSMode = "require"
)

// TLS is the client side TLS of a listener. The files are read again when they
// change; a set that does not load leaves the previous one in force.
type TLS struct {
	Mode         TLSMode // never empty: cmd resolves the default
	CertFile     string
	KeyFile      string
	ClientCAFile string // set: client certificates are required and verified
}

// OnExpiry says what happens to a session whose token expires.
type OnExpiry string

// The choices of auth.on_expiry.
const (
	ExpiryTerminate OnExpiry = "terminate"
	ExpiryIgnore    OnExpiry = "ignore"
)

// Database is one entry of `databases`.
type Database struct {
	session.DialConfig                   // how a backend is reached and examined
	Require            map[string]string // claims that a token must carry
	Transaction        bool              // pool_mode: a client has a backend for each transaction only
	PoolSize           int
	MinPoolSize        int
}

// Limits are the bounds of `limits`. Zero means no bound where the key says so.
type Limits struct {
	MaxClientConn      int
	MaxUnauthenticated int
	Tenant             Bounds         // of every tenant that has none of its own
	Tenants            []TenantLimits // of those that have; the first that fits counts
	StatementBuffer    int            // bytes
	MaxPrepared        int            // named statements that a backend keeps in transaction mode; 0: they pin
}

// Timeouts are the durations of `timeouts`, but for those that a tenant can have
// of its own; zero means none where the key says so.
type Timeouts struct {
	ClientLogin    time.Duration
	QueryWait      time.Duration
	ClientIdle     time.Duration
	ServerConnect  time.Duration
	ServerReset    time.Duration
	ServerLifetime time.Duration
	ServerIdle     time.Duration
	CancelWait     time.Duration
	Shutdown       time.Duration
}
