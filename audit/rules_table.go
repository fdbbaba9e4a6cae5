package audit

import (
	"fmt"
	"slices"
	"strings"
)

// openTables finds tenant columns that no row security stands behind.
func openTables(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.tenantTables() {
		if r.Secured || len(r.parents) > 0 && r.covered() || !c.reached(r) {
			continue
		}
		script := secure(r)
		if !slices.ContainsFunc(r.policies, func(p policy) bool { return p.Permissive && c.applies(p) }) {
			script = c.isolate(r) + "\n" + script
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("%s may %s, and row security is not enabled", c.App.Name, list(c.commands(r))),
			Fix: Fix{
				stage: stageTable, SQL: script,
				Breaks: "code that works without a context, or across tenants, finds no rows; so does the owner, in migrations that change rows",
				Back:   "for the owner: ALTER TABLE " + r.Name + " NO FORCE ROW LEVEL SECURITY;",
			},
		})
	}
	return found
}

// unforced finds tables whose owner the app role is, where policies do not bind
// owners.
func unforced(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.order {
		if !r.table() || !r.Secured || r.Forced || c.App.Super || !c.owns(r) || r.Column == "" && !r.tenants && len(r.policies) == 0 {
			continue
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("%s owns the table%s, and row security is not forced", c.App.Name, c.through(r.Owner)),
			Fix: Fix{
				stage: stageTable, SQL: "ALTER TABLE " + r.Name + " FORCE ROW LEVEL SECURITY;",
				Breaks: "migrations and jobs that run as the owner without a context find no rows",
				Back:   "ALTER TABLE " + r.Name + " NO FORCE ROW LEVEL SECURITY;",
			},
		})
	}
	return found
}

// through says by which role the app role is the owner, when it is not itself.
func (c *Catalog) through(owner uint32) string {
	if owner == c.App.OID {
		return ""
	}
	return " through " + c.roleName(owner)
}

// unpoliced finds tables with row security and without a policy for the app
// role: nothing leaks, and nothing is found.
func unpoliced(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.order {
		admits := func(p policy) bool { return p.Permissive && c.applies(p) }
		if !r.table() || !r.Secured || r.covered() || c.App.unbound() || !c.reached(r) || slices.ContainsFunc(r.policies, admits) {
			continue
		}
		evidence := "row security is enabled, and there is no policy"
		if len(r.policies) > 0 {
			evidence = "row security is enabled, and none of the " + fmt.Sprint(len(r.policies)) + " policies admits " + c.App.Name
		}
		fix := Fix{
			stage: stageGrant, SQL: c.revoke(r, c.commands(r)...),
			Breaks: "a statement that found no rows fails with 42501 from now on",
			Back:   fmt.Sprintf("GRANT %s ON %s TO %s; and a policy that says which rows", strings.Join(c.commands(r), ", "), r.Name, c.App.Name),
		}
		if r.Column != "" {
			fix = Fix{
				stage: stagePolicy, SQL: c.isolate(r),
				Breaks: "nothing: there were no rows to see",
				Back:   "DROP POLICY tenant_isolation ON " + r.Name + ";",
			}
		}
		found = append(found, Finding{Kind: r.label(), Object: r.Name, Evidence: evidence + " (" + c.App.Name + " may " + list(c.commands(r)) + ")", Fix: fix})
	}
	return found
}

// unprotectedDependents finds tables without a tenant column that hang on a
// table with one, and are open.
func unprotectedDependents(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.order {
		if !r.table() || r.Column != "" || r.tenants || r.Secured || len(r.parents) > 0 || !c.reached(r) {
			continue
		}
		n := r.parentKey()
		if n < 0 {
			continue
		}
		f := r.foreign[n]
		var join []string
		for i := range f.Columns {
			join = append(join, "p."+quoteIdent(f.References[i])+" = "+quoteIdent(r.Relname)+"."+quoteIdent(f.Columns[i]))
		}
		condition := "EXISTS (SELECT FROM " + f.to.Name + " p WHERE " + strings.Join(join, " AND ") + ")"
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name, Part: f.Name,
			Evidence: fmt.Sprintf("its rows belong to %s by (%s), %s may %s, and row security is not enabled",
				f.to.Name, quoteIdents(f.Columns), c.App.Name, list(c.commands(r))),
			Fix: Fix{
				stage: stageTable,
				SQL:   createPolicy("tenant_by_parent", r.Name, "FOR ALL USING ("+condition+") WITH CHECK ("+condition+")") + "\n" + secure(r),
				Breaks: "rows without a parent are seen by nobody; every statement looks the parent up, so a tenant column of its own is faster; " +
					"code without a context finds no rows",
				Back: "for the owner: ALTER TABLE " + r.Name + " NO FORCE ROW LEVEL SECURITY;",
			},
		})
	}
	return found
}

// parentKey is the index of a foreign key to a table with a tenant column, by
// which rows belong to tenants; -1: there is none.
func (r *relation) parentKey() int {
	return slices.IndexFunc(r.foreign, func(f foreignKey) bool { return f.to.Column != "" && f.to.table() && f.to != r })
}

// openTenants finds the table of the tenants itself without row security.
func openTenants(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.order {
		if !r.tenants || r.Column != "" || !r.table() || r.Secured || !c.reached(r) {
			continue
		}
		condition := c.tenantCondition(r.tenantKey())
		command := "FOR ALL USING (" + condition + ") WITH CHECK (" + condition + ")"
		if may := c.commands(r); len(may) == 1 && may[0] == "SELECT" {
			command = "FOR SELECT USING (" + condition + ")"
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("the tenant columns refer to (%s), %s may %s, and row security is not enabled", r.key, c.App.Name, list(c.commands(r))),
			Fix: Fix{
				stage: stageTable, SQL: createPolicy("tenant_isolation", r.Name, command) + "\nALTER TABLE " + r.Name + " ENABLE ROW LEVEL SECURITY;",
				Breaks: "code that lists tenants, or looks one up before there is a context, finds no rows; the owner still does",
				Back:   "a policy TO the role that has to: CREATE POLICY all_tenants ON " + r.Name + " FOR SELECT TO … USING (true);",
			},
		})
	}
	for _, l := range looseTerms(c) {
		if l.on.Column == "" && l.kind() == "everything" {
			found = append(found, c.loosePolicy(l, l.everything()))
		}
	}
	return found
}

// writableShared finds tables that all tenants share and the app role may change.
func writableShared(c *Catalog) []Finding {
	var found []Finding
	if len(c.tenantTables()) == 0 {
		return nil
	}
	for _, r := range c.order {
		hangs := slices.ContainsFunc(r.foreign, func(f foreignKey) bool { return f.to.Column != "" })
		if !r.table() || r.Column != "" || r.tenants || r.Secured || hangs || len(r.parents) > 0 {
			continue
		}
		writes := slices.DeleteFunc(c.commands(r), func(p string) bool { return p == "SELECT" })
		if len(writes) == 0 {
			continue
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("no tenant column, no row security, and %s may %s", c.App.Name, list(writes)),
			Fix: Fix{
				stage: stageGrant, SQL: c.revoke(r, writes...),
				Breaks: "whatever of the application writes to the table",
				Back:   fmt.Sprintf("GRANT %s ON %s TO %s;", strings.Join(writes, ", "), r.Name, c.grantor(r, writes[0])),
			},
		})
	}
	return found
}
