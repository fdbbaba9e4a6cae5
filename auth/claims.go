package auth

import (
	"encoding/json"
	"math"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Identity is who a verified token speaks for. Its fields are private and only
// Verify fills them; the zero Identity is nobody. It is one pointer to data that
// never changes: copy it freely and use it from any goroutine.
type Identity struct {
	claims *claims
}

// claims is what a verified token says; shared by all Identities of the token.
type claims struct {
	tenant  string
	subject string
	tokenID string
	user    string
	bound   bool // user_claim is configured
	exp     time.Time
	nbf     time.Time // zero: the token has none
	iat     time.Time // zero: the token has none
	end     time.Time // exp plus leeway
	values  map[string]any

	derived atomic.Pointer[derived]
}

// derived is what was made of an identity for a key.
type derived struct{ key, value any }

// IsZero reports whether the Identity is nobody's.
func (id Identity) IsZero() bool { return id.claims == nil }

// Tenant returns the tenant: never empty but for the zero Identity, and in lower
// case when the tenant format is uuid.
func (id Identity) Tenant() string {
	if id.claims == nil {
		return ""
	}
	return id.claims.tenant
}

// Derived returns what derive makes of the identity, which all sessions of its token
// share: it is kept until somebody asks with another key. It must depend on nothing but
// the identity and the key, and must not be changed. Any goroutine may call it.
func (id Identity) Derived(key any, derive func() (any, error)) (any, error) {
	if id.claims == nil {
		return derive()
	}
	if d := id.claims.derived.Load(); d != nil && d.key == key {
		return d.value, nil
	}
	value, err := derive()
	if err == nil {
		id.claims.derived.Store(&derived{key, value})
	}
	return value, err
}

// Subject returns the `sub` claim, "" when the token has none.
func (id Identity) Subject() string {
	if id.claims == nil {
		return ""
	}
	return id.claims.subject
}

// TokenID returns the `jti` claim, "" when the token has none.
func (id Identity) TokenID() string {
	if id.claims == nil {
		return ""
	}
	return id.claims.tokenID
}

// ExpiresAt returns the moment from which Verify refuses the token: `exp` plus
// the configured leeway. A session that ends then ends exactly when a new login
// with the same token would fail. The zero Identity expired long ago.
func (id Identity) ExpiresAt() time.Time {
	if id.claims == nil {
		return time.Time{}
	}
	return id.claims.end
}

// User returns the value of the configured user_claim; bound is false when none
// is configured and the startup `user` is free.
func (id Identity) User() (name string, bound bool) {
	if id.claims == nil {
		return "", true // nobody may use any user name
	}
	return id.claims.user, id.claims.bound
}

// Claim returns the claim at path as text: strings as they are, booleans as
// "true" or "false", numbers as they stand in the token. Objects, arrays and
// null are not present. The path has exact names separated by dots; one that
// begins with http:// or https:// is a single name (RFC 7519 §4.2 collision
// resistant names). The text is valid UTF-8 without NUL.
func (id Identity) Claim(path string) (text string, present bool) {
	if id.claims == nil {
		return "", false
	}
	value, ok := lookup(id.claims.values, path)
	if !ok {
		return "", false
	}
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

// Carries reports whether every claim path of require is present with exactly
// that text. An empty require is carried by every Identity but the zero one.
func (id Identity) Carries(require map[string]string) bool {
	if id.claims == nil {
		return false
	}
	for path, want := range require {
		if text, present := id.Claim(path); !present || text != want {
			return false
		}
	}
	return true
}

// CheckPath reports what is wrong with a claim path of the configuration.
func CheckPath(path string) error {
	switch {
	case path == "":
		return errEmptyPath
	case !utf8.ValidString(path) || strings.ContainsRune(path, 0):
		return errPathText
	case isURL(path):
		return nil
	}
	for segment := range strings.SplitSeq(path, ".") {
		if segment == "" {
			return errEmptySegment
		}
	}
	return nil
}

// isURL reports whether a claim path is one name despite its dots.
func isURL(path string) bool {
	return strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "http://")
}

// lookup finds the value at a claim path. It allocates nothing.
func lookup(values map[string]any, path string) (any, bool) {
	if isURL(path) {
		value, ok := values[path]
		return value, ok
	}
	for {
		name, rest, more := strings.Cut(path, ".")
		value, ok := values[name]
		if !ok || !more {
			return value, ok
		}
		if values, ok = value.(map[string]any); !ok {
			return nil, false
		}
		path = rest
	}
}

// maxDate is the last second of the year 9999: a date beyond it is a mistake
// (milliseconds, mostly) and would overflow time arithmetic.
const maxDate = 253402300799

// date reads a NumericDate (RFC 7519 §2) in whole seconds, fractions cut off as
// golang-jwt does. A claim that is absent gives the zero time; one that is not a
// JSON number, or not a date of the years 1970 to 9999, gives ok == false.
func date(values map[string]any, name string) (t time.Time, ok bool) {
	value, present := values[name]
	if !present {
		return time.Time{}, true
	}
	number, isNumber := value.(json.Number)
	if !isNumber {
		return time.Time{}, false
	}
	seconds, err := number.Float64()
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// optionalText reads a top-level string claim. Absent and null give ""; another
// type gives ok == false, so that no revocation is dodged by a `jti` of 7.
func optionalText(values map[string]any, name string) (text string, ok bool) {
	value, present := values[name]
	if !present || value == nil {
		return "", true
	}
	text, ok = value.(string)
	return text, ok
}
