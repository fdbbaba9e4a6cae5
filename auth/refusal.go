package auth

import (
	"errors"
	"log/slog"
	"slices"
)

// Reason says why a token was refused. The set is closed, so that it can be a
// metric label; [Reasons] lists it.
type Reason string

// The reasons for which Verify refuses a token.
const (
	ReasonMalformed      Reason = "malformed"        // not a JWT: length, alphabet, parts, JSON syntax, duplicate names
	ReasonHeader         Reason = "header"           // `crit`, `b64` or a `kid` that is not a string
	ReasonAlgorithm      Reason = "algorithm"        // no key is bound to this `alg`; `none` among them
	ReasonUnknownKey     Reason = "unknown_key"      // keys of this `alg`, but none with this `kid`
	ReasonNoKeys         Reason = "no_keys"          // the JWKS that could hold the key was not fetched yet
	ReasonSignature      Reason = "signature"        // no candidate key made this signature
	ReasonExpired        Reason = "expired"          // `exp` has passed
	ReasonNotYetValid    Reason = "not_yet_valid"    // `nbf` is in the future
	ReasonIssuedInFuture Reason = "issued_in_future" // `iat` is in the future
	ReasonLifetime       Reason = "lifetime"         // exp - iat above max_lifetime, or no `iat` to tell
	ReasonIssuer         Reason = "issuer"           // not the required `iss`
	ReasonAudience       Reason = "audience"         // not the required `aud`
	ReasonTenant         Reason = "tenant"           // no tenant, or not of the tenant format
	ReasonClaims         Reason = "claims"           // another claim is missing or of the wrong type
	ReasonRevoked        Reason = "revoked"          // named in the revoked file
)

// allReasons holds every Reason once.
var allReasons = []Reason{
	ReasonMalformed, ReasonHeader, ReasonAlgorithm, ReasonUnknownKey, ReasonNoKeys, ReasonSignature,
	ReasonExpired, ReasonNotYetValid, ReasonIssuedInFuture, ReasonLifetime, ReasonIssuer, ReasonAudience,
	ReasonTenant, ReasonClaims, ReasonRevoked,
}

// Reasons returns the closed set of reasons; the caller owns the slice.
func Reasons() []Reason { return slices.Clone(allReasons) }

// Refusal is the error of Verify. Its text names the reason and nothing else;
// the cause, which errors.Unwrap gives and slog prints, says more to the
// operator but holds no text of the token either.
type Refusal struct {
	Reason Reason
	cause  error
}

// Error returns the reason without its cause.
func (r *Refusal) Error() string { return "token refused: " + string(r.Reason) }

// Unwrap returns the cause, for logs.
func (r *Refusal) Unwrap() error { return r.cause }

// LogValue implements slog.LogValuer: the reason and the cause.
func (r *Refusal) LogValue() slog.Value {
	return slog.GroupValue(slog.String("reason", string(r.Reason)), slog.String("cause", r.cause.Error()))
}

// refuse makes a Refusal; cause is a fixed text or names configuration only.
func refuse(reason Reason, cause string) *Refusal {
	return &Refusal{Reason: reason, cause: errors.New(cause)}
}
