package main

import "time"

// defaults returns the configuration that an empty file would stand for. It is
// not valid as it is: keys and databases have no default.
func defaults() *config {
	return &config{
		Listen: listenConfig{Address: "127.0.0.1:6432"},
		HTTP:   httpConfig{Address: "127.0.0.1:9127"},
		Auth: authConfig{
			Leeway:       30 * time.Second,
			JWKS:         jwksConfig{Refresh: 5 * time.Minute},
			TenantClaim:  "tenant_id",
			TenantFormat: "uuid",
			OnExpiry:     "terminate",
		},
		Context: contextConfig{
			TenantSetting: "app.current_tenant_id",
			Guard: guardConfig{
				Context:    "enforce",
				HiddenSQL:  "auto",
				SharedRole: "enforce",
				Channels:   "off",
			},
		},
		Limits: limitsConfig{
			MaxClientConn:      10000,
			MaxUnauthenticated: 500,
			MaxLoginFailures:   60,
			Tenants:            []tenantLimits{},
			StatementBuffer:    1 << 20,
			MaxPrepared:        200,
		},
		Timeouts: timeoutsConfig{
			ClientLogin:    10 * time.Second,
			QueryWait:      30 * time.Second,
			ServerConnect:  10 * time.Second,
			ServerReset:    5 * time.Second,
			ServerLifetime: time.Hour,
			ServerIdle:     10 * time.Minute,
			CancelWait:     10 * time.Second,
			Shutdown:       30 * time.Second,
		},
		Log: logConfig{Level: "info", Format: "text"},
	}
}

// setDefaults fills in what an entry of databases leaves out.
func (d *databaseConfig) setDefaults() {
	d.PoolMode = "session"
	d.PoolSize = 20
}
