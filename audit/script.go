package audit

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteScript writes the statements that mend the findings as one script for
// psql, in the order in which they are safe to run, each with what it closes,
// what it may break and how to give that back. Running it twice does no harm.
func (r *Report) WriteScript(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, scriptHead, comment(r.Server.Database), comment(r.AppRole), r.Summary(),
		doBlock("IF current_database() <> "+quoteLiteral(r.Server.Database)+" THEN\n    RAISE EXCEPTION 'this script was made for another database';\n  END IF;"))
	var at stage = -1
	for _, f := range r.fixes() {
		if f.Fix.stage != at {
			at = f.Fix.stage
			fmt.Fprintf(&out, "\n-- == %s ==\n", stageTitles[at])
		}
		fmt.Fprintf(&out, "\n-- %s\n", strings.Join(wrapComment("closes", f.closes), "\n-- "))
		fmt.Fprintf(&out, "-- %s\n", strings.Join(wrapComment("may break", f.Fix.Breaks), "\n-- "))
		fmt.Fprintf(&out, "-- %s\n", strings.Join(wrapComment("give back", f.Fix.Back), "\n-- "))
		out.WriteString(f.Fix.SQL + "\n")
	}
	out.WriteString("\nCOMMIT;\n")
	first := true
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Fix.SQL == "" {
			if first {
				out.WriteString("\n-- == what no statement can decide ==\n")
				first = false
			}
			fmt.Fprintf(&out, "-- %s\n", strings.Join(wrapComment(f.Rule.ID+" "+f.Name(), f.Fix.Manual), "\n-- "))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// scriptHead begins the script: it stops at the first error and refuses another
// database than the one that was examined.
const scriptHead = `-- What tenantgate audit found in the database %s for the role %s.
-- Read it before you run it. Nothing has been applied. Every statement says what it closes, what it may
-- break and how to give that back. As a superuser: psql -X -f THIS_FILE -d DATABASE
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL search_path = pg_catalog;
SET LOCAL lock_timeout = '10s'; -- rather fail than make the application wait
-- %s
%s
`

// scripted is a fix of the script with all that it closes.
type scripted struct {
	Finding
	closes string
}

// fixes lists the statements in order. The same script for several findings is
// there once, and of several that define the same thing anew the one that does
// most.
func (r *Report) fixes() []scripted {
	var all []scripted
	at := map[string]int{} // by script, and by what it defines
	for _, f := range r.Findings {
		if f.Fix.SQL == "" {
			continue
		}
		closes := f.Rule.ID + " " + f.Rule.Title + ": " + f.Name()
		key := f.Fix.target
		if key == "" {
			key = f.Fix.SQL
		}
		n, ok := at[key]
		if !ok {
			at[key] = len(all)
			all = append(all, scripted{f, closes})
			continue
		}
		if f.Fix.rank > all[n].Fix.rank {
			all[n].Fix = f.Fix
		}
		all[n].closes += "; " + closes
	}
	slices.SortStableFunc(all, func(a, b scripted) int { return int(a.Fix.stage) - int(b.Fix.stage) })
	return all
}

// comment makes a text safe behind --.
func comment(text string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(text) }

// commentWidth is where comments of the script are wrapped.
const commentWidth = 110

// wrapComment cuts a comment into lines, the further ones indented.
func wrapComment(head, text string) []string {
	lines := []string{comment(head) + ":"}
	for word := range strings.FieldsSeq(comment(text)) {
		last := &lines[len(lines)-1]
		if len(*last)+1+len(word) > commentWidth {
			lines = append(lines, "  "+word)
			continue
		}
		*last += " " + word
	}
	return lines
}
