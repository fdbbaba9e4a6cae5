package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What CheckPath and the tenant rule find wrong with a value.
var (
	errEmptyPath    = errors.New("is empty; name a claim, e.g. tenant_id or app_metadata.tenant_id")
	errEmptySegment = errors.New("has an empty name between its dots; write it like app_metadata.tenant_id")
	errPathText     = errors.New("is not valid UTF-8 text")
)

// maxTenant bounds a tenant's length in bytes.
const maxTenant = 256

// The named tenant formats; anything else is a regular expression.
const (
	formatUUID = "uuid"
	formatText = "text"
)

// tenantRule says where the tenant stands in a token and what it may look like.
type tenantRule struct {
	path    string
	uuid    bool
	pattern *regexp.Regexp // nil: uuid or any text
}

// newTenantRule compiles a tenant_format. A regular expression must match the
// whole tenant: it is checked alone first, so that it cannot escape the anchors
// that are put around it.
func newTenantRule(path, format string) (tenantRule, error) {
	rule := tenantRule{path: path}
	switch format {
	case formatUUID, "":
		rule.uuid = true
		return rule, nil
	case formatText:
		return rule, nil
	}
	if _, err := regexp.Compile(format); err != nil {
		return rule, fmt.Errorf("%w; use uuid, text or a regular expression that the whole tenant must match", err)
	}
	pattern, err := regexp.Compile(`\A(?:` + format + `)\z`)
	if err != nil {
		return rule, fmt.Errorf("%w; use uuid, text or a regular expression that the whole tenant must match", err)
	}
	rule.pattern = pattern
	return rule, nil
}

// from finds the tenant in the claims and normalises it. A number is taken in
// its decimal integer form only (1, not 1.0 or 1e0), and never for a uuid.
func (r tenantRule) from(values map[string]any) (string, error) {
	value, ok := lookup(values, r.path)
	if !ok {
		return "", fmt.Errorf("no claim %q", r.path)
	}
	switch v := value.(type) {
	case string:
		return r.normalise(v)
	case json.Number:
		if !r.uuid && isInteger(v.String()) {
			return r.normalise(v.String())
		}
	}
	return "", fmt.Errorf("claim %q is not a string", r.path)
}

// normalise checks a tenant's text against the format. It is used for the
// tenants of the revoked file too, so that both sides compare the same form.
func (r tenantRule) normalise(tenant string) (string, error) {
	switch {
	case tenant == "":
		return "", errors.New("the tenant is empty")
	case len(tenant) > maxTenant:
		return "", errors.New("the tenant is longer than 256 bytes")
	case !utf8.ValidString(tenant) || strings.ContainsFunc(tenant, unicode.IsControl):
		return "", errors.New("the tenant holds control characters or invalid UTF-8")
	case r.uuid && !isUUID(tenant):
		return "", errors.New("the tenant is not a UUID in its 8-4-4-4-12 form")
	case r.uuid:
		return strings.ToLower(tenant), nil
	case r.pattern != nil && !r.pattern.MatchString(tenant):
		return "", errors.New("the tenant does not match auth.tenant_format")
	}
	return tenant, nil
}

// isUUID reports whether s is a UUID in the canonical text form of RFC 9562 §4,
// in either case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// isInteger reports whether a JSON number is written as an integer. "-0" is
// not one: it would be a second spelling of 0.
func isInteger(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if s == "-0" || digits == "" {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}

// Tenant returns a tenant's text in the form in which [Identity.Tenant] has it by
// this tenant_format, or why no token can carry it. A format that is not valid
// forbids nothing: New reports it.
func Tenant(format, text string) (string, error) {
	rule, _ := newTenantRule("", format)
	return rule.normalise(text)
}
