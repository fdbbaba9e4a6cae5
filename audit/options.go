package audit

import "slices"

// Options say what the audit looks at and what it may take for granted.
type Options struct {
	AppRole       string   // the role that the tenants share; empty: the role of the connection
	TenantColumns []string // names of the column that says whose a row is; the first that a table has counts
	TenantSetting string   // the setting that carries the tenant

	// Settings are all settings that the proxy enters, the tenant's included;
	// nil: not known, and rules that compare with them are not run.
	Settings []string

	// Rules are those that will be run: only what they look at is read. nil: all.
	Rules []*Rule

	// SealVersion is what the binary would install; 0: it cannot seal.
	SealVersion int

	// Keyless: the proxy has no key, so that it enters nothing that is sealed.
	Keyless bool

	// Progress, when set, is called as the catalogue is read: which part, and how
	// many rows of it so far.
	Progress func(part string, rows int)
}

// The names that hold when nothing else is said.
const (
	DefaultTenantColumn  = "tenant_id"
	DefaultTenantSetting = "app.current_tenant_id"
)

// withDefaults fills in what is left empty.
func (o Options) withDefaults() Options {
	if len(o.TenantColumns) == 0 {
		o.TenantColumns = []string{DefaultTenantColumn}
	}
	if o.TenantSetting == "" {
		o.TenantSetting = DefaultTenantSetting
	}
	if o.Progress == nil {
		o.Progress = func(string, int) {}
	}
	return o
}

// reserved tells whether the proxy sets the setting, or would have to.
func (o Options) reserved(name string) bool {
	return name == o.TenantSetting || slices.Contains(o.Settings, name)
}
