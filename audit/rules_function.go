package audit

import (
	"fmt"
	"regexp"
	"strings"
)

// dynamicSQL is EXECUTE of a text in PL/pgSQL, and not EXECUTE FUNCTION of a
// trigger or a privilege. Comments and strings are taken away before.
var dynamicSQL = regexp.MustCompile(`(?i)(^|[;>\s])EXECUTE[\s(]`)

// grantExecute is EXECUTE as a privilege.
var grantExecute = regexp.MustCompile(`(?i)\bEXECUTE\s+(ON|FUNCTION|PROCEDURE)\b`)

// noise is what a source holds beside code: comments and string constants.
var noise = regexp.MustCompile(`(?s)--[^\n]*|/\*.*?\*/|\b[Ee]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'`)

// dynamic tells whether the function runs a text as SQL.
func (f *function) dynamic() bool {
	if f.Language != "plpgsql" {
		return false
	}
	return dynamicSQL.MatchString(grantExecute.ReplaceAllString(noise.ReplaceAllString(f.Source, " "), ""))
}

// setting returns a setting that the function carries, by its name.
func (f *function) setting(name string) (value string, ok bool) {
	for _, s := range f.Config {
		if key, value, _ := strings.Cut(s, "="); strings.EqualFold(key, name) {
			return value, true
		}
	}
	return "", false
}

// label says what kind of routine it is.
func (f *function) label() string {
	if f.Kind == "p" {
		return "procedure"
	}
	return "function"
}

// alter is the beginning of a statement that changes the function.
func (f *function) alter() string { return "ALTER " + strings.ToUpper(f.label()) + " " + f.Name }

// beyond returns a table with tenants whose policies do not bind the role, or
// that it could take the policies from; nil when there is none.
func (c *Catalog) beyond(role uint32, mayAlter bool) *relation {
	for _, r := range c.tenantTables() {
		if c.bypasses(role, r) || mayAlter && c.roles[role].has(r.Owner) {
			return r
		}
	}
	return nil
}

// asCaller is the fix that lets a function run with the rights of its caller.
func asCaller(f *function) Fix {
	return Fix{
		stage: stageFunction, SQL: f.alter() + " SECURITY INVOKER;",
		Breaks: "the function, where it needs rights that its caller has not",
		Back:   f.alter() + " SECURITY DEFINER; and REVOKE EXECUTE from the role that the tenants share",
	}
}

// definers lists the functions that the app role may call and that run with the
// rights of somebody else.
func (c *Catalog) definers() []*function {
	var found []*function
	for i := range c.functions {
		if f := &c.functions[i]; f.Definer && f.Callable && !f.Trigger && !c.App.has(f.Owner) {
			found = append(found, f)
		}
	}
	return found
}

// definerFunctions finds SECURITY DEFINER functions that no policy binds. One that
// a policy calls is left out: it is a part of that policy, and must not be bound
// by it.
func definerFunctions(c *Catalog) []Finding {
	var found []Finding
	for _, f := range c.definers() {
		r := c.beyond(f.Owner, false)
		if r == nil || f.Policy || f.dynamic() {
			continue
		}
		found = append(found, Finding{
			Kind: f.label(), Object: f.Name,
			Evidence: fmt.Sprintf("%s may call it, it runs as %s, and the policies of %s do not bind that role", c.App.Name, c.roleName(f.Owner), r.Name),
			Fix:      asCaller(f),
		})
	}
	return found
}

// dynamicDefiners finds SECURITY DEFINER functions that run text as SQL with
// rights over tables of tenants.
func dynamicDefiners(c *Catalog) []Finding {
	var found []Finding
	for _, f := range c.definers() {
		r := c.beyond(f.Owner, true)
		if r == nil || !f.dynamic() {
			continue
		}
		found = append(found, Finding{
			Kind: f.label(), Object: f.Name,
			Evidence: fmt.Sprintf("%s may call it, it runs text as SQL as %s, who has power over %s", c.App.Name, c.roleName(f.Owner), r.Name),
			Fix:      asCaller(f),
		})
	}
	return found
}

// loosePaths finds SECURITY DEFINER functions whose names the caller can bend.
func loosePaths(c *Catalog) []Finding {
	var found []Finding
	for i := range c.functions {
		f := &c.functions[i]
		_, fixed := f.setting("search_path")
		if !f.Definer || fixed || f.Atomic || !f.Callable && !f.Trigger || c.App.has(f.Owner) || f.Language == "c" || f.Language == "internal" {
			continue
		}
		path := []string{"pg_catalog", quoteIdent(f.Schema)}
		if f.Schema != "public" {
			path = append(path, "public")
		}
		found = append(found, Finding{
			Kind: f.label(), Object: f.Name,
			Evidence: fmt.Sprintf("it runs as %s and finds its tables and functions by the search_path of whoever calls it", c.roleName(f.Owner)),
			Fix: Fix{
				stage: stageFunction, SQL: f.alter() + " SET search_path = " + strings.Join(append(path, "pg_temp"), ", ") + ";",
				Breaks: "the function, where it names objects of another schema without saying which",
				Back:   "add that schema to the path",
			},
		})
	}
	return found
}

// hiddenSQL finds functions of the caller's own rights that run text as SQL,
// which no guard in front of the server can read. A seal makes them harmless.
func hiddenSQL(c *Catalog) []Finding {
	if c.sealed() || len(c.tenantTables()) == 0 {
		return nil
	}
	var found []Finding
	for i := range c.functions {
		f := &c.functions[i]
		if f.Definer || !f.Callable || f.Trigger || !f.dynamic() {
			continue
		}
		found = append(found, Finding{
			Kind: f.label(), Object: f.Name, Evidence: c.App.Name + " may call it, and it runs text as SQL",
			Fix: Fix{
				stage: stageFunction, SQL: "REVOKE EXECUTE ON " + strings.ToUpper(f.label()) + " " + f.Name + " FROM PUBLIC, " + c.App.Name + ";",
				Breaks: "whatever of the application calls it; leave it when the text does not come from the caller, or seal the tables",
				Back:   "GRANT EXECUTE ON " + strings.ToUpper(f.label()) + " " + f.Name + " TO " + c.App.Name + ";",
			},
		})
	}
	return found
}
