package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Report is what an audit has found.
type Report struct {
	Server   Server
	AppRole  string    // unquoted
	Tables   int       // with a tenant column
	Columns  []string  // the names that were looked for
	Findings []Finding // the worst first, by rule, then by name
	Ignored  []Ignored
	Stale    []Ignore // ignore lines that fit no finding
	Unseen   []Unseen
	Notes    []string // what the reader should know about the audit itself
	Proof    []Proof  // of -prove; nil: it was not asked for
}

// Ignored is a finding that the operator has accepted.
type Ignored struct {
	Finding Finding
	By      Ignore
}

// Run applies the rules that the snapshot was taken for. What ignores fit is
// taken out of the findings.
func Run(c *Catalog, ignores []Ignore) *Report {
	rules := c.Options.Rules
	if rules == nil {
		rules = Rules
	}
	report := &Report{
		Server: c.Server, AppRole: c.App.Rolname, Tables: len(c.tenantTables()), Columns: c.Options.TenantColumns, Unseen: slices.Clone(c.unseen),
	}
	used := map[Ignore]bool{}
	for _, rule := range rules {
		if report.blind(rule) {
			continue
		}
		for _, f := range rule.check(c) {
			f.Rule = rule
			if n := slices.IndexFunc(ignores, func(i Ignore) bool { return i.fits(&f) }); n >= 0 {
				used[ignores[n]] = true
				report.Ignored = append(report.Ignored, Ignored{f, ignores[n]})
				continue
			}
			report.Findings = append(report.Findings, f)
		}
	}
	for _, i := range ignores {
		if !used[i] && slices.ContainsFunc(rules, func(r *Rule) bool { return i.Rule == "*" || i.Rule == r.ID }) {
			report.Stale = append(report.Stale, i)
		}
	}
	slices.SortStableFunc(report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Rule.Level, a.Rule.Level), cmp.Compare(a.Rule.ID, b.Rule.ID), compareNames(a.Object, b.Object), cmp.Compare(a.Part, b.Part))
	})
	report.Notes = c.notes(rules)
	return report
}

// blind notes that a rule cannot be run for want of a part of the catalogue.
func (r *Report) blind(rule *Rule) bool {
	blind := false
	for i := range r.Unseen {
		if slices.Contains(rule.needs, part(r.Unseen[i].Part)) {
			r.Unseen[i].Rules = append(r.Unseen[i].Rules, rule.ID)
			blind = true
		}
	}
	return blind
}

// notes says what limits the audit.
func (c *Catalog) notes(rules []*Rule) []string {
	var notes []string
	if len(c.tenantTables()) == 0 {
		note := "no table has a column " + strings.Join(c.Options.TenantColumns, " or ") + "; name yours with -tenant-column"
		if likely := c.likelyColumns(); len(likely) > 0 {
			note += ": policies compare " + strings.Join(likely, ", ") + " with the session"
		}
		notes = append(notes, note)
	}
	if c.Options.Settings == nil && slices.ContainsFunc(rules, func(r *Rule) bool { return r.ID == "TG043" }) {
		notes = append(notes, "without -config it is not known which settings the proxy sets: TG043 was not run")
	}
	if c.App.Super {
		notes = append(notes, c.App.Name+" is a superuser, whom no grant binds: rules about grants say nothing; name the application's role with -app-role")
	}
	return notes
}

// likelyColumns lists columns that policies compare with the session.
func (c *Catalog) likelyColumns() []string {
	var names []string
	for _, r := range c.order {
		for _, p := range r.policies {
			e := parseExpr(p.Using)
			for i, t := range e.tokens {
				if t.word != "" && !keywords[t.word] && e.at(i+1).text == "=" && e.asksTenant() && !slices.Contains(names, t.word) {
					names = append(names, t.word)
				}
			}
		}
	}
	slices.Sort(names)
	return names[:min(len(names), 5)]
}

// Count is how many findings have the level.
func (r *Report) Count(level Level) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Rule.Level == level {
			n++
		}
	}
	return n
}

// Fails tells whether a finding has the level or a worse one.
func (r *Report) Fails(level Level) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Rule.Level >= level })
}

// Leaks tells whether the proof has shown that a table leaks.
func (r *Report) Leaks() bool {
	return slices.ContainsFunc(r.Proof, func(p Proof) bool { return p.Result == leaked })
}

// Summary counts the findings in one line.
func (r *Report) Summary() string {
	var parts []string
	for _, level := range Levels {
		n := r.Count(level)
		word := map[Level]string{LevelError: "error", LevelWarning: "warning", LevelInfo: "note"}[level]
		if n != 1 {
			word += "s"
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, word))
	}
	text := strings.Join(parts, ", ")
	if n := len(r.Ignored); n > 0 {
		text += fmt.Sprintf("; %d ignored", n)
	}
	return text
}
