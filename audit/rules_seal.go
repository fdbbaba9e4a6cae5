package audit

import (
	"fmt"
	"slices"
	"strings"
)

// sealOwner is the role that the seal's objects belong to.
const sealOwner = "tenantgate_owner"

// sealReaders are the seal's functions that give what no client can forge.
var sealReaders = []string{"current_tenant_id", "tenant", "tenant_number", "claim"}

// readsSeal tells whether the part calls one of them.
func (e expr) readsSeal() bool {
	for i := e.lo; i < e.hi; i++ {
		if e.isCall(i) && e.at(i).word == "tenantgate" && slices.Contains(sealReaders, e.at(i+2).word) {
			return true
		}
	}
	return false
}

// readsSeal tells whether the policy asks the seal.
func (p policy) readsSeal() bool {
	return slices.ContainsFunc(p.clauses(), func(clause string) bool { return parseExpr(clause).readsSeal() })
}

// sealed tells whether something sealed decides about every row of the table: a
// restrictive policy, or every policy that lets a client through.
func (r *relation) sealed() bool {
	permissive, forgeable := 0, 0
	for _, p := range r.policies {
		switch {
		case !p.Permissive && p.Command == "*" && slices.Contains(p.Roles, 0) && p.readsSeal():
			return true
		case p.Permissive:
			permissive++
			reads := slices.ContainsFunc(p.clauses(), func(clause string) bool { return len(parseExpr(clause).readings()) > 0 })
			if !p.readsSeal() || reads {
				forgeable++
			}
		}
	}
	return permissive > 0 && forgeable == 0
}

// sealed tells whether every table with tenants that the app role reaches is
// sealed.
func (c *Catalog) sealed() bool {
	return c.seal.installed && !slices.ContainsFunc(c.tenantTables(), func(r *relation) bool { return c.sealable(r) && !r.sealed() })
}

// sealable tells whether the table has policies that a forged context would
// satisfy: row security, a column to compare, and the app role at its door.
func (c *Catalog) sealable(r *relation) bool {
	return r.table() && r.Secured && (r.Column != "" || r.tenants) && len(r.policies) > 0 && c.reached(r) && !r.covered()
}

// unsealed finds that there is no seal, or which tables it leaves out.
func unsealed(c *Catalog) []Finding {
	var open []*relation
	for _, r := range c.order {
		if c.sealable(r) && !r.sealed() {
			open = append(open, r)
		}
	}
	if len(open) == 0 {
		return nil
	}
	if !c.seal.installed {
		return []Finding{{
			Kind: "database", Object: quoteIdent(c.Server.Database),
			Evidence: fmt.Sprintf("no seal is installed, and %s may reach %s", c.App.Name, someOf(open)),
			Fix:      Fix{Manual: "tenantgate seal keygen > FILE, name the file in context.seal, and run what tenantgate seal sql -config … prints"},
		}}
	}
	var found []Finding
	for _, r := range open {
		column := r.Column
		if column == "" {
			column = r.key
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name, Evidence: "it has row security, and nothing sealed decides about its rows",
			Fix: Fix{
				stage: stageSeal, SQL: fmt.Sprintf("SELECT tenantgate.protect(%s, %s);", quoteLiteral(r.Name), quoteLiteral(column)),
				Breaks: "whoever comes past the proxy as a role that row security binds sees no rows",
				Back:   fmt.Sprintf("SELECT tenantgate.unprotect(%s);", quoteLiteral(r.Name)),
			},
		})
	}
	return found
}

// oldSeal finds a seal of another version than the program's.
func oldSeal(c *Catalog) []Finding {
	if !c.seal.installed || c.Options.SealVersion == 0 || c.seal.version == c.Options.SealVersion {
		return nil
	}
	return []Finding{{
		Kind: "schema", Object: "tenantgate",
		Evidence: fmt.Sprintf("the seal has version %d, this program makes version %d", c.seal.version, c.Options.SealVersion),
		Fix:      Fix{Manual: "run what tenantgate seal sql -config … prints, with the newer program; it upgrades in one transaction"},
	}}
}

// openSeal finds rights on the seal's objects that nobody should have.
func openSeal(c *Catalog) []Finding {
	if len(c.seal.excess) == 0 {
		return nil
	}
	return []Finding{{
		Kind: "schema", Object: "tenantgate", Evidence: strings.Join(c.seal.excess, "; "),
		Fix: Fix{Manual: "run what tenantgate seal sql -config … prints: it takes every such right away"},
	}}
}
