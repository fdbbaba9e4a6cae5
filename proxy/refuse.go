package proxy

import (
	"log/slog"
	"strconv"
	"strings"

	"github.com/tenantgate/tenantgate/session"
	"github.com/tenantgate/tenantgate/wire"
)

// reason says why a client was refused or its session ended: a closed set. It
// is the label of tenantgate_logins_total and tenantgate_sessions_total, and
// this file alone says what a client is told about it.
type reason string

// Ends of a session or login.
const (
	endClient       reason = "client"              // the client said goodbye
	endClientGone   reason = "client_gone"         // the client closed or lost the connection
	endToken        reason = "token"               // the token was refused
	endThrottled    reason = "throttled"           // too many failed logins from the address
	endNoTLS        reason = "tls_required"        // a token would have crossed the network in clear text
	endTLS          reason = "tls_handshake"       // the TLS handshake failed
	endProtocol     reason = "protocol"            // the client broke the protocol
	endParameter    reason = "parameter"           // a startup parameter was refused
	endDatabase     reason = "database"            // no such database, or not for this token
	endTooMany      reason = "too_many"            // max_client_conn
	endTenantMany   reason = "tenant_too_many"     // max_tenant_client_conn
	endLoginTimeout reason = "login_timeout"       // client_login_timeout
	endWait         reason = "wait_timeout"        // query_wait_timeout
	endTenantWait   reason = "tenant_wait_timeout" // the same, and the tenant had max_tenant_server_conn backends
	endServer       reason = "server"              // no backend could be had
	endServerGone   reason = "server_gone"         // the backend went away
	endEnter        reason = "enter"               // PostgreSQL refused the context or a startup parameter
	endDesync       reason = "desync"              // the backend answered out of turn
	endExpired      reason = "token_expired"       // the token's time is over
	endRevoked      reason = "token_revoked"       // the token was revoked
	endIdle         reason = "client_idle"         // client_idle_timeout
	endIdleTx       reason = "idle_in_transaction"
	endTransaction  reason = "transaction_timeout"
	endGuard        reason = "guard"    // a long statement was refused half way
	endEncoding     reason = "encoding" // client_encoding became an unsafe one
	endDrain        reason = "drain"    // the proxy is shutting down
	endInternal     reason = "internal" // a fault of the proxy's own
	endSuccess      reason = "success"  // of logins only
)

// loginResults are how a login can end, sessionEnds how a session can.
var (
	loginResults = []reason{
		endSuccess, endToken, endThrottled, endNoTLS, endTLS, endProtocol, endParameter, endDatabase, endTooMany, endTenantMany, endLoginTimeout,
		endWait, endTenantWait, endServer, endServerGone, endEnter, endDesync, endEncoding, endExpired, endRevoked, endDrain, endInternal, endClientGone,
	}
	sessionEnds = []reason{
		endClient, endClientGone, endProtocol, endServerGone, endEnter, endDesync, endExpired, endRevoked, endIdle, endIdleTx,
		endTransaction, endGuard, endEncoding, endDrain, endInternal,
		endWait, endTenantWait, endServer, // for the next transaction
	}
)

// answer is what a client is told.
type answer struct {
	code  string
	text  string
	hint  string
	level slog.Level
}

