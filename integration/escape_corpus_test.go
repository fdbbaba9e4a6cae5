package integration

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// escape is one attempt of tenant A to read or change what is tenant B's, or a
// control that must go on working. testdata/escapes/README.md has the language.
type escape struct {
	class string // the name of the file
	name  string
	where string // file and line
	marks marks
	steps []escapeStep
}

// marks are the words in the brackets of a title.
type marks struct {
	control    bool // must work, in every mode, and see A's rows
	stopped    bool // PostgreSQL itself stops it, or the proxy in every mode
	pastGuard  bool // reaches B's rows in spite of the guard
	pastSeal   bool // reaches B's rows in spite of the seal
	limit      bool // shows something of B in every mode: a documented limit of row security
	oneBackend bool // every session gets the same backend
	since      int  // the first major version that has the syntax
}

// escapeStep is one step: who does what with which words.
type escapeStep struct {
	bravo bool     // in the session of tenant B
	verb  string   // see verbs
	sql   string   // the words, up to the first bar
	args  []string // what bars separate behind them
}

// verbs are the steps that there are.
var verbs = []string{">", "bind", "pipe", "parse", "run", "declare", "queue", "closing", "sync", "copy", "call", "login", "leave", "vanish", "read", "write"}

// title is a line that begins an entry, or the marks of a whole file.
var title = regexp.MustCompile(`^([^\[\]]*?)\s*(?:\[([^\]]*)\])?$`)

// readEscapes reads the whole corpus, in the order of its files.
func readEscapes(t *testing.T) []escape {
	t.Helper()
	files, err := filepath.Glob("testdata/escapes/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	var all []escape
	seen := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := parseEscapes(file, string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			key := e.class + ": " + e.name
			if seen[key] != "" {
				t.Errorf("%s: %q is also in %s", e.where, key, seen[key])
			}
			if seen[key] = e.where; len(e.steps) == 0 {
				t.Errorf("%s: no steps", e.where)
			}
		}
		all = append(all, entries...)
	}
	return all
}

// parseEscapes reads one file of the corpus.
func parseEscapes(file, text string) ([]escape, error) {
	var all []escape
	var whole marks
	class := strings.TrimSuffix(filepath.Base(file), ".txt")
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\n")
		where := fmt.Sprintf("%s:%d", file, n)
		body := strings.TrimLeft(line, " ")
		indent := len(line) - len(body)
		switch {
		case body == "" || indent == 0 && body[0] == '#':
		case indent == 0:
			m := title.FindStringSubmatch(line)
			if m == nil {
				return nil, fmt.Errorf("%s: not a title", where)
			}
			e := escape{class: class, name: m[1], where: where, marks: whole}
			if err := e.marks.read(m[2]); err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
			if e.name == "" {
				whole = e.marks
				continue
			}
			all = append(all, e)
		case len(all) == 0:
			return nil, fmt.Errorf("%s: a step without an entry", where)
		case indent > 2: // goes on with the line above
			steps := all[len(all)-1].steps
			if len(steps) == 0 {
				return nil, fmt.Errorf("%s: goes on with nothing", where)
			}
			steps[len(steps)-1].join("\n" + body)
		default:
			step, err := parseStep(body)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
			all[len(all)-1].steps = append(all[len(all)-1].steps, step)
		}
	}
	return all, nil
}

// read takes the words between the brackets.
func (m *marks) read(words string) error {
	for word := range strings.SplitSeq(words, ",") {
		switch word = strings.TrimSpace(word); word {
		case "":
		case "control":
			m.control = true
		case "stopped":
			m.stopped = true
		case "past guard":
			m.pastGuard = true
		case "past seal":
			m.pastSeal = true
		case "limit":
			m.limit = true
		case "one backend":
			m.oneBackend = true
		default:
			number, ok := strings.CutPrefix(word, "since ")
			v, err := strconv.Atoi(number)
			if !ok || err != nil {
				return fmt.Errorf("unknown mark %q", word)
			}
			m.since = v
		}
	}
	return nil
}

// parseStep reads one line.
func parseStep(line string) (escapeStep, error) {
	var s escapeStep
	line, s.bravo = strings.CutPrefix(line, "B: ")
	verb, words, _ := strings.Cut(line, " ")
	if s.verb = verb; !slices.Contains(verbs, verb) {
		return s, fmt.Errorf("unknown step %q", verb)
	}
	s.join(words)
	return s, nil
}

// join adds words to a step. In all but a simple query a bar with blanks around
// it separates what follows the SQL.
func (s *escapeStep) join(words string) {
	if s.verb == ">" {
		s.sql += words
		return
	}
	parts := strings.Split(words, " | ")
	if len(s.args) > 0 {
		s.args[len(s.args)-1] += parts[0]
	} else {
		s.sql += parts[0]
	}
	s.args = append(s.args, parts[1:]...)
}

// hole is what stands for something else in the words of a step; the README says
// for what. <db> is the database, so that there is no byte 0xdb.
var hole = regexp.MustCompile(`<([ABab]|[0-9a-f]{2}|mib)>`)

// fill replaces the holes.
func (c *escapeCorpus) fill(words, database string) string {
	return hole.ReplaceAllStringFunc(words, func(h string) string {
		switch h {
		case "<A>":
			return tenantA.id
		case "<B>":
			return tenantB.id
		case "<a>":
			return c.secrets[tenantA]
		case "<b>":
			return c.secrets[tenantB]
		case "<db>":
			return database
		case "<mib>":
			return strings.Repeat(" ", 1<<20)
		}
		b, _ := hex.DecodeString(h[1:3])
		return string(b)
	})
}
