package audit

import (
	"fmt"
	"slices"
	"strings"
)

// reaching makes one finding of everything of a group that the app role may
// use; nothing for a superuser, whom no grant binds.
func (c *Catalog) reaching(group, object, evidence, breaks, back string) []Finding {
	var names, lines []string
	for _, r := range c.reach {
		if r.Group != group || c.App.Super || len(r.Grantees) == 0 {
			continue
		}
		name, _, _ := strings.Cut(r.Name, "(")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		what := "EXECUTE ON FUNCTION "
		if r.View {
			what = "SELECT ON "
		}
		lines = append(lines, "REVOKE "+what+r.Name+" FROM "+strings.Join(r.Grantees, ", ")+";")
	}
	if len(names) == 0 {
		return nil
	}
	const shown = 4
	more := ""
	if len(names) > shown {
		more, names = fmt.Sprintf(" and %d more", len(names)-shown), names[:shown]
	}
	return []Finding{{
		Kind: "database", Object: quoteIdent(c.Server.Database), Part: object,
		Evidence: fmt.Sprintf("%s may use %s%s: %s", c.App.Name, strings.Join(names, ", "), more, evidence),
		Fix:      Fix{stage: stageReach, SQL: strings.Join(lines, "\n"), Breaks: breaks, Back: back},
	}}
}

// largeObjects finds that large objects are open, which have no tenant.
func largeObjects(c *Catalog) []Finding {
	if len(c.tenantTables()) == 0 {
		return nil
	}
	return c.reaching("largeobject", "large objects",
		fmt.Sprintf("there are %d large objects, and each belongs to the role that all tenants share", c.objects),
		"code that keeps files in large objects: the drivers' large-object interfaces and the lo extension",
		"GRANT EXECUTE ON FUNCTION … TO the role that needs them")
}

// activity finds that the statements of other tenants can be read.
func activity(c *Catalog) []Finding {
	if len(c.tenantTables()) == 0 {
		return nil
	}
	found := c.reaching("activity", "activity", "they show the statements of every session of the role, literals included",
		"monitoring that logs in as a role without pg_monitor", activityBack)
	return append(found, c.reaching("statements", "statements", "they show the statements of every tenant",
		"monitoring that logs in as a role without pg_monitor", "GRANT SELECT ON … TO pg_monitor; GRANT EXECUTE ON FUNCTION … TO pg_monitor;")...)
}

// activityBack gives monitoring its view back.
const activityBack = "GRANT SELECT ON pg_catalog.pg_stat_activity TO pg_monitor; " +
	"GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_get_activity(integer), pg_catalog.pg_stat_get_backend_activity(integer) TO pg_monitor;"

// signals finds that the sessions of other tenants can be ended.
func signals(c *Catalog) []Finding {
	if len(c.tenantTables()) == 0 {
		return nil
	}
	return c.reaching("signal", "signals", "a role may end every session of its own, and all tenants share it",
		"tools that end sessions and are no superusers",
		"GRANT EXECUTE ON FUNCTION pg_catalog.pg_terminate_backend(integer, bigint), pg_catalog.pg_cancel_backend(integer) TO pg_signal_backend;")
}

// dynamicBuiltins finds built-in functions that run a text as SQL. A seal makes
// what they could set worthless.
func dynamicBuiltins(c *Catalog) []Finding {
	if c.sealed() || len(c.tenantTables()) == 0 {
		return nil
	}
	return c.reaching("dynamic", "dynamic SQL", "they run a text as SQL, which can set the context",
		"exports with query_to_xml and its kin, and text-search statistics", "GRANT EXECUTE ON FUNCTION … TO the role that needs them")
}

// dynamicExtensions finds functions of extensions that run a text as SQL, here
// or over a connection of their own.
func dynamicExtensions(c *Catalog) []Finding {
	if len(c.tenantTables()) == 0 {
		return nil
	}
	return c.reaching("extension", "extensions", "they run a text as SQL, here or over a connection of their own",
		"queries with crosstab, connectby, xpath_table and dblink", "GRANT EXECUTE ON FUNCTION … TO the role that needs them")
}

// ownCode finds that clients may bring code of their own. A seal makes what it
// could set worthless.
func ownCode(c *Catalog) []Finding {
	if c.App.Super || c.sealed() || len(c.tenantTables()) == 0 {
		return nil
	}
	var ways, lines []string
	for _, l := range c.languages {
		if len(l.Grantees) == 0 {
			continue
		}
		ways = append(ways, "the language "+l.Name)
		lines = append(lines, "REVOKE USAGE ON LANGUAGE "+l.Name+" FROM "+strings.Join(l.Grantees, ", ")+";")
	}
	if len(ways) == 0 {
		return nil
	}
	if c.seal.installed {
		lines = append(lines, "GRANT USAGE ON LANGUAGE plpgsql, sql TO "+sealOwner+";")
	}
	if c.Server.TempVia != "" && !slices.Contains(c.App.member, c.Server.Owner) {
		ways = append(ways, "temporary objects")
		lines = append(lines, "REVOKE TEMPORARY ON DATABASE "+quoteIdent(c.Server.Database)+" FROM "+c.Server.TempVia+";")
	}
	return []Finding{{
		Kind: "database", Object: quoteIdent(c.Server.Database), Part: "code",
		Evidence: fmt.Sprintf("%s may use %s", c.App.Name, list(ways)),
		Fix: Fix{
			stage: stageReach, SQL: strings.Join(lines, "\n"),
			Breaks: "DO, new functions and temporary tables of every role that is no superuser; functions that are there go on",
			Back:   "GRANT USAGE ON LANGUAGE plpgsql, sql TO the role that migrates; GRANT TEMPORARY ON DATABASE … TO whoever needs it",
		},
	}}
}

// publications finds tables with tenants that are sent out without their
// policies.
func publications(c *Catalog) []Finding {
	var found []Finding
	said := map[string]bool{}
	for _, p := range c.published {
		r := c.relations[p.Relation]
		if r == nil || p.Filtered || r.Column == "" && !r.Secured {
			continue
		}
		f := Finding{
			Kind: "publication", Object: p.Publication, Part: r.Name,
			Evidence: "it sends the rows of every tenant of " + r.Name + " to its subscribers",
			Fix: Fix{
				stage: stageGrant, SQL: doBlock("ALTER PUBLICATION " + p.Publication + " DROP TABLE " + r.Name +
					";\nEXCEPTION WHEN undefined_object THEN NULL; -- not in it any more"),
				Breaks: "subscribers that need the table; leave it when they are trusted as this server is",
				Back:   "ALTER PUBLICATION " + p.Publication + " ADD TABLE " + r.Name + " WHERE (…);",
			},
		}
		if p.All || p.BySchema {
			if said[p.Publication] {
				continue
			}
			said[p.Publication] = true
			f.Part, f.Evidence = "", "it sends all tables, and the rows of every tenant with them, to its subscribers"
			f.Fix = Fix{Manual: "drop it where nobody subscribes (DROP PUBLICATION " + p.Publication + "), or publish tables by name; leave it when the subscribers are trusted as this server is"}
		}
		found = append(found, f)
	}
	return found
}
