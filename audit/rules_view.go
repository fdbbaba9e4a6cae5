package audit

import (
	"fmt"
	"slices"
	"strings"
)

// leak is a table with tenants that a view shows past its policies.
type leak struct {
	table *relation
	owner uint32 // whose privileges and policies hold when it is read
}

// leaks lists the tables with tenants that reading the view gets at without
// their policies. Inside a view without security_invoker the owner of the view
// reads; row security of a table asks for that role.
func (c *Catalog) leaks(v *relation, as uint32, seen map[*relation]bool) []leak {
	if seen[v] {
		return nil
	}
	seen[v] = true
	reader := v.Owner
	if v.Invoker {
		reader = as
	}
	var all []leak
	for _, u := range v.uses {
		switch {
		case u.of.Kind == "v":
			all = append(all, c.leaks(u.of, reader, seen)...)
		case u.of.table() && (u.of.Column != "" || u.of.tenants && u.of.Secured) && reader != c.App.OID && c.bypasses(reader, u.of):
			all = append(all, leak{u.of, reader})
		}
	}
	return all
}

// bypassingViews finds views through which the app role reads past policies.
func bypassingViews(c *Catalog) []Finding {
	var found []Finding
	for _, v := range c.order {
		if v.Kind != "v" || v.Invoker || !c.reached(v) {
			continue
		}
		leaks := c.leaks(v, c.App.OID, map[*relation]bool{})
		if len(leaks) == 0 {
			continue
		}
		l := leaks[0]
		if v.filters(c.columnOf(l.table)) {
			continue
		}
		why := "owns it and is not bound by its policies"
		if c.roles[l.owner].unbound() {
			why = "bypasses row security"
		}
		found = append(found, Finding{
			Kind: "view", Object: v.Name,
			Evidence: fmt.Sprintf("%s may %s, and it reads %s as %s, who %s", c.App.Name, list(c.commands(v)), l.table.Name, c.roleName(l.owner), why),
			Fix:      c.asInvoker(v),
		})
	}
	return found
}

// asInvoker is the fix that makes a view, and the views that it reads past the
// policies, read as whoever asks.
func (c *Catalog) asInvoker(v *relation) Fix {
	return Fix{
		stage: stageView, SQL: strings.Join(c.invokerScript(v, map[*relation]bool{}), "\n"),
		Breaks: "reports across tenants that are made with this view; roles that may read the view and not what stands behind it",
		Back:   "a view of another name for the role that needs it, which " + c.App.Name + " may not read",
	}
}

// invokerScript lists the statements: who asks then needs privileges on the
// columns that the view reads.
func (c *Catalog) invokerScript(v *relation, seen map[*relation]bool) []string {
	if seen[v] {
		return nil
	}
	seen[v] = true
	lines := []string{"ALTER VIEW " + v.Name + " SET (security_invoker = true);"}
	for _, u := range v.uses {
		if u.of.Kind == "v" && !u.of.Invoker && len(c.leaks(u.of, c.App.OID, map[*relation]bool{})) > 0 {
			lines = append(lines, c.invokerScript(u.of, seen)...)
		}
		if !c.may(u.of, "SELECT") && len(u.Columns) > 0 && !u.of.needsWall() {
			columns := slices.Clone(u.Columns)
			slices.Sort(columns)
			lines = append(lines, fmt.Sprintf("GRANT SELECT (%s) ON %s TO %s;", quoteIdents(columns), u.of.Name, c.App.Name))
		}
	}
	return lines
}

// needsWall tells whether a grant on the relation would show rows that no policy
// stands before.
func (r *relation) needsWall() bool {
	return r.Kind == "m" || r.Kind == "f" || r.table() && (r.Column != "" || r.tenants) && !r.Secured
}

// tenantData tells whether rows of tenants are in the relation, which may be a
// materialised view of views, and of which table.
func (c *Catalog) tenantData(v *relation, seen map[*relation]bool) *relation {
	if seen[v] {
		return nil
	}
	seen[v] = true
	for _, u := range v.uses {
		if u.of.table() && u.of.Column != "" || u.of.Kind == "f" && u.of.Column != "" {
			return u.of
		}
		if t := c.tenantData(u.of, seen); t != nil {
			return t
		}
	}
	return nil
}

