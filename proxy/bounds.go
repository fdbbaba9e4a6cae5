package proxy

import (
	"time"

	"github.com/tenantgate/tenantgate/auth"
)

// Bounds are what one tenant may use; zero: no bound.
type Bounds struct {
	MaxClientConn   int // over all databases
	MaxServerConn   int // in one database
	Statement       time.Duration
	Transaction     time.Duration
	IdleTransaction time.Duration
}

// TenantLimits are the bounds of some tenants, in the place of the general ones:
// of the one that is named or, without a name, of those whose token has the claim
// with exactly this text.
type TenantLimits struct {
	Tenant        string // as auth.Identity has it
	Claim, Equals string
	Bounds        Bounds // all of them: the general ones are filled in already
}

// fits says whether the entry is for whom id speaks for.
func (t *TenantLimits) fits(id auth.Identity) bool {
	if t.Tenant != "" {
		return t.Tenant == id.Tenant()
	}
	text, present := id.Claim(t.Claim)
	return present && text == t.Equals
}

// bounds are those that hold for a client by its token. They are not to be changed.
func (l *Limits) bounds(id auth.Identity) *Bounds {
	for i := range l.Tenants {
		if t := &l.Tenants[i]; t.fits(id) {
			return &t.Bounds
		}
	}
	return &l.Tenant
}

// limits are the client's bounds by the configuration in force. It is called on
// the client's loop.
func (c *client) limits() *Bounds {
	if cfg := c.server.config.Load(); c.boundBy != cfg {
		c.boundBy, c.bounds = cfg, cfg.Limits.bounds(c.id)
	}
	return c.bounds
}
