package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// problems collects everything that is wrong with one configuration file.
type problems struct {
	file  string         // as named by the user
	lines map[string]int // key path to the line it stands on
	found []problem
	// hidden holds the values of environment variables, each with the ${NAME}
	// that is shown in its place: any of them may be a secret.
	hidden map[string]string
}

// problem is one thing to repair.
type problem struct {
	path string // dotted key path; empty: the file as a whole
	line int    // 0: unknown, the key is not in the file
	text string
}

// addf reports what is wrong with the key at path, and the way out.
func (p *problems) addf(path, format string, args ...any) {
	p.found = append(p.found, problem{path, p.line(path), fmt.Sprintf(format, args...)})
}

// addError reports every error joined in err. A text that begins with a key
// path of its own is filed under that key, unless that key's value has been
// found wrong already: then it is only a consequence.
func (p *problems) addError(err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			p.addError(e)
		}
		return
	}
	path, text, ok := strings.Cut(err.Error(), ": ")
	if !ok || strings.ContainsAny(path, " \t") {
		path, text = "", err.Error()
	}
	if slices.ContainsFunc(p.found, func(f problem) bool { return f.path == path }) {
		return
	}
	p.addf(path, "%s", text)
}

// line returns the line of the key at path, or of the nearest section around
// it that is in the file.
func (p *problems) line(path string) int {
	for path != "" {
		if n, ok := p.lines[path]; ok {
			return n
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

// err returns all problems as one error, a line each in the order of the file,
// or nil.
func (p *problems) err() error {
	var hide []string
	for _, value := range slices.SortedFunc(maps.Keys(p.hidden), func(a, b string) int { return len(b) - len(a) }) {
		hide = append(hide, value, p.hidden[value])
	}
	without := strings.NewReplacer(hide...)
	slices.SortStableFunc(p.found, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	errs := make([]error, 0, len(p.found))
	for _, f := range p.found {
		where := p.file
		if f.line > 0 {
			where = fmt.Sprintf("%s:%d", where, f.line)
		}
		if f.path != "" {
			where += ": " + f.path
		}
		errs = append(errs, errors.New(where+": "+without.Replace(f.text)))
	}
	return errors.Join(errs...)
}

// closest returns the candidate that name is most likely a misspelling of, or
// "" when none is near.
func closest(name string, candidates []string) string {
	best, bestDistance := "", 1+max(1, len(name)/3)
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(name), c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// editDistance is the Levenshtein distance of two short strings, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// oneOf reports a value that is not among those allowed.
func (p *problems) oneOf(path, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	hint := ""
	if c := closest(value, allowed); c != "" {
		hint = fmt.Sprintf("; did you mean %s?", c)
	}
	p.addf(path, "%q is not one of %s%s", value, strings.Join(allowed, ", "), hint)
}

// atLeast reports a number below lowest.
func (p *problems) atLeast(path string, n, lowest int) {
	if n < lowest {
		p.addf(path, "%d is below %d", n, lowest)
	}
}

// notNegative reports a duration below zero.
func (p *problems) notNegative(path string, d time.Duration) {
	if d < 0 {
		p.addf(path, "%s is below 0s", d)
	}
}

// positive reports a duration that is not above zero.
func (p *problems) positive(path string, d time.Duration) {
	if d <= 0 {
		p.addf(path, "%s is not above 0s; this wait cannot be without end", d)
	}
}

// sortedKeys returns the keys of m in order, so that reports are repeatable.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
