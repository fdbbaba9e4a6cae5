package audit

import (
	"fmt"
	"slices"
	"strings"
)

// steadyPolicy is the statement that rewrites a policy so that settings are read
// once for a statement and without a context give NULL.
func steadyPolicy(r *relation, p policy) Fix {
	return Fix{
		stage: stagePolicy, target: r.Name + "/" + p.Name, rank: 1,
		SQL:    "ALTER POLICY " + quoteIdent(p.Name) + " ON " + r.Name + p.conditions() + ";",
		Breaks: "nothing that works; what failed with 42704 or 22P02 without a context finds no rows instead",
		Back:   "ALTER POLICY with the condition that stands in the finding",
	}
}

// clauses lists the conditions of a policy, USING first.
func (p policy) clauses() []string {
	return slices.DeleteFunc([]string{p.Using, p.Check}, func(s string) bool { return s == "" })
}

// scans lists the conditions that are asked of rows that a scan looks at: not
// WITH CHECK, which is asked of rows that are written.
func (p policy) scans() []string {
	if p.Using == "" {
		return nil
	}
	return []string{p.Using}
}

// castColumns finds policies that cast the tenant column, whose index then does
// not fit the condition.
func castColumns(c *Catalog) []Finding {
	found := eachPolicy(c, policy.scans, func(r *relation, e expr) string {
		if f := e.castFactor(r); f.hi > f.lo {
			return f.String() + " does not fit an index on " + quoteIdent(r.Column)
		}
		return ""
	})
	for i := range found {
		r, p := c.policyOf(&found[i])
		e := parseExpr(p.Using)
		f := e.castFactor(r)
		p.Using = p.Using[:e.starts[f.lo]] + c.tenantCondition(r.tenantKey()) + p.Using[e.starts[f.hi-1]+len(e.tokens[f.hi-1].text):]
		found[i].Fix.SQL = "ALTER POLICY " + quoteIdent(p.Name) + " ON " + r.Name + p.conditions() + ";"
		found[i].Fix.rank = 2
	}
	return found
}

// policyOf returns the policy that a finding is about.
func (c *Catalog) policyOf(f *Finding) (*relation, policy) {
	for _, r := range c.order {
		if r.Name != f.Object {
			continue
		}
		for _, p := range r.policies {
			if quoteIdent(p.Name) == f.Part {
				return r, p
			}
		}
	}
	return nil, policy{}
}

// castFactor is the condition of the part that compares the tenant column, cast
// to text, with the setting of the tenant; empty when there is none.
func (e expr) castFactor(r *relation) expr {
	for _, t := range e.terms() {
		for _, f := range t.factors() {
			cast := f.at(f.lo).text == "(" && f.at(f.lo+1).word == r.Column && f.at(f.lo+2).text == ")" &&
				f.at(f.lo+3).text == "::" && f.at(f.lo+4).word == "text" && f.at(f.lo+5).text == "="
			if cast && r.Column != "" && r.ColumnType == "uuid" && len(f.readings()) == 1 {
				return f
			}
		}
	}
	return e.slice(0, 0)
}

// eachPolicy makes a finding for every policy that binds the app role and in
// which evidence finds something to say.
func eachPolicy(c *Catalog, clauses func(policy) []string, evidence func(r *relation, e expr) string) []Finding {
	var found []Finding
	for _, r := range c.order {
		for _, p := range r.policies {
			if !c.applies(p) {
				continue
			}
			for _, clause := range clauses(p) {
				if says := evidence(r, parseExpr(clause)); says != "" {
					found = append(found, Finding{
						Kind: "policy", Object: r.Name, Part: quoteIdent(p.Name), Evidence: says, Fix: steadyPolicy(r, p),
					})
					break
				}
			}
		}
	}
	return found
}

// fragileReadings finds policies that raise an error where there is no context.
func fragileReadings(c *Catalog) []Finding {
	return eachPolicy(c, policy.clauses, func(_ *relation, e expr) string {
		for _, r := range e.readings() {
			if why := r.fragile(); why != "" {
				return e.slice(r.lo, r.hi).String() + " " + why
			}
		}
		return ""
	})
}

// perRowReadings finds policies that read the context again for every row.
func perRowReadings(c *Catalog) []Finding {
	return eachPolicy(c, policy.scans, func(_ *relation, e expr) string {
		if calls := e.perRow(); len(calls) > 0 {
			return calls[0] + " is evaluated for every row that is looked at"
		}
		return ""
	})
}

// lostIndexes finds tables whose policies are joined with OR so that the index
// on the tenant column is not used.
func lostIndexes(c *Catalog) []Finding {
	var found []Finding
	for _, r := range c.tenantTables() {
		var bound, other []string
		var moved []Fix
		for _, p := range r.policies {
			if !p.Permissive || !c.applies(p) || !p.covers("r") || p.Using == "" {
				continue
			}
			for _, t := range parseExpr(p.Using).terms() {
				if t.bindsTerm(r.Column) && !t.sealedAdmin() {
					bound = append(bound, p.Name)
					continue
				}
				other = append(other, quoteIdent(p.Name)+": "+t.String())
				if l := (loose{on: r, column: r.Column, policy: p, term: t}); !c.fenced(r, p) {
					moved = append(moved, c.ownRole(l))
				}
			}
		}
		if len(bound) == 0 || len(other) == 0 || len(moved) == 0 {
			continue
		}
		found = append(found, Finding{
			Kind: r.label(), Object: r.Name,
			Evidence: fmt.Sprintf("the tenant's condition is joined by OR with %s", strings.Join(other, "; ")),
			Fix:      mergeFixes(moved),
		})
	}
	return found
}

// mergeFixes makes one fix of several for the same object.
func mergeFixes(fixes []Fix) Fix {
	all := fixes[0]
	for _, f := range fixes[1:] {
		if strings.Contains(all.SQL, f.SQL) {
			continue
		}
		all.SQL, all.target = all.SQL+"\n"+f.SQL, ""
	}
	return all
}

// unknownSettings finds policies that decide by settings which the proxy does
// not enter, so that every client may set them.
func unknownSettings(c *Catalog) []Finding {
	if c.Options.Settings == nil {
		return nil
	}
	var found []Finding
	for _, r := range c.order {
		for _, p := range r.policies {
			if !c.applies(p) {
				continue
			}
			var names []string
			for _, clause := range p.clauses() {
				for _, reading := range parseExpr(clause).readings() {
					name := strings.ToLower(reading.name)
					if strings.Contains(name, ".") && !c.Options.reserved(name) && !slices.Contains(names, name) {
						names = append(names, name)
					}
				}
			}
			if len(names) == 0 {
				continue
			}
			found = append(found, Finding{
				Kind: "policy", Object: r.Name, Part: quoteIdent(p.Name),
				Evidence: fmt.Sprintf("it reads %s, which tenantgate does not set", list(names)),
				Fix:      Fix{Manual: "list " + list(names) + " in context.settings of the configuration, so that the proxy sets and guards it"},
			})
		}
	}
	return found
}
