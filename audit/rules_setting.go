package audit

import (
	"fmt"
	"slices"
	"strings"
)

// contextNames lists the settings that carry the context: those of the proxy,
// and those that policies read.
func (c *Catalog) contextNames() []string {
	names := append([]string{c.Options.TenantSetting}, c.Options.Settings...)
	for _, r := range c.order {
		for _, p := range r.policies {
			for _, clause := range p.clauses() {
				for _, reading := range parseExpr(clause).readings() {
					if name := strings.ToLower(reading.name); strings.Contains(name, ".") && !slices.Contains(names, name) {
						names = append(names, name)
					}
				}
			}
		}
	}
	return names
}

// switches are settings of the server that change who is asked for what.
var switches = []string{"role", "session_authorization", "row_security", "session_replication_role"}

// storedContext finds settings of the context that are stored where they come
// back after every reset, or may be stored.
func storedContext(c *Catalog) []Finding {
	names := c.context
	var found []Finding
	for _, s := range c.settings {
		if !slices.Contains(names, s.Name) && !slices.Contains(switches, s.Name) || s.Name == "row_security" && s.Role == "" {
			continue
		}
		where := "ROLE " + s.Role
		switch {
		case s.Role == "" && s.Database == "":
			where = "ROLE ALL"
		case s.Role == "":
			where = "DATABASE " + s.Database
		case s.Database != "":
			where += " IN DATABASE " + s.Database
		}
		found = append(found, Finding{
			Kind: "setting", Object: s.Name, Part: strings.ToLower(strings.SplitN(where, " ", 2)[0]) + " " + strings.SplitN(where, " ", 2)[1],
			Evidence: "ALTER " + where + " SET " + s.Name + " stands: every new connection of " + c.App.Name + " begins with it",
			Fix: Fix{
				stage: stageSetting, SQL: "ALTER " + where + " RESET " + s.Name + ";",
				Breaks: "code that relies on the stored value instead of the proxy",
				Back:   "ALTER ROLE … SET for the one role that needs it, which must not be the tenants'",
			},
		})
	}
	for _, p := range c.parameters {
		if !slices.Contains(names, p.Name) {
			continue
		}
		found = append(found, Finding{
			Kind: "setting", Object: p.Name, Part: "grant",
			Evidence: p.Grantee + " may " + p.Privilege + " it, and so store it with ALTER ROLE or a function",
			Fix: Fix{
				stage: stageSetting, SQL: "REVOKE " + p.Privilege + " ON PARAMETER " + p.Name + " FROM " + p.Grantee + ";",
				Breaks: "ALTER ROLE … SET and functions with SET by that role",
				Back:   "GRANT " + p.Privilege + " ON PARAMETER " + p.Name + " TO the role that needs it",
			},
		})
	}
	return found
}

// storedInFunctions finds functions that carry a context of their own.
func storedInFunctions(c *Catalog) []Finding {
	names := c.context
	var found []Finding
	for i := range c.functions {
		f := &c.functions[i]
		for _, name := range append(slices.Clone(names), switches...) {
			if _, ok := f.setting(name); !ok || !f.Callable && !f.Trigger {
				continue
			}
			found = append(found, Finding{
				Kind: f.label(), Object: f.Name, Part: name,
				Evidence: fmt.Sprintf("it runs with a value of its own for %s, and %s may call it", name, c.App.Name),
				Fix: Fix{
					stage: stageFunction, SQL: f.alter() + " RESET " + name + ";",
					Breaks: "the function, when it was to act for another tenant",
					Back:   f.alter() + " SET " + name + " = …; and REVOKE EXECUTE from " + c.App.Name,
				},
			})
		}
	}
	return found
}

// storedAnywhere finds stored context in roles, databases and functions.
func storedAnywhere(c *Catalog) []Finding {
	return append(storedContext(c), storedInFunctions(c)...)
}
