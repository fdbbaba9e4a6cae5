package audit

import (
	"fmt"
	"slices"
	"strings"
)

// granted makes a finding for every relation that pick chooses and on which one
// of the privileges reaches the app role, which does not own it.
func (c *Catalog) granted(privileges []string, pick func(*relation) bool, evidence, breaks string) []Finding {
	if c.App.Super {
		return nil
	}
	var found []Finding
	for _, r := range c.order {
		if !pick(r) || c.owns(r) || !r.Open {
			continue
		}
		var may []string
		for _, p := range privileges {
			if len(r.grantsOf(p)) > 0 {
				may = append(may, p)
			}
		}
		if len(may) == 0 {
			continue
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name, Part: strings.Join(may, "+"),
			Evidence: fmt.Sprintf("%s may %s%s", c.App.Name, list(may), evidence),
			Fix: Fix{
				stage: stageGrant, SQL: c.revoke(r, may...), Breaks: breaks,
				Back: fmt.Sprintf("GRANT %s ON %s to the role that needs it", strings.Join(may, ", "), r.Name),
			},
		})
	}
	return found
}

// truncatable finds tables with tenants that the app role may empty.
func truncatable(c *Catalog) []Finding {
	return c.granted([]string{"TRUNCATE"}, func(r *relation) bool {
		return r.table() && (r.Column != "" || r.Secured || r.tenants || r.parentKey() >= 0)
	}, ": every tenant's rows at once", "jobs and tests that TRUNCATE as the application's role: DELETE removes the tenant's rows")
}

// looseGrants finds privileges that an application has no use for.
func looseGrants(c *Catalog) []Finding {
	return c.granted([]string{"TRIGGER", "REFERENCES", "MAINTAIN"}, func(r *relation) bool {
		return r.table() && (r.Column != "" || r.Secured || r.tenants || r.parentKey() >= 0)
	}, "", "migrations that run as the application's role")
}

// settableSequences finds sequences that the app role may set.
func settableSequences(c *Catalog) []Finding {
	found := c.granted([]string{"UPDATE"}, func(r *relation) bool { return r.Kind == "S" },
		": setval moves the numbers of every tenant", "restores that call setval as the application's role; nextval goes on")
	usable := map[string]bool{}
	for _, r := range c.order {
		usable[r.Name] = len(r.grantsOf("USAGE")) > 0
	}
	for i := range found {
		f := &found[i]
		f.Fix.SQL = strings.Replace(f.Fix.SQL, "REVOKE UPDATE ON ", "REVOKE UPDATE ON SEQUENCE ", 1)
		if _, from, _ := strings.Cut(f.Fix.SQL, " FROM "); !usable[f.Object] {
			f.Fix.SQL += "\nGRANT USAGE ON SEQUENCE " + f.Object + " TO " + from
		}
	}
	return found
}

// defaultTypes are the words for defaclobjtype.
var defaultTypes = map[string]string{"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}

// openDefaults finds default privileges that open every table to come.
func openDefaults(c *Catalog) []Finding {
	if c.App.Super {
		return nil
	}
	caught := c.catchesNewTables() != ""
	var found []Finding
	for _, d := range c.defaults {
		if d.Type != "r" {
			continue
		}
		// Behind an event trigger that secures new tables only what ignores row
		// security still matters.
		opening := slices.DeleteFunc(slices.Clone(d.Privileges), func(p string) bool { return caught && slices.Contains(rowCommands, p) })
		if len(opening) == 0 {
			continue
		}
		where := ""
		if d.Schema != "" {
			where = " IN SCHEMA " + d.Schema
		}
		statement := "ALTER DEFAULT PRIVILEGES FOR ROLE " + d.Owner + where
		found = append(found, Finding{
			Kind: "default privileges", Object: d.Owner, Part: strings.Join([]string{d.Schema, d.Grantee}, "."),
			Evidence: fmt.Sprintf("%s may %s on every table that %s will create%s", d.Grantee, list(opening), d.Owner, strings.ToLower(where)),
			Fix: Fix{
				stage: stageNext, SQL: statement + " REVOKE " + strings.Join(opening, ", ") + " ON " + defaultTypes[d.Type] + " FROM " + d.Grantee + ";",
				Breaks: "new tables have to be granted by the migration that makes them, with their policy",
				Back:   statement + " GRANT " + strings.Join(opening, ", ") + " ON " + defaultTypes[d.Type] + " TO " + d.Grantee + ";",
			},
		})
	}
	return found
}

// catchesNewTables names an event trigger that looks after new tables.
func (c *Catalog) catchesNewTables() string {
	for _, t := range c.triggers {
		source := strings.ToLower(t.Source)
		if t.Event == "ddl_command_end" && (strings.Contains(source, "row level security") || strings.Contains(source, "relrowsecurity")) {
			return t.Name
		}
	}
	return ""
}

// uncaughtTables finds that nothing would notice a new table without row
// security, and offers what does.
func uncaughtTables(c *Catalog) []Finding {
	if len(c.tenantTables()) == 0 || c.catchesNewTables() != "" {
		return nil
	}
	return []Finding{{
		Kind: "database", Object: quoteIdent(c.Server.Database),
		Evidence: "no event trigger looks at new tables",
		Fix: Fix{
			stage: stageNext, SQL: fmt.Sprintf(newTableTrigger, arrayOf(c.Options.TenantColumns)),
			Breaks: "a new table with a tenant column shows no rows and takes none until it has a policy; it takes a superuser to create it",
			Back:   "DROP EVENT TRIGGER tenantgate_new_table; DROP FUNCTION public.tenantgate_new_table();",
		},
	}}
}

// arrayOf writes an array of names.
func arrayOf(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quoteLiteral(n)
	}
	return "ARRAY[" + strings.Join(quoted, ", ") + "]"
}

// newTableTrigger secures every new table with a tenant column at the end of
// the command that made it. A partition is reached through its parent's
// policies; on its own nobody finds rows in it.
const newTableTrigger = `CREATE OR REPLACE FUNCTION public.tenantgate_new_table() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE command record;
BEGIN
  FOR command IN
    SELECT c.oid::regclass AS name FROM pg_event_trigger_ddl_commands() d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relrowsecurity AND EXISTS (SELECT FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attname = ANY (%s::name[]) AND NOT a.attisdropped)
  LOOP
    EXECUTE format('ALTER TABLE %%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', command.name);
    RAISE NOTICE 'row level security was enabled on %%: it needs a policy', command.name;
  END LOOP;
END $body$;
DROP EVENT TRIGGER IF EXISTS tenantgate_new_table;
CREATE EVENT TRIGGER tenantgate_new_table ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
  EXECUTE FUNCTION public.tenantgate_new_table();`
