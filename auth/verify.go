package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxToken bounds a token's length in bytes.
const maxToken = 64 << 10

// Verifier verifies tokens. [New] makes it, [Verifier.Run] keeps its keys and
// revocations fresh; all methods are safe for concurrent use.
type Verifier struct {
	log         *slog.Logger
	leeway      time.Duration
	maxLifetime time.Duration
	tenant      tenantRule
	userClaim   string
	issuer      bool               // an issuer is required
	checks      []jwt.ParserOption // issuer, audience and times, but not the time itself
	static      []key
	ring        atomic.Pointer[keyring]
	cache       *cache
	jwks        *jwks // nil: no JWKS is configured

	revokedFile *watched // nil: no revoked file is configured
	revoked     atomic.Pointer[revocations]
	revision    atomic.Uint64
}

// claimChecks are the checks that golang-jwt makes on claims whose types have
// been found right.
func claimChecks(cfg Config) []jwt.ParserOption {
	checks := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(cfg.Leeway)}
	if cfg.Issuer != "" {
		checks = append(checks, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		checks = append(checks, jwt.WithAudience(cfg.Audience))
	}
	return checks
}

// Run refreshes the JWKS and watches the JWKS file and the revoked file until
// ctx ends; then it returns with nothing left behind. Call it once.
func (v *Verifier) Run(ctx context.Context) {
	var running sync.WaitGroup
	if v.jwks != nil {
		running.Go(func() { v.refreshJWKS(ctx) })
	}
	if v.revokedFile != nil {
		running.Go(func() { v.watchRevocations(ctx) })
	}
	running.Wait()
}

// Verify says whose token this is at the time now. Every error is a *[Refusal],
// and with it the Identity is the zero one. It never waits for the network.
func (v *Verifier) Verify(now time.Time, token string) (Identity, error) {
	if !plausible(token) {
		return Identity{}, refuse(ReasonMalformed, "not of a token's length or alphabet")
	}
	sum, ring := sumOf(token), v.ring.Load()
	if verified := v.cache.get(sum, ring.generation); verified != nil {
		return v.again(now, sum, verified)
	}
	verified, refusal := v.verify(now, ring, token)
	if refusal != nil {
		return Identity{}, refusal
	}
	id := Identity{claims: verified}
	if v.Revoked(id) {
		return Identity{}, refuse(ReasonRevoked, "named in auth.revoked_file")
	}
	v.cache.put(sum, len(token), ring.generation, verified)
	return id, nil
}

// Recall is Verify for a token that was verified before and is remembered, which
// takes a microsecond. known is false when Verify has to look at it, which may
// take a hundred. It makes no copy of token.
func (v *Verifier) Recall(now time.Time, token []byte) (id Identity, known bool, err error) {
	sum := tokenSum(sha256.Sum256(token))
	verified := v.cache.get(sum, v.ring.Load().generation)
	if verified == nil {
		return Identity{}, false, nil
	}
	id, err = v.again(now, sum, verified)
	return id, true, err
}

// again judges a remembered token by what may have changed since.
func (v *Verifier) again(now time.Time, sum tokenSum, verified *claims) (Identity, error) {
	if reason := v.outdated(now, verified); reason != "" {
		v.cache.drop(sum)
		return Identity{}, refuse(reason, "a cached token is not valid at this time")
	}
	id := Identity{claims: verified}
	if v.Revoked(id) {
		v.cache.drop(sum)
		return Identity{}, refuse(ReasonRevoked, "named in auth.revoked_file")
	}
	return id, nil
}