// told has every reason for which a client is told something.
var told = map[reason]answer{
	endToken:        {code: "28P01", text: "password authentication failed for user %q", level: slog.LevelWarn},
	endThrottled:    {code: "28P01", text: "password authentication failed for user %q", level: slog.LevelWarn},
	endNoTLS:        {code: "28000", text: "a TLS connection is required", hint: "Connect with sslmode=verify-full (or require).", level: slog.LevelWarn},
	endProtocol:     {code: "08P01", text: "protocol violation", level: slog.LevelWarn},
	endParameter:    {code: "42501", text: "startup parameter refused", level: slog.LevelWarn},
	endDatabase:     {code: "3D000", text: "database %q does not exist", level: slog.LevelWarn},
	endTooMany:      {code: "53300", text: "sorry, too many clients already", level: slog.LevelWarn},
	endTenantMany:   {code: "53300", text: "sorry, too many clients of this tenant already", level: slog.LevelWarn},
	endLoginTimeout: {code: "08P01", text: "login took too long", level: slog.LevelInfo},
	endWait:         {code: "53300", text: "no backend became free within query_wait_timeout", level: slog.LevelWarn},
	endTenantWait:   {code: "53300", text: "no backend of this tenant became free within query_wait_timeout", level: slog.LevelWarn},
	endServer:       {code: "08006", text: "the database cannot be reached", level: slog.LevelError},
	endServerGone:   {code: "08006", text: "the backend closed the connection", level: slog.LevelWarn},
	endEnter:        {code: "08006", text: "the session context could not be entered", level: slog.LevelError},
	endDesync:       {code: "08P01", text: "the backend broke the protocol", level: slog.LevelError},
	endExpired:      {code: "57P01", text: "terminating connection because its token has expired", level: slog.LevelInfo},
	endRevoked:      {code: "57P01", text: "terminating connection because its token was revoked", level: slog.LevelWarn},
	endIdle:         {code: "57P05", text: "terminating connection due to client_idle_timeout", level: slog.LevelInfo},
	endIdleTx:       {code: "25P03", text: "terminating connection due to idle_transaction_timeout", level: slog.LevelInfo},
	endTransaction:  {code: "25P04", text: "terminating connection due to transaction_timeout", level: slog.LevelInfo},
	endGuard:        {code: "42501", text: "statement refused", level: slog.LevelWarn},
	endEncoding:     {code: "22023", text: "client_encoding is not supported through tenantgate", hint: "Use UTF8.", level: slog.LevelWarn},
	endDrain:        {code: "57P01", text: "terminating connection because tenantgate is shutting down", level: slog.LevelInfo},
	endInternal:     {code: "XX000", text: "internal error", level: slog.LevelError},
}

// refusal is one client turned away: the reason and what this client is told
// beyond the reason's own text.
type refusal struct {
	reason reason
	cause  error  // for the log alone
	about  string // fills the text's %q
	code   string // not empty: instead of the reason's own
	text   string // not empty: instead of the reason's own
	quiet  bool   // the client was told already
}

func (r *refusal) Error() string { return string(r.reason) }
func (r *refusal) Unwrap() error { return r.cause }

// message is the whole FATAL ErrorResponse; nil when nothing is said.
func (r *refusal) message() []byte {
	a, ok := told[r.reason]
	if !ok || r.quiet {
		return nil
	}
	code, text := a.code, a.text
	if r.about != "" {
		text = strings.Replace(text, "%q", strconv.Quote(r.about), 1) // not every text names it
	}
	if r.code != "" {
		code = r.code
	}
	if r.text != "" {
		text = r.text
	}
	return wire.AppendError(nil, "FATAL", code, text, a.hint)
}

// level is how loud the refusal is in the log.
func (r *refusal) level() slog.Level { return r.reason.level() }

// level is how loud the end of a login or session for this reason is in the log.
func (r reason) level() slog.Level {
	if a, ok := told[r]; ok {
		return a.level
	}
	return slog.LevelInfo
}

// refuseStatement is the ERROR that a refused statement is answered with.
func refuseStatement(d session.Denial) []byte {
	switch {
	case d.Changed: // PostgreSQL's own words
		return wire.AppendRoutineError(nil, "0A000", "cached plan must not change result type", "RevalidateCachedQuery")
	case d.Canceled: // likewise
		return wire.AppendRoutineError(nil, "57014", "canceling statement due to user request", "ProcessInterrupts")
	case d.Fastpath:
		return wire.AppendError(nil, "ERROR", "0A000", "function calls by the fastpath protocol are not supported through tenantgate",
			"Call the function in a SELECT.")
	}
	return wire.AppendError(nil, "ERROR", "42501", d.Rule.Message()+" (rule "+string(d.Rule)+")", d.Rule.Hint())
}

// waitReasons turns why the pool gave no backend into what the client is told.
var waitReasons = map[session.Reason]reason{
	session.ReasonWaitTimeout: endWait,
	session.ReasonTenantLimit: endTenantWait,
	session.ReasonUnreachable: endServer,
	session.ReasonUnsafeRole:  endServer,
	session.ReasonRetired:     endDatabase,
}
