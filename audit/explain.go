package audit

import (
	"fmt"
	"io"
	"strings"
)

// Explain writes what a rule is about.
func (r *Rule) Explain(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s (%s): %s\n\n%s\n", r.ID, r.Level, r.Title, r.Why)
	return err
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
