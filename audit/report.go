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
	if names := c.otherSettings(); len(names) > 0 {
		notes = append(notes, "policies compare the tenant column with "+strings.Join(names, ", ")+" and not with "+c.Options.TenantSetting+
			", for which the SQL here is written; name yours with -tenant-setting")
	}
	if c.seal.installed && c.Options.Keyless {
		notes = append(notes, "the database is sealed and context.seal names no key: its sealed tables show no rows")
	}
	if c.Options.Settings == nil && slices.ContainsFunc(rules, func(r *Rule) bool { return r.ID == "TG043" }) {
		notes = append(notes, "without -config it is not known which settings the proxy sets: TG043 was not run")
	}
	if c.App.Super {
		notes = append(notes, c.App.Name+" is a superuser, whom no grant binds: rules about grants say nothing; name the application's role with -app-role")
	}
	return notes
}

// otherSettings lists what policies compare the tenant column with in place of
// the tenant's setting.
func (c *Catalog) otherSettings() []string {
	var names []string
	for _, r := range c.tenantTables() {
		for _, p := range r.policies {
			for _, clause := range p.clauses() {
				names = append(names, parseExpr(clause).bindsTo(r.Column)...)
			}
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == c.Options.TenantSetting })
}

// bindsTo lists the settings that the column is compared with.
func (e expr) bindsTo(column string) []string {
	var names []string
	for _, t := range e.terms() {
		for _, f := range t.factors() {
			for _, reading := range f.readings() {
				if reading.name != "" && f.bindsFactor(column) {
					names = append(names, strings.ToLower(reading.name))
				}
			}
		}
	}
	return names
}

// nothingToExamine finds that no table has a column by one of the names.
func nothingToExamine(c *Catalog) []Finding {
	if len(c.tenantTables()) > 0 {
		return nil
	}
	evidence := "no table has a column " + strings.Join(c.Options.TenantColumns, " or ")
	if likely := c.likelyColumns(); len(likely) > 0 {
		evidence += ", and policies compare " + strings.Join(likely, ", ") + " with the session"
	}
	return []Finding{{
		Kind: "database", Object: quoteIdent(c.Server.Database), Evidence: evidence,
		Fix: Fix{Manual: "name the column with -tenant-column, and the database in the dsn"},
	}}
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

// AddProof takes in what the proof has shown; ignores of the form proof:TABLE
// accept a table that is not isolated, or of which that could not be shown.
func (r *Report) AddProof(proofs []Proof, ignores []Ignore) {
	r.Proof = proofs
	used := map[Ignore]bool{}
	for n := range r.Proof {
		p := &r.Proof[n]
		for _, i := range ignores {
			if i.Rule == proofRule && p.Result != proved && glob(i.Object, p.Table) {
				p.Ignored, p.Reason, used[i] = true, i.Reason, true
			}
		}
	}
	for _, i := range ignores {
		if i.Rule == proofRule && !used[i] {
			r.Stale = append(r.Stale, i)
		}
	}
	if len(proofs) == 0 {
		r.Notes = append(r.Notes, "the proof has tried nothing: "+r.AppRole+" reaches no table with a tenant column")
	}
}

// Proved tells whether the proof has shown of every table that it is isolated,
// but for those that are ignored. It is false where there was no table.
func (r *Report) Proved() bool {
	return len(r.Proof) > 0 && !slices.ContainsFunc(r.Proof, func(p Proof) bool { return p.Result != proved && !p.Ignored })
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