// plausible reports whether a token has an acceptable length and consists of
// base64url and dots alone. The decoder would skip line breaks, and then two
// texts would be one token.
func plausible(token string) bool {
	if token == "" || len(token) > maxToken {
		return false
	}
	for i := range len(token) {
		switch c := token[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// header is what Verify reads of the JOSE header (RFC 7515 §4). Everything that
// could name or carry a key (`jku`, `jwk`, `x5u`, `x5c`) is ignored.
type header struct {
	alg string
	kid string // "": none
}

// parseHeader decodes and checks the first part of a token.
func parseHeader(part string) (header, *Refusal) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return header{}, refuse(ReasonMalformed, "the header is not base64url")
	}
	if err := checkJSON(data); err != nil {
		return header{}, &Refusal{ReasonMalformed, err}
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return header{}, refuse(ReasonMalformed, "the header is not JSON")
	}
	for _, name := range [...]string{"crit", "b64"} {
		if _, present := fields[name]; present {
			return header{}, refuse(ReasonHeader, "the header has "+name)
		}
	}
	var h header
	var ok bool
	if h.alg, ok = fields["alg"].(string); !ok {
		return header{}, refuse(ReasonAlgorithm, "the header has no alg")
	}
	if kid, present := fields["kid"]; present {
		if h.kid, ok = kid.(string); !ok {
			return header{}, refuse(ReasonHeader, "kid is not a string")
		}
	}
	return h, nil
}

// verify does the whole work for a token that is not cached.
func (v *Verifier) verify(now time.Time, ring *keyring, token string) (*claims, *Refusal) {
	first, rest, _ := strings.Cut(token, ".")
	payload, _, ok := strings.Cut(rest, ".")
	if !ok || strings.Count(rest, ".") != 1 {
		return nil, refuse(ReasonMalformed, "not three parts")
	}
	head, refusal := parseHeader(first)
	if refusal != nil {
		return nil, refusal
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil {
		return nil, refuse(ReasonMalformed, "the payload is not base64url")
	}
	switch err := checkJSON(data); {
	case errors.Is(err, errText):
		return nil, &Refusal{ReasonClaims, err}
	case err != nil:
		return nil, &Refusal{ReasonMalformed, err}
	}
	a := algorithmNamed(head.alg)
	if a == nil {
		return nil, refuse(ReasonAlgorithm, "alg is not a supported algorithm")
	}
	values, refusal := v.checkSignature(ring, a, head.kid, token)
	if refusal != nil {
		v.missed(ring, a, head.kid)
		return nil, refusal
	}
	return v.checkClaims(now, values)
}

// checkSignature verifies the token with the keys bound to its algorithm and
// returns its claims.
func (v *Verifier) checkSignature(ring *keyring, a *algorithm, kid, token string) (jwt.MapClaims, *Refusal) {
	candidates := ring.candidates(a, kid)
	if len(candidates) == 0 {
		switch {
		case ring.awaitsKeys(v.jwks, a):
			return nil, refuse(ReasonNoKeys, "auth.jwks.url was not fetched yet")
		case !ring.uses(a):
			return nil, refuse(ReasonAlgorithm, "no key is bound to "+a.name)
		}
		return nil, refuse(ReasonUnknownKey, "no "+a.name+" key has the token's kid")
	}
	parsed, err := a.parser.ParseWithClaims(token, jwt.MapClaims{}, func(*jwt.Token) (any, error) {
		return jwt.VerificationKeySet{Keys: candidates}, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return nil, refuse(ReasonMalformed, "the signature is not base64url")
	case err != nil:
		return nil, refuse(ReasonSignature, "no "+a.name+" key verifies the signature")
	}
	values, ok := parsed.Claims.(jwt.MapClaims)
	if !ok || !parsed.Valid {
		return nil, refuse(ReasonSignature, "the token is not valid")
	}
	return values, nil
}

// checkClaims judges the claims of a token whose signature is good.
func (v *Verifier) checkClaims(now time.Time, values jwt.MapClaims) (*claims, *Refusal) {
	c := &claims{values: values}
	for _, d := range [...]struct {
		name string
		into *time.Time
	}{{"exp", &c.exp}, {"nbf", &c.nbf}, {"iat", &c.iat}} {
		var ok bool
		if *d.into, ok = date(values, d.name); !ok {
			return nil, refuse(ReasonClaims, d.name+" is not a date in seconds")
		}
	}
	if c.exp.IsZero() {
		return nil, refuse(ReasonClaims, "exp is missing")
	}
	c.end = c.exp.Add(v.leeway)
	checks := append(v.checks[:len(v.checks):len(v.checks)], jwt.WithTimeFunc(func() time.Time { return now }))
	if err := jwt.NewValidator(checks...).Validate(values); err != nil {
		return nil, v.claimRefusal(err, values)
	}
	if v.maxLifetime > 0 {
		switch {
		case c.iat.IsZero():
			return nil, refuse(ReasonLifetime, "iat is missing, which auth.max_lifetime needs")
		case c.exp.Sub(c.iat) > v.maxLifetime:
			return nil, refuse(ReasonLifetime, "exp - iat is above auth.max_lifetime")
		}
	}
	if refusal := v.identify(c); refusal != nil {
		return nil, refusal
	}
	return c, nil
}

// identify fills in whom the claims speak of.
func (v *Verifier) identify(c *claims) *Refusal {
	var ok bool
	if c.subject, ok = optionalText(c.values, "sub"); !ok {
		return refuse(ReasonClaims, "sub is not a string")
	}
	if c.tokenID, ok = optionalText(c.values, "jti"); !ok {
		return refuse(ReasonClaims, "jti is not a string")
	}
	if v.userClaim != "" {
		value, _ := lookup(c.values, v.userClaim)
		if c.user, ok = value.(string); !ok || c.user == "" {
			return refuse(ReasonClaims, "the claim of auth.user_claim is missing or not a string")
		}
		c.bound = true
	}
	var err error
	if c.tenant, err = v.tenant.from(c.values); err != nil {
		return &Refusal{ReasonTenant, err}
	}
	return nil
}

// claimRefusal turns golang-jwt's judgement into a Refusal.
func (v *Verifier) claimRefusal(err error, values jwt.MapClaims) *Refusal {
	for _, known := range [...]struct {
		err    error
		reason Reason
		cause  string
	}{
		{jwt.ErrTokenExpired, ReasonExpired, "exp has passed"},
		{jwt.ErrTokenNotValidYet, ReasonNotYetValid, "nbf is in the future"},
		{jwt.ErrTokenUsedBeforeIssued, ReasonIssuedInFuture, "iat is in the future"},
		{jwt.ErrTokenInvalidIssuer, ReasonIssuer, "iss is not auth.issuer"},
		{jwt.ErrTokenInvalidAudience, ReasonAudience, "aud does not hold auth.audience"},
	} {
		if errors.Is(err, known.err) {
			return refuse(known.reason, known.cause)
		}
	}
	// What is left is a required claim that is absent or of the wrong type.
	if iss, err := values.GetIssuer(); v.issuer && (err != nil || iss == "") {
		return refuse(ReasonIssuer, "iss is missing or not a string")
	}
	return refuse(ReasonAudience, "aud is missing, or neither a string nor an array of strings")
}

// outdated repeats the time checks of golang-jwt for a cached token.
func (v *Verifier) outdated(now time.Time, c *claims) Reason {
	switch {
	case !now.Before(c.end):
		return ReasonExpired
	case !c.nbf.IsZero() && now.Before(c.nbf.Add(-v.leeway)):
		return ReasonNotYetValid
	case !c.iat.IsZero() && now.Before(c.iat.Add(-v.leeway)):
		return ReasonIssuedInFuture
	}
	return ""
}
