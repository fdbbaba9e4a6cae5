package session

// Reason says why a lease, a wait or a backend ended: a closed set. The proxy
// alone turns it into what a client, a log or a metric says.
type Reason string

// The reasons.
const (
	ReasonNoIdentity   Reason = "no_identity"            // nobody verified asked
	ReasonWaitTimeout  Reason = "query_wait_timeout"     // no backend became free in time
	ReasonTenantLimit  Reason = "max_tenant_server_conn" // the same, and the tenant had as many as it may
	ReasonUnreachable  Reason = "server_unreachable"     // a backend could not be opened
	ReasonUnsafeRole   Reason = "unsafe_role"            // row security does not bind the backend role
	ReasonRetired      Reason = "retired"                // the database is no longer configured
	ReasonLifetime     Reason = "server_lifetime"        // the backend was old
	ReasonIdle         Reason = "server_idle_timeout"    // the backend was not needed
	ReasonPoolSize     Reason = "pool_size"              // the pool was made smaller
	ReasonServerGone   Reason = "server_gone"            // the backend closed the connection
	ReasonDesync       Reason = "desync"                 // the backend answered out of turn
	ReasonUnclean      Reason = "unclean"                // the client left it owing answers, in a transaction or half way
	ReasonEnter        Reason = "enter_failed"           // the context was not confirmed
	ReasonReset        Reason = "reset_failed"           // the reset was not proven
	ReasonResetTimeout Reason = "server_reset_timeout"
	ReasonKept         Reason = "seal_kept"    // the client could read a seal that is good on it
	ReasonRefused      Reason = "refused_late" // a long statement was refused half way
	ReasonShutdown     Reason = "shutdown"
)

// DiscardReasons are the reasons for which a backend is closed.
var DiscardReasons = []Reason{
	ReasonLifetime, ReasonIdle, ReasonPoolSize, ReasonServerGone, ReasonDesync, ReasonUnclean,
	ReasonEnter, ReasonReset, ReasonResetTimeout, ReasonKept, ReasonRefused, ReasonShutdown,
}
