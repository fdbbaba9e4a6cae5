package audit

import (
	"fmt"
	"io"
	"strings"
)

// levelMeanings say what the levels stand for.
var levelMeanings = map[Level]string{
	LevelError:   "one tenant can reach the rows of another, or nothing would stop it",
	LevelWarning: "a side door, an oracle, or something that fails when it should not",
	LevelInfo:    "it costs time or foresight only",
}

// Explain writes what a rule is about, where it is looked at, and how a finding
// is mended or accepted.
func (r *Rule) Explain(w io.Writer) error {
	when := "tenantgate audit"
	if r.Role {
		when += ", check and serve"
	}
	_, err := fmt.Fprintf(w, `%[1]s (%[2]s): %[3]s

%[4]s

%-11[2]s %[5]s
looked at   by %[6]s
mended by   the SQL under each finding, where a statement can decide; with -fix-sql
            it says what it may break and how to give that back
accepted by -ignore %[1]s:OBJECT, or in the -ignore-file: %[1]s:OBJECT # reason
`, r.ID, r.Level, r.Title, r.Why, levelMeanings[r.Level], when)
	return err
}

// RuleList names all rules, a line each.
func RuleList() string {
	var lines []string
	for _, r := range Rules {
		lines = append(lines, fmt.Sprintf("%s %-7s %s", r.ID, r.Level, r.Title))
	}
	return strings.Join(lines, "\n")
}

// RuleTable is the table of all rules in Markdown.
func RuleTable() string {
	var b strings.Builder
	b.WriteString("| rule | level | what is wrong |\n| --- | --- | --- |\n")
	for _, r := range Rules {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.ID, r.Level, r.Title)
	}
	return b.String()
}