// openMaterialised finds materialised views that hold the rows of all tenants.
func openMaterialised(c *Catalog) []Finding {
	return c.unprotectable("m", func(r *relation) string {
		if t := c.tenantData(r, map[*relation]bool{}); t != nil {
			return "it holds rows of " + t.Name + " of every tenant"
		}
		return ""
	})
}

// openForeign finds foreign tables with a tenant column.
func openForeign(c *Catalog) []Finding {
	return c.unprotectable("f", func(r *relation) string {
		if r.Column != "" {
			return "it has the tenant column " + quoteIdent(r.Column)
		}
		return ""
	})
}

// unprotectable finds relations of a kind for which there is no row security,
// that the app role can reach directly or through a view.
func (c *Catalog) unprotectable(kind string, evidence func(*relation) string) []Finding {
	var found []Finding
	for _, r := range c.order {
		if r.Kind != kind {
			continue
		}
		may, through := c.commands(r), c.openView(r)
		what := evidence(r)
		if what == "" || len(may) == 0 && through == nil {
			continue
		}
		on := r
		if len(may) == 0 {
			on, may = through, c.commands(through)
			what += ", and is read through the view " + on.Name
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("%s; %s may %s, and no policy can be put on a %s", what, c.App.Name, list(may), r.label()),
			Fix: Fix{
				stage: stageGrant, SQL: c.revoke(on, may...),
				Breaks: "queries of the application that read it",
				Back: fmt.Sprintf("a view that picks the tenant's rows: CREATE VIEW … WITH (security_barrier) AS SELECT * FROM %s WHERE %s; and GRANT SELECT on that",
					r.Name, c.tenantCondition(c.columnOf(r), c.typeOf(r))),
			},
		})
	}
	return found
}

// columnOf is the tenant column of a relation, or what it would be called.
func (c *Catalog) columnOf(r *relation) string {
	if r.Column != "" {
		return r.Column
	}
	return c.Options.TenantColumns[0]
}

// typeOf is the type of the tenant column.
func (c *Catalog) typeOf(r *relation) string {
	if r.ColumnType != "" {
		return r.ColumnType
	}
	return "uuid"
}

// openView returns a view through which the app role reads the relation without
// a condition on the tenant that it could not get around.
func (c *Catalog) openView(r *relation) *relation {
	for _, v := range c.order {
		if v.Kind == "v" && !v.Invoker && !v.filters(c.columnOf(r)) && c.may(v, "SELECT") && slices.ContainsFunc(v.uses, func(u use) bool { return u.of == r }) {
			return v
		}
	}
	return nil
}

// filters tells whether a view picks the tenant's rows itself, behind a security
// barrier that no function of the reader's gets under.
func (r *relation) filters(column string) bool {
	e := parseExpr(r.Barrier)
	if r.Barrier == "" || !e.mentions(column) {
		return false
	}
	return len(e.readings()) > 0 || e.calls()
}

// openChildren finds partitions and inheritance children that can be read
// directly, where the policies of the parent are not asked.
func openChildren(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.order {
		if len(r.parents) == 0 || r.Kind != "f" && (!r.table() || r.Secured) || !r.covered() || !c.reached(r) {
			continue
		}
		fix := Fix{
			stage: stageTable, SQL: secure(r),
			Breaks: "queries that name it and not its parent find no rows; through the parent nothing changes",
			Back:   "a policy on " + r.Name + " for the role that reads it directly",
		}
		if r.Kind == "f" {
			fix.stage, fix.SQL = stageGrant, c.revoke(r, c.commands(r)...)
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("%s may %s it directly, and the policies of %s are not asked there", c.App.Name, strings.Join(c.commands(r), ", "), r.parents[0].Name),
			Fix:      fix,
		})
	}
	return found
}
