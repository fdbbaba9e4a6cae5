package audit

import (
	"fmt"
	"slices"
	"strings"
)

// powerfulRoles are the predefined roles whose members read or write past row
// security or reach outside of the database ("Predefined Roles" in the
// PostgreSQL documentation).
var powerfulRoles = []string{
	"pg_read_all_data", "pg_write_all_data", "pg_execute_server_program", "pg_read_server_files", "pg_write_server_files", "pg_maintain",
}

// pryingRoles are the predefined roles whose members see or end the sessions of
// others.
var pryingRoles = []string{"pg_monitor", "pg_read_all_stats", "pg_stat_scan_tables", "pg_signal_backend", "pg_create_subscription", "pg_checkpoint"}

// rolePowers finds powers of the app role that no policy binds.
func rolePowers(c *Catalog) []Finding {
	var found []Finding
	for _, p := range []struct {
		has       bool
		is, means string
	}{
		{c.App.Super, "SUPERUSER", "no policy and no privilege binds it"},
		{c.App.Bypass && !c.App.Super, "BYPASSRLS", "no policy binds it"},
		{c.App.Replication && !c.App.Super, "REPLICATION", "it may read all data as a replica does"},
		{c.App.CreateRole && !c.App.Super && !c.tamed(), "CREATEROLE", "before PostgreSQL 16 it may join any role that is no superuser"},
	} {
		if !p.has {
			continue
		}
		found = append(found, Finding{
			Kind: "role", Object: c.App.Name, Part: p.is, Evidence: "it has " + p.is + ": " + p.means,
			Fix: Fix{
				stage: stageRole, SQL: "ALTER ROLE " + c.App.Name + " NO" + p.is + ";",
				Breaks: "what runs as this role and needs the power, such as migrations",
				Back:   "a second role for that: ALTER ROLE other_role " + p.is + ";",
			},
		})
	}
	return found
}

// tamed tells whether CREATEROLE reaches only the roles that it made itself, as
// it does since PostgreSQL 16.
func (c *Catalog) tamed() bool { return c.Server.Version >= 160000 }

// memberships finds roles that the app role is a member of and that are more
// than it may be.
func memberships(c *Catalog) []Finding {
	return c.memberOf(func(r *Role) string {
		switch {
		case r.Super:
			return "a superuser"
		case r.Bypass:
			return "which has BYPASSRLS"
		case r.Replication:
			return "which has REPLICATION"
		case r.Rolname == sealOwner && c.seal.installed:
			return "which holds the key of the seal"
		case slices.Contains(powerfulRoles, r.Rolname):
			return "which row security or the database does not hold"
		}
		return ""
	})
}

// memberOf makes a finding for every role that the app role may become, directly
// or not, and of which bad has something to say.
func (c *Catalog) memberOf(bad func(*Role) string) []Finding {
	var found []Finding
	if c.App.Super {
		return nil
	}
	said := map[*Role]bool{} // by the membership that leads there
	for _, oid := range c.App.member[1:] {
		r := c.roles[oid]
		says := bad(r)
		if says == "" {
			continue
		}
		// What has to go is the first step on the way there.
		first := r
		for _, e := range c.edges {
			if step := c.roles[e.Role]; e.Member == c.App.OID && slices.Contains(step.member, oid) {
				first = step
				break
			}
		}
		if said[first] {
			continue
		}
		said[first] = true
		evidence := "it is a member of " + r.Name + ", " + says
		if first != r {
			evidence = "it is a member of " + first.Name + ", and so of " + r.Name + ", " + says
		}
		found = append(found, Finding{
			Kind: "role", Object: c.App.Name, Part: r.Name, Evidence: evidence,
			Fix: Fix{
				stage: stageRole, SQL: "REVOKE " + first.Name + " FROM " + c.App.Name + ";",
				Breaks: "what the application does by the privileges of " + first.Name,
				Back:   "grant " + c.App.Name + " the privileges that it needs one by one",
			},
		})
	}
	return found
}

// ownership finds tables with row security that the app role owns: it may drop
// their policies.
func ownership(c *Catalog) []Finding {
	if c.App.Super {
		return nil
	}
	owned := map[uint32][]*relation{}
	for _, r := range c.order {
		if r.table() && (r.Secured || r.Column != "" || r.tenants) && slices.Contains(c.App.member, r.Owner) {
			owned[r.Owner] = append(owned[r.Owner], r)
		}
	}
	var found []Finding
	for _, oid := range c.App.member {
		tables := owned[oid]
		if len(tables) == 0 {
			continue
		}
		f := Finding{Kind: "role", Object: c.App.Name, Part: "owner", Evidence: "it owns " + someOf(tables)}
		if oid != c.App.OID {
			f.Part, f.Evidence = c.roleName(oid), "it is a member of "+c.roleName(oid)+", which owns "+someOf(tables)
			f.Fix = Fix{
				stage: stageRole, SQL: "REVOKE " + c.roleName(oid) + " FROM " + c.App.Name + ";",
				Breaks: "what the application does by the privileges of " + c.roleName(oid),
				Back:   "GRANT SELECT, INSERT, UPDATE, DELETE on what it needs",
			}
		} else {
			f.Fix = c.disown(tables)
		}
		found = append(found, f)
	}
	return found
}

