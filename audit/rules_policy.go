package audit

import (
	"fmt"
	"slices"
	"strings"
)

// policyCommands are the words for polcmd.
var policyCommands = map[string]string{"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}

// covers tells whether the policy holds for a command, given as in polcmd.
func (p policy) covers(command string) bool { return p.Command == "*" || p.Command == command }

// check is what a written row must satisfy: USING doubles as WITH CHECK.
func (p policy) check() string {
	if p.Check == "" && p.Command != "a" {
		return p.Using
	}
	return p.Check
}

// fenced tells whether restrictive policies tie the rows of every command of p
// to the tenant whatever the permissive policies say.
func (c *Catalog) fenced(r *relation, p policy) bool {
	commands := []string{p.Command}
	if p.Command == "*" {
		commands = []string{"r", "a", "w", "d"}
	}
	column, _ := r.tenantKey()
	for _, command := range commands {
		holds := func(f policy) bool {
			if f.Permissive || !f.covers(command) || !c.applies(f) {
				return false
			}
			reads := f.Using != "" && parseExpr(f.Using).binds(column)
			writes := f.check() != "" && parseExpr(f.check()).binds(column)
			return (command == "a" || reads) && (command == "r" || command == "d" || writes)
		}
		if !slices.ContainsFunc(r.policies, holds) {
			return false
		}
	}
	return true
}

// loose is one alternative of a permissive policy that does not compare the
// tenant column with the session.
type loose struct {
	on     *relation
	column string // that says whose a row is
	policy policy
	term   expr
	check  bool // it is the WITH CHECK that is loose
}

// looseTerms lists the alternatives of all permissive policies for the app role
// that do not bind the tenant and are not fenced in by a restrictive one.
func looseTerms(c *Catalog) []loose {
	var all []loose
	for _, r := range c.order {
		column, _ := r.tenantKey()
		if column == "" || !r.table() {
			continue
		}
		for _, p := range r.policies {
			if !p.Permissive || !c.applies(p) || c.fenced(r, p) {
				continue
			}
			var reading []string
			if p.Using != "" {
				for _, t := range parseExpr(p.Using).terms() {
					reading = append(reading, t.String())
					if !t.bindsTerm(column) {
						all = append(all, loose{r, column, p, t, false})
					}
				}
			}
			if p.Check == "" {
				continue
			}
			for _, t := range parseExpr(p.Check).terms() {
				if !t.bindsTerm(column) && !slices.Contains(reading, t.String()) {
					all = append(all, loose{r, column, p, t, true})
				}
			}
		}
	}
	return all
}

// kind says what a loose alternative decides by.
func (l loose) kind() string {
	own := l.term.mentions(l.column)
	nobody := own && strings.HasSuffix(l.term.String(), "IS NULL") && len(l.term.factors()) == 1
	switch {
	case l.term.defaultsToItself(l.column):
		return "everything"
	case nobody && l.policy.Command == "r":
		return "" // rows of nobody, to read: shared on purpose
	case l.term.asksTenant() && l.term.columns() && !own:
		return "another column"
	case l.term.asksTenant() && !own:
		return "a flag"
	case l.term.asksSession() && !own:
		return "the shared role"
	case l.term.columns() && (l.policy.Command == "r" || nobody):
		return "shared rows"
	}
	return "everything"
}

// asksTenant tells whether the part depends on the session by more than the
// role, which all tenants share.
func (e expr) asksTenant() bool {
	for i := e.lo; i < e.hi; i++ {
		if t := e.at(i); !t.quoted && (t.word == "current_setting" || t.word == "from") || e.isCall(i) {
			return true
		}
	}
	return false
}

// loosePolicy makes the finding for a loose alternative.
func (c *Catalog) loosePolicy(l loose, evidence string) Finding {
	clause := "USING"
	if l.check {
		clause = "WITH CHECK"
	}
	return Finding{
		Kind: "policy", Object: l.on.Name, Part: quoteIdent(l.policy.Name),
		Evidence: fmt.Sprintf("FOR %s, %s has the alternative %s, %s", policyCommands[l.policy.Command], clause, l.term, evidence),
		Fix: Fix{
			stage: stagePolicy, SQL: c.tighten(l), target: l.on.Name + "/" + l.policy.Name, rank: 3,
			Breaks: "what was meant to see or write rows of other tenants does not any more",
			Back:   fmt.Sprintf("a role of its own for that, and CREATE POLICY … ON %s TO that_role USING (%s);", l.on.Name, l.term),
		},
	}
}

// tighten is the statement that adds the tenant to what a loose policy asks.
func (c *Catalog) tighten(l loose) string {
	condition := c.tenantCondition(l.on.tenantKey())
	bind := func(text string) string {
		e := parseExpr(text)
		switch {
		case text == "":
			return ""
		case e.constantTrue() || e.defaultsToItself(l.column) && len(e.factors()) == 1 && len(e.terms()) == 1:
			return condition
		case e.binds(l.column):
			return text
		}
		return condition + " AND (" + e.bare().String() + ")"
	}
	p := policy{Using: bind(l.policy.Using), Check: bind(l.policy.Check)}
	return "ALTER POLICY " + quoteIdent(l.policy.Name) + " ON " + l.on.Name + p.conditions() + ";"
}

// everything words why an alternative lets every row through.
func (l loose) everything() string {
	if l.term.defaultsToItself(l.column) {
		return "which every row satisfies where there is no context"
	}
	return "which asks for nothing of the session"
}

// ignoringPolicies finds policies under which any tenant gets at any row.
func ignoringPolicies(c *Catalog) []Finding {
	var found []Finding
	for _, l := range looseTerms(c) {
		if !l.check && l.on.Column != "" && l.kind() == "everything" {
			found = append(found, c.loosePolicy(l, l.everything()))
		}
	}
	return found
}

// flagPolicies finds policies that admit a session to rows of every tenant, or
// share rows.
func flagPolicies(c *Catalog) []Finding {
	says := map[string]string{
		"a flag":          "which asks no row whose it is",
		"the shared role": "which asks for the role, and all tenants share it",
		"shared rows":     "which shows rows to every tenant",
	}
	var found []Finding
	for _, l := range looseTerms(c) {
		if evidence := says[l.kind()]; evidence != "" && l.on.Column != "" {
			f := c.loosePolicy(l, evidence)
			if l.kind() == "a flag" {
				f.Fix = c.ownRole(l)
			}
			found = append(found, f)
		}
	}
	return found
}

// ownRole moves what a policy gives by a flag to a role of its own.
func (c *Catalog) ownRole(l loose) Fix {
	r, p := l.on, l.policy
	plain := makeName(c.App.Rolname, "admin")
	admin, name := quoteIdent(plain), quoteIdent(p.Name)
	script := makeRole(plain) + "\n"
	script += fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;\nGRANT %s ON %s TO %s;\n",
		quoteIdent(r.Schema), admin, strings.Join(c.grantable(r), ", "), r.Name, admin)
	kept, moved := p.divide(l.column)
	if kept.Using == "" && kept.Check == "" {
		script += "ALTER POLICY " + name + " ON " + r.Name + " TO " + admin + p.conditions() + ";"
	} else {
		script += "ALTER POLICY " + name + " ON " + r.Name + kept.conditions() + ";\n" +
			createPolicy(quoteIdent(makeName(p.Name, "admin")), r.Name, "FOR "+policyCommands[p.Command]+" TO "+admin+moved.conditions())
	}
	return Fix{
		stage: stagePolicy, SQL: script, target: r.Name + "/" + p.Name, rank: 2,
		Breaks: "administrators who come in as " + c.App.Name + " see their own tenant only",
		Back:   "a login for them that is a member of " + admin + ", with an entry of its own in databases",
	}
}

