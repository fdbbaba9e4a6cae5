package audit

import (
	"fmt"
	"strings"
)

// tenantCondition is the condition that ties the tenant column of a table to the
// context: read once for a statement, NULL and so no rows without a context.
func (c *Catalog) tenantCondition(column, columnType string) string {
	value := "NULLIF(current_setting(" + quoteLiteral(c.Options.TenantSetting) + ", true), '')"
	if columnType != "text" {
		value += "::" + columnType
	}
	return fmt.Sprintf("%s = (SELECT %s)", quoteIdent(column), value)
}

// isolate is the script that gives a table the tenant's policy.
func (c *Catalog) isolate(r *relation) string {
	condition := c.tenantCondition(r.Column, r.ColumnType)
	return createPolicy("tenant_isolation", r.Name, "FOR ALL USING ("+condition+") WITH CHECK ("+condition+")")
}

// createPolicy is the script that makes a policy, or makes it anew.
func createPolicy(name, table, rest string) string {
	return fmt.Sprintf("DROP POLICY IF EXISTS %[1]s ON %[2]s;\nCREATE POLICY %[1]s ON %[2]s %[3]s;", name, table, rest)
}

// secure is the statement that makes row security bind everybody but
// superusers and BYPASSRLS.
func secure(r *relation) string {
	return "ALTER TABLE " + r.Name + " ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
}

// doBlock makes a DO block of statements, which stay as they are: a name may hold
// a line break. No name in them can end it.
func doBlock(body string) string {
	tag := "$once$"
	for strings.Contains(body, tag) {
		tag = tag[:len(tag)-1] + "_$"
	}
	return "DO " + tag + " BEGIN\n  " + body + "\nEND " + tag + ";"
}

// once makes a script do nothing where the constraint is there already.
func once(r *relation, constraint, script string) string {
	return doBlock(fmt.Sprintf("IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = %s::regclass AND conname = %s) THEN\n    %s\n  END IF;",
		quoteLiteral(r.Name), quoteLiteral(constraint), script))
}

// makeRole is the script that makes a role which nobody logs in as, unless it is
// there.
func makeRole(name string) string {
	return doBlock(fmt.Sprintf("IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %s) THEN\n    CREATE ROLE %s NOLOGIN;\n  END IF;",
		quoteLiteral(name), quoteIdent(name)))
}

// maxName is the longest name that PostgreSQL keeps whole, in bytes.
const maxName = 63

// makeName joins the parts of a name for an object, short enough to be kept.
func makeName(parts ...string) string {
	name := strings.Join(parts, "_")
	if len(name) <= maxName {
		return name
	}
	tail := parts[len(parts)-1]
	keep := strings.ToValidUTF8(name[:maxName-len(tail)-1], "")
	return keep + "_" + tail
}

// grantor lists through whom a privilege on the relation reaches the app role,
// as REVOKE and GRANT name them.
func (c *Catalog) grantor(r *relation, privilege string) string {
	if names := grantees(r.grantsOf(privilege)); names != "" {
		return names
	}
	return c.roleName(r.Owner) // what nobody granted is the owner's
}

// revoke is the script that takes privileges on the relation away from whoever
// passes them on to the app role, those on columns included.
func (c *Catalog) revoke(r *relation, privileges ...string) string {
	var lines []string
	for _, p := range privileges {
		lines = append(lines, fmt.Sprintf("REVOKE %s ON %s FROM %s;", p, r.Name, c.grantor(r, p)))
	}
	return strings.Join(lines, "\n")
}

// list joins words as a sentence does.
func list(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