// disown is the script that gives the tables of the app role to an owner of
// their own and leaves it what an application needs.
func (c *Catalog) disown(tables []*relation) Fix {
	plain := makeName(c.App.Rolname, "owner")
	owner := quoteIdent(plain)
	lines := []string{makeRole(plain)}
	var schemas []string
	for _, r := range tables {
		if !slices.Contains(schemas, r.Schema) {
			schemas = append(schemas, r.Schema)
			lines = append(lines, fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA %s TO %s;", quoteIdent(r.Schema), owner))
		}
	}
	for _, r := range tables {
		lines = append(lines, fmt.Sprintf("ALTER TABLE %s OWNER TO %s;", r.Name, owner))
	}
	for _, r := range tables {
		if len(r.parents) == 0 {
			lines = append(lines, fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s;", r.Name, c.App.Name))
		}
	}
	for _, r := range c.order {
		if r.Kind == "S" && r.Owner == c.App.OID { // those of serial columns go with their tables
			lines = append(lines, fmt.Sprintf("GRANT USAGE ON SEQUENCE %s TO %s;", r.Name, c.App.Name))
		}
	}
	return Fix{
		stage: stageRole, SQL: strings.Join(lines, "\n"),
		Breaks: "migrations that run as " + c.App.Name + ": run them as " + owner + " or as a login that is a member of it",
		Back:   "ALTER TABLE … OWNER TO " + c.App.Name + ";",
	}
}

// someOf names a few tables and counts the rest.
func someOf(tables []*relation) string {
	const shown = 3
	var names []string
	for _, r := range tables[:min(shown, len(tables))] {
		names = append(names, r.Name)
	}
	if more := len(tables) - shown; more > 0 {
		return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", more)
	}
	return list(names)
}

// furtherPowers finds what the app role may do beside its work: make roles and
// databases, own the place, put objects into schemas, look at other sessions.
func furtherPowers(c *Catalog) []Finding {
	if c.App.Super {
		return nil
	}
	found := c.memberOf(func(r *Role) string {
		if slices.Contains(pryingRoles, r.Rolname) {
			return "which reaches the sessions of others"
		}
		return ""
	})
	add := func(part, evidence, sql, breaks, back string) {
		found = append(found, Finding{
			Kind: "role", Object: c.App.Name, Part: part, Evidence: evidence,
			Fix: Fix{stage: stageRole, SQL: sql, Breaks: breaks, Back: back},
		})
	}
	const admin = "scripts of administrators that log in as this role"
	if c.App.CreateRole && c.tamed() {
		add("CREATEROLE", "it has CREATEROLE: it may make roles and change them", "ALTER ROLE "+c.App.Name+" NOCREATEROLE;", admin, "a second role for that")
	}
	if c.App.CreateDB {
		add("CREATEDB", "it has CREATEDB", "ALTER ROLE "+c.App.Name+" NOCREATEDB;", admin, "a second role for that")
	}
	if slices.Contains(c.App.member, c.Server.Owner) {
		database := quoteIdent(c.Server.Database)
		add("database", "it owns the database "+database+", and with it the schemas of pg_database_owner",
			"ALTER DATABASE "+database+" OWNER TO CURRENT_USER;", "migrations that run as this role: they need CREATE on the schemas",
			"ALTER DATABASE "+database+" OWNER TO "+c.App.Name+";")
	}
	holds := map[string]bool{} // schemas with tables of tenants
	for _, r := range c.tenantTables() {
		holds[quoteIdent(r.Schema)] = true
	}
	for _, s := range c.schemas {
		if !s.Create || !holds[s.Name] {
			continue
		}
		from := strings.Join(s.Grantees, ", ")
		sql := "REVOKE CREATE ON SCHEMA " + s.Name + " FROM " + from + ";"
		if from == "" || slices.Contains(c.App.member, s.Owner) {
			sql = "ALTER SCHEMA " + s.Name + " OWNER TO CURRENT_USER;"
		}
		if slices.Contains(c.App.member, c.Server.Owner) && c.roleName(s.Owner) == "pg_database_owner" {
			continue // said of the database
		}
		add("schema "+s.Name, "it may create objects in the schema "+s.Name+", where tables of tenants are", sql,
			"migrations that run as this role", "GRANT CREATE ON SCHEMA "+s.Name+" to the role that migrates")
	}
	return found
}
