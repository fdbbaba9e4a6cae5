package session

import (
	"fmt"

	"github.com/tenantgate/tenantgate/auth"
)

// ContextSpec is the configured context: which settings are entered on every
// lease and from which claims of the token their values come.
type ContextSpec struct {
	TenantSetting string    // takes the tenant of the identity
	Settings      []Setting // further settings, in name order
}

// Setting derives one further setting from a token's claims.
//
// With Equals set the value is "true" when the claim equals it and "false"
// otherwise. Without, the value is the claim's text, or Default when the token
// does not carry the claim.
type Setting struct {
	Name      string // such as app.is_admin
	Claim     string // dotted path
	Equals    string
	HasEquals bool
	Default   string
}

// Names returns the names of all settings of the context, the tenant's first.
func (s *ContextSpec) Names() []string {
	names := []string{s.TenantSetting}
	for _, setting := range s.Settings {
		names = append(names, setting.Name)
	}
	return names
}

// values derives every setting's value from a verified identity, in the order
// of Names. None is ever left out: a setting without its claim takes its default.
func (s *ContextSpec) values(id auth.Identity) ([]string, error) {
	if id.IsZero() || id.Tenant() == "" {
		return nil, fmt.Errorf("no tenant")
	}
	values := []string{id.Tenant()}
	for _, setting := range s.Settings {
		values = append(values, setting.value(id))
	}
	return values, nil
}

func (s Setting) value(id auth.Identity) string {
	text, present := id.Claim(s.Claim)
	switch {
	case s.HasEquals && present && text == s.Equals:
		return "true"
	case s.HasEquals:
		return "false"
	case present:
		return text
	}
	return s.Default
}