// divide splits a policy into the alternatives that bind the tenant and those
// that do not.
func (p policy) divide(column string) (kept, moved policy) {
	part := func(text string) (bound, free string) {
		var with, without []string
		for _, t := range parseExpr(text).terms() {
			if t.bindsTerm(column) {
				with = append(with, "("+t.String()+")")
			} else {
				without = append(without, "("+t.String()+")")
			}
		}
		return strings.Join(with, " OR "), strings.Join(without, " OR ")
	}
	if p.Using != "" {
		kept.Using, moved.Using = part(p.Using)
	}
	if p.Check != "" {
		kept.Check, moved.Check = part(p.Check)
	}
	return kept, moved
}

// conditions writes the conditions of a policy, its settings read once for a
// statement.
func (p policy) conditions() string {
	var text string
	if p.Using != "" {
		text += " USING (" + parseExpr(p.Using).steady() + ")"
	}
	if p.Check != "" {
		text += " WITH CHECK (" + parseExpr(p.Check).steady() + ")"
	}
	return text
}

// grantable lists what the app role may do with the rows of a table, as GRANT
// wants it.
func (c *Catalog) grantable(r *relation) []string {
	if may := c.commands(r); len(may) > 0 {
		return may
	}
	return []string{"SELECT"}
}

// otherColumnPolicies finds policies that tie rows to the session by something
// else than the tenant.
func otherColumnPolicies(c *Catalog) []Finding {
	var found []Finding
	for _, l := range looseTerms(c) {
		if l.kind() == "another column" && l.on.Column != "" {
			found = append(found, c.loosePolicy(l, "which does not ask for "+quoteIdent(l.column)))
		}
	}
	return found
}

// openChecks finds policies that let rows be written for any tenant.
func openChecks(c *Catalog) []Finding {
	var found []Finding
	for _, l := range looseTerms(c) {
		if l.check && l.on.Column != "" && l.kind() == "everything" {
			found = append(found, c.loosePolicy(l, "so that a row may be written for any tenant"))
		}
	}
	return found
}

// partialPolicies finds commands that are granted and that no policy admits.
func partialPolicies(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.order {
		if !r.table() || !r.Secured || c.App.unbound() || r.covered() {
			continue
		}
		var admitting []policy
		for _, p := range r.policies {
			if p.Permissive && c.applies(p) {
				admitting = append(admitting, p)
			}
		}
		var missing []string
		for i, command := range rowCommands {
			covers := func(p policy) bool { return p.covers("rawd"[i : i+1]) }
			if c.may(r, command) && !slices.ContainsFunc(admitting, covers) {
				missing = append(missing, command)
			}
		}
		if len(admitting) == 0 || len(missing) == 0 {
			continue
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("%s may %s, and no policy admits that", c.App.Name, list(missing)),
			Fix: Fix{
				stage: stageGrant, SQL: c.revoke(r, missing...),
				Breaks: "a statement that silently found no rows fails with 42501 from now on",
				Back:   fmt.Sprintf("GRANT %s ON %s TO %s; and a policy for it", strings.Join(missing, ", "), r.Name, c.grantor(r, missing[0])),
			},
		})
	}
	return found
}
