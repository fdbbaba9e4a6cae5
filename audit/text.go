package audit

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Style says how a text report looks.
type Style struct {
	Color bool // with ANSI colours
	Width int  // columns to wrap at; 0: 100
}

// The ANSI sequences of the report.
const (
	ansiReset = "\x1b[0m"
	ansiBold  = "\x1b[1m"
	ansiDim   = "\x1b[2m"
)

// levelColor are the sequences of the levels.
var levelColor = map[Level]string{LevelError: "\x1b[1;31m", LevelWarning: "\x1b[1;33m", LevelInfo: "\x1b[1;36m"}

// textWriter writes a report for people.
type textWriter struct {
	out   strings.Builder
	style Style
	shown map[string]string // scripts, and the rule under which they stand
}

// WriteText writes the report for people: the worst first, grouped by rule.
func (r *Report) WriteText(w io.Writer, style Style) error {
	if style.Width == 0 {
		style.Width = 100
	}
	t := &textWriter{style: style, shown: map[string]string{}}
	t.line("", "%s", t.paint(ansiBold, fmt.Sprintf("database %s, app role %s, PostgreSQL %s: %s with a column %s",
		r.Server.Database, r.AppRole, r.Server.Release, plural(r.Tables, "table"), strings.Join(r.Columns, " or "))))
	for i := 0; i < len(r.Findings); {
		n := i
		for n < len(r.Findings) && r.Findings[n].Rule == r.Findings[i].Rule {
			n++
		}
		t.group(r.Findings[i:n])
		i = n
	}
	t.proof(r.Proof)
	t.rest(r)
	_, err := io.WriteString(w, t.out.String())
	return err
}

// group writes the findings of one rule.
func (t *textWriter) group(findings []Finding) {
	rule := findings[0].Rule
	t.out.WriteByte('\n')
	t.line("", "%s %s %s", t.paint(levelColor[rule.Level], fmt.Sprintf("%-7s", rule.Level)), t.paint(ansiBold, rule.ID), t.paint(ansiBold, rule.Title))
	t.line("  ", "%s", t.paint(ansiDim, rule.Why))
	for i := range findings {
		f := &findings[i]
		t.line("  - ", "%s %s: %s", f.Kind, t.paint(ansiBold, printable(f.Name())), printable(f.Evidence))
		other := t.shown[f.Fix.SQL]
		switch {
		case f.Fix.SQL == "":
			t.line("    ", "by hand: %s", printable(f.Fix.Manual))
		case other != "":
			t.line("    ", "mended by the SQL of %s", other)
		case i < maxScripts:
			t.sql(f.Fix.SQL)
		case i == maxScripts:
			t.line("    ", "mended in the same way, as are the next: see -fix-sql")
		}
		if f.Fix.SQL != "" && other == "" {
			t.shown[f.Fix.SQL] = rule.ID
		}
	}
}

// maxScripts is for how many findings of a rule the SQL is shown.
const maxScripts = 3

// maxStatement is how many lines of a script the report shows; the rest is in
// the output of -fix-sql.
const maxStatement = 4

// sql writes the beginning of a script, indented.
func (t *textWriter) sql(script string) {
	lines := strings.Split(script, "\n")
	for _, line := range lines[:min(len(lines), maxStatement)] {
		t.out.WriteString("      " + t.paint(ansiDim, printable(line)) + "\n")
	}
	if more := len(lines) - maxStatement; more > 0 {
		t.out.WriteString("      " + t.paint(ansiDim, fmt.Sprintf("-- and %s: see -fix-sql", plural(more, "line"))) + "\n")
	}
}

// proof writes what acting as two tenants has shown: the tables that are not
// isolated by name, the others by number.
func (t *textWriter) proof(proofs []Proof) {
	if len(proofs) == 0 {
		return
	}
	isolated := 0
	t.out.WriteByte('\n')
	t.line("", "%s", t.paint(ansiBold, "proof, as two tenants in transactions that were rolled back"))
	for _, result := range []string{leaked, unproved, proved} {
		for _, p := range proofs {
			if p.Result != result {
				continue
			}
			if p.Result == proved {
				isolated++
				if len(p.Detail) == 0 {
					continue
				}
			}
			color := map[string]string{leaked: levelColor[LevelError], unproved: levelColor[LevelWarning], proved: ansiDim}[result]
			if p.Ignored {
				color, result = ansiDim, "ignored"+because(p.Reason)+": "+result
			}
			t.line("  - ", "%s %s: %s", t.paint(color, result), printable(p.Table), printable(strings.Join(p.Detail, "; ")))
		}
	}
	t.line("", "%d of %s isolated: neither tenant sees, changes, deletes, inserts for or moves rows to the other", isolated, plural(len(proofs), "table"))
}

// rest writes what is not a finding.
func (t *textWriter) rest(r *Report) {
	t.out.WriteByte('\n')
	for _, i := range r.Ignored {
		t.line("", "ignored: %s %s%s", i.Finding.Rule.ID, printable(i.Finding.Name()), because(i.By.Reason))
	}
	for _, s := range r.Stale {
		t.line("", "stale: %s (%s) fits no finding any more", s, s.Source)
	}
	for _, u := range r.Unseen {
		t.line("", "not seen: %s (%s); not run: %s", u.Part, u.Cause, strings.Join(u.Rules, ", "))
	}
	for _, n := range r.Notes {
		t.line("", "note: %s", n)
	}
	t.line("", "%s", t.paint(ansiBold, r.Summary()))
}

// printable takes the control characters out of what the database holds: names
// must not steer the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// because words a reason.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// plural counts things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// paint colours a text where colours are wanted. Wrapped lines keep the colour.
func (t *textWriter) paint(sequence, text string) string {
	if !t.style.Color {
		return text
	}
	return sequence + strings.ReplaceAll(text, " ", ansiReset+" "+sequence) + ansiReset
}

// line writes a paragraph, wrapped, its first line behind the bullet.
func (t *textWriter) line(bullet, format string, args ...any) {
	indent := strings.Repeat(" ", len(bullet))
	prefix, column := bullet, len(bullet)
	t.out.WriteString(prefix)
	first := true
	for word := range strings.FieldsSeq(fmt.Sprintf(format, args...)) {
		width := visible(word)
		switch {
		case first:
		case column+1+width > t.style.Width:
			t.out.WriteString("\n" + indent)
			column = len(indent)
		default:
			t.out.WriteByte(' ')
			column++
		}
		t.out.WriteString(word)
		column, first = column+width, false
	}
	t.out.WriteByte('\n')
}

// visible is the width of a word on the terminal.
func visible(word string) int {
	n := 0
	for i := 0; i < len(word); i++ {
		if word[i] == '\x1b' {
			i += max(0, strings.IndexByte(word[i:], 'm'))
			continue
		}
		if word[i]&0xC0 != 0x80 {
			n++
		}
	}
	return n
}
