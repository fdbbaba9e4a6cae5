package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// missingIndexes finds tables without an index that finds one tenant's rows.
func missingIndexes(c *Catalog) []Finding {
	var found []Finding
	viewed := c.viewed()
	for _, r := range c.tenantTables() {
		leads := func(i index) bool { return i.leads(r.Column) }
		listed := r.Strategy == "l" && slices.Contains(r.PartitionKey, r.Column)
		if r.Partition || listed || !c.reached(r) && !viewed[r] || slices.ContainsFunc(r.indexes, leads) {
			continue
		}
		name := quoteIdent(r.freeName(r.Relname, r.Column, "idx"))
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("about %d rows, and every query of a tenant looks at all of them", r.Rows),
			Fix: Fix{
				stage: stageIndex, SQL: fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s (%s);", name, r.Name, quoteIdent(r.Column)),
				Breaks: "nothing; writes wait while it is built, so on a large table run CREATE INDEX CONCURRENTLY outside of this script",
				Back:   "DROP INDEX " + quoteIdent(r.Schema) + "." + name + ";",
			},
		})
	}
	return found
}

// viewed are the tables that the app role reads through views.
func (c *Catalog) viewed() map[*relation]bool {
	through := map[*relation]bool{}
	var follow func(v *relation)
	follow = func(v *relation) {
		for _, u := range v.uses {
			if !through[u.of] {
				through[u.of] = true
				follow(u.of)
			}
		}
	}
	for _, v := range c.order {
		if v.Kind == "v" && c.may(v, "SELECT") {
			follow(v)
		}
	}
	return through
}

// freeName is a name for an index that no other of the table has.
func (r *relation) freeName(parts ...string) string {
	name := makeName(parts...)
	for n := 1; slices.ContainsFunc(r.indexes, func(i index) bool { return i.Name == name }); n++ {
		name = makeName(append(slices.Clone(parts), strconv.Itoa(n))...)
	}
	return name
}

// oracle tells whether a unique index lets a tenant learn that another tenant
// has a value: the values are not made by the server and not unguessable.
func (r *relation) oracle(i index) bool {
	if !i.Unique && !i.Exclusion {
		return false
	}
	for _, col := range i.Columns {
		switch {
		case col.Name == r.Column && !col.Expression, col.Type == "uuid", col.Generated:
			return false
		case r.belongs(col.Name):
			return false
		case col.Expression && parseExpr(col.Name).mentions(r.Column):
			return false
		}
	}
	return true
}

// belongs tells whether a column is tied to the tenant by a foreign key that
// carries the tenant column, too.
func (r *relation) belongs(column string) bool {
	return slices.ContainsFunc(r.foreign, func(f foreignKey) bool {
		return slices.Contains(f.Columns, r.Column) && slices.Contains(f.Columns, column)
	})
}

// uniqueOracles finds unique constraints that span all tenants.
func uniqueOracles(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.tenantTables() {
		if r.Partition || r.tenants || !c.may(r, "INSERT") && !c.may(r, "UPDATE") {
			continue
		}
		for _, i := range r.indexes {
			if !r.oracle(i) {
				continue
			}
			var names []string
			for _, col := range i.Columns {
				names = append(names, col.Name)
			}
			found = append(found, Finding{
				Kind: "unique key", Object: r.Name, Part: quoteIdent(i.Name),
				Evidence: fmt.Sprintf("(%s) is unique over all tenants", strings.Join(names, ", ")),
				Fix:      c.uniquePerTenant(r, i),
			})
		}
	}
	return found
}

// uniquePerTenant is the script that puts the tenant column in front of a
// unique key, under the same name.
func (c *Catalog) uniquePerTenant(r *relation, i index) Fix {
	var script string
	column := quoteIdent(r.Column)
	switch {
	case i.Constraint == "":
		temporary := quoteIdent(makeName(i.Name, "tenant"))
		definition := strings.Replace(i.Definition, " INDEX "+quoteIdent(i.Name)+" ", " INDEX IF NOT EXISTS "+temporary+" ", 1)
		definition = strings.Replace(definition, "USING "+i.Method+" (", "USING "+i.Method+" ("+column+", ", 1)
		script = definition + ";\nDROP INDEX IF EXISTS " + quoteIdent(r.Schema) + "." + quoteIdent(i.Name) + ";"
	default:
		constraint := makeName(i.Constraint, "tenant")
		add := column + ", "
		if i.Exclusion {
			script, add = "CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;\n", column+" WITH =, "
		}
		definition := strings.Replace(i.Definition, "(", "("+add, 1)
		var statements string
		for _, f := range c.references(r, i) {
			if f.statement == "" {
				return Fix{Manual: f.manual}
			}
			statements += f.statement + "\n"
		}
		if i.Primary { // a table has one primary key only
			statements = "ALTER TABLE " + r.Name + " ADD CONSTRAINT " + quoteIdent(makeName(i.Constraint, "unique")) + " UNIQUE (" + column + ", " +
				i.columnList() + ");\n" + statements
			script += once(r, constraint, statements+"ALTER TABLE "+r.Name+" DROP CONSTRAINT "+quoteIdent(i.Constraint)+", ADD CONSTRAINT "+
				quoteIdent(constraint)+" "+definition+";")
		} else {
			script += once(r, constraint, "ALTER TABLE "+r.Name+" ADD CONSTRAINT "+quoteIdent(constraint)+" "+definition+";\n"+statements+
				"ALTER TABLE "+r.Name+" DROP CONSTRAINT "+quoteIdent(i.Constraint)+";")
		}
	}
	return Fix{
		stage: stageKey, SQL: script,
		Breaks: "INSERT … ON CONFLICT and joins that rely on the value alone: name " + column + " in them too; the table is locked while the index is built",
		Back:   "nobody needs it back; a value that must be unique over all tenants belongs into a table of its own",
	}
}

