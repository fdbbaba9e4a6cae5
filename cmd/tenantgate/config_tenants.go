package main

import (
	"fmt"

	"github.com/tenantgate/tenantgate/auth"
)

// checkTenants looks at limits.tenants, and brings each tenant that is named
// into the form in which verified tokens have it.
func (c *config) checkTenants(p *problems) {
	seen := map[string]string{}
	for i := range c.Limits.Tenants {
		e, at := &c.Limits.Tenants[i], fmt.Sprintf("limits.tenants[%d]", i)
		who := e.checkWho(p, at, c.Auth.TenantFormat)
		if first, ok := seen[who]; ok && who != "" {
			p.addf(at, "never counts: %s is for the same tenants, and the first entry that fits counts; remove one", first)
		}
		seen[who] = at
		e.checkLimits(p, at)
	}
}

// checkWho looks at whom an entry is for, and returns that as a key; empty when
// it cannot be told.
func (e *tenantLimits) checkWho(p *problems, at, format string) string {
	switch {
	case e.Tenant == "" && e.Claim == "" && e.Equals == nil:
		p.addf(at, "says for no tenant that it holds; set tenant, or claim and equals")
		return ""
	case e.Tenant != "" && (e.Claim != "" || e.Equals != nil):
		p.addf(at, "has a tenant and a claim; keep one of them, and make another entry for the other")
		return ""
	case e.Tenant != "":
		tenant, err := auth.Tenant(format, e.Tenant)
		if err != nil {
			p.addf(at+".tenant", "no token can have the tenant %q: %v; write it as tokens do, by auth.tenant_format", e.Tenant, err)
			return ""
		}
		e.Tenant = tenant
		return "tenant " + tenant
	case e.Claim == "":
		p.addf(at+".equals", "there is no claim that it belongs to; set both")
		return ""
	case e.Equals == nil:
		p.addf(at+".claim", "there is no text that the claim must have; set equals")
		return ""
	}
	if err := auth.CheckPath(e.Claim); err != nil {
		p.addf(at+".claim", "%q %v", e.Claim, err)
		return ""
	}
	return fmt.Sprintf("claim %s %q", e.Claim, *e.Equals)
}

// checkLimits looks at the limits that an entry sets.
func (e *tenantLimits) checkLimits(p *problems, at string) {
	if e.MaxClientConn == nil && e.MaxServerConn == nil && e.Statement == nil && e.Transaction == nil && e.IdleTransaction == nil {
		p.addf(at, "sets no limit; set max_tenant_client_conn, max_tenant_server_conn, statement_timeout, transaction_timeout or "+
			"idle_transaction_timeout, or remove the entry")
	}
	p.atLeast(at+".max_tenant_client_conn", or(e.MaxClientConn, 0), 0)
	p.atLeast(at+".max_tenant_server_conn", or(e.MaxServerConn, 0), 0)
	p.notNegative(at+".statement_timeout", or(e.Statement, 0))
	p.notNegative(at+".transaction_timeout", or(e.Transaction, 0))
	p.notNegative(at+".idle_transaction_timeout", or(e.IdleTransaction, 0))
}
