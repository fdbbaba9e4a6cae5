package session

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