// columnList lists the key columns of an index.
func (i index) columnList() string {
	names := make([]string, len(i.Columns))
	for n, col := range i.Columns {
		names[n] = quoteIdent(col.Name)
	}
	return strings.Join(names, ", ")
}

// rereference is what becomes of a foreign key whose target key is replaced.
type rereference struct{ statement, manual string }

// references lists what to do with every foreign key that refers to the key.
func (c *Catalog) references(r *relation, i index) []rereference {
	var all []rereference
	for _, from := range c.order {
		for _, f := range from.foreign {
			if f.to != r || !sameColumns(f.References, i) {
				continue
			}
			if from.Column == "" {
				all = append(all, rereference{manual: fmt.Sprintf("%s refers to it by (%s) and has no %s: give it one first", from.Name, quoteIdents(f.Columns), r.Column)})
				continue
			}
			all = append(all, rereference{statement: withTenant(from, f)})
		}
	}
	return all
}

// sameColumns tells whether a foreign key refers to exactly these columns.
func sameColumns(references []string, i index) bool {
	if len(references) != len(i.Columns) {
		return false
	}
	for _, col := range i.Columns {
		if !slices.Contains(references, col.Name) {
			return false
		}
	}
	return true
}

// crossingKeys finds foreign keys between tables with tenants that do not carry
// the tenant.
func crossingKeys(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.tenantTables() {
		if r.Partition || !c.may(r, "INSERT") && !c.may(r, "UPDATE") {
			continue
		}
		for _, f := range r.foreign {
			if f.to.Column == "" || !f.to.table() || f.carries(r.Column, f.to.Column) {
				continue
			}
			found = append(found, Finding{
				Kind: "foreign key", Object: r.Name, Part: quoteIdent(f.Name),
				Evidence: fmt.Sprintf("(%s) refers to %s (%s) of any tenant", quoteIdents(f.Columns), f.to.Name, quoteIdents(f.References)),
				Fix: Fix{
					stage: stageKey, SQL: targetKey(f) + once(r, tenantKeyName(f), withTenant(r, f)),
					Breaks: "it fails if there are rows that refer to another tenant's: look for them first; both tables are locked while it is checked",
					Back:   "nobody needs it back",
				},
			})
		}
	}
	return found
}

// carries tells whether the tenant columns of both sides are a pair of the key.
func (f foreignKey) carries(column, target string) bool {
	for i := range f.Columns {
		if f.Columns[i] == column && f.References[i] == target {
			return true
		}
	}
	return false
}

// tenantKeyName is the name of the foreign key that carries the tenant.
func tenantKeyName(f foreignKey) string { return makeName(f.Name, "tenant") }

// targetKey is the script that makes (tenant, key) unique in the target of a
// foreign key; empty when it is.
func targetKey(f foreignKey) string {
	want := append([]string{f.to.Column}, f.References...)
	for _, i := range f.to.indexes {
		if i.Unique && i.Valid && !i.Partial && sameColumns(want, i) {
			return ""
		}
	}
	name := makeName(f.to.Relname, strings.Join(want, "_"), "key")
	return once(f.to, name, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s UNIQUE (%s);", f.to.Name, quoteIdent(name), quoteIdents(want))) + "\n"
}

// keyActions are the words for confdeltype and confupdtype.
var keyActions = map[string]string{"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

// withTenant is the statement that replaces a foreign key by one that carries
// the tenant.
func withTenant(r *relation, f foreignKey) string {
	rest := ""
	if action := keyActions[f.OnUpdate]; action != "" {
		rest += " ON UPDATE " + action
	}
	if action := keyActions[f.OnDelete]; action != "" {
		rest += " ON DELETE " + action
		if f.OnDelete == "n" || f.OnDelete == "d" { // never the tenant column
			set := f.DeleteSet
			if len(set) == 0 {
				set = f.Columns
			}
			rest += " (" + quoteIdents(set) + ")"
		}
	}
	if f.Deferrable {
		rest += " DEFERRABLE"
		if f.Deferred {
			rest += " INITIALLY DEFERRED"
		}
	}
	return fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s, ADD CONSTRAINT %s FOREIGN KEY (%s) REFERENCES %s (%s)%s;",
		r.Name, quoteIdent(f.Name), quoteIdent(tenantKeyName(f)), quoteIdents(append([]string{r.Column}, f.Columns...)),
		f.to.Name, quoteIdents(append([]string{f.to.Column}, f.References...)), rest)
}
