package integration

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// escapeMode is one way to run the proxy and the database behind it.
type escapeMode struct {
	name    string
	sealed  bool
	options []option
	stops   func(m marks) bool // whether an entry with these marks must be stopped
}

// guardMode configures every rule group alike.
func guardMode(mode string) []option {
	return []option{
		with("context/guard/context", mode), with("context/guard/hidden_sql", mode),
		with("context/guard/shared_role", mode), with("context/guard/channels", mode),
	}
}

// escapeModes are the layers alone and together. What an entry must come to
// follows from its marks.
var escapeModes = []escapeMode{
	{"open", false, guardMode("off"), func(m marks) bool { return m.stopped }},
	{"guard", false, nil, func(m marks) bool { return !m.pastGuard }},
	{"seal", true, guardMode("off"), func(m marks) bool { return !m.pastSeal }},
	{"both", true, guardMode("enforce"), func(marks) bool { return true }},
}

// leastEscapes is how many entries must reach B's rows where nothing stops them:
// a corpus that does not bite proves nothing.
const leastEscapes = 350

// escapesOf chooses entries, for those who write some.
var escapesOf = flag.String("escapes", "", "play only the escapes whose class and name hold this, and tell what came of each")

// TestNoEscape plays the corpus of escapes through the proxy and holds what each
// layer stops: nothing without any, all but functions of the application and
// what knows no tenant with the guard.
func TestNoEscape(t *testing.T) {
	c := newEscapeCorpus(t, startPostgres(t))
	tally := newTally(c)
	c.database(t, "unsealed")
	c.database(t, "sealed")
	for _, mode := range escapeModes {
		t.Run(mode.name, func(t *testing.T) { c.playAll(t, mode, tally) })
	}
	if n := tally.total("open"); n < leastEscapes && *escapesOf == "" {
		t.Errorf("only %d entries reach B's rows where nothing stops them, %d must", n, leastEscapes)
	}
	t.Logf("\n%s", tally)
}

// playAll plays every entry in one mode.
func (c *escapeCorpus) playAll(t *testing.T, mode escapeMode, tally *tally) {
	database := "unsealed"
	if mode.sealed {
		database = "sealed"
	}
	options := append(slices.Clone(mode.options), func(p *proxy) {
		clear(p.config["databases"].(map[string]any))
		p.database("wide", database, "session", 4)
		p.database("narrow", database, "session", 1)
	})
	if mode.sealed {
		options = append(options, sealWith("k1"))
	}
	gate := newProxy(t, c.pg, options...)
	if mode.sealed {
		gate.seal(t, database)
	}
	gate.start(t)
	t.Cleanup(func() { gate.finish(t) })
	c.seed(t, database)
	c.endpoints[gate] = map[tenant]endpoint{tenantA: gate.as(tenantA), tenantB: gate.as(tenantB)}
	for i := range c.entries {
		e := &c.entries[i]
		if e.marks.since > c.version || !strings.Contains(e.class+": "+e.name, *escapesOf) {
			continue
		}
		o := c.judge(t, gate, database, e)
		tally.add(e, mode.name, o)
		if *escapesOf != "" {
			t.Logf("%s: %q: %+v", e.class, e.name, o)
		}
		switch {
		case e.marks.control:
			if o.leaked() || !o.own || len(o.errors) > 0 {
				t.Errorf("%s: %s: %q must work: %+v", e.where, e.class, e.name, o)
			}
		case e.marks.limit:
			if !o.leaked() {
				t.Errorf("%s: %s: %q is a limit no more: %+v", e.where, e.class, e.name, o)
			}
		case o.leaked() && (e.marks.stopped || mode.stops(e.marks)):
			t.Errorf("%s: %s: %q reached B's rows: %+v", e.where, e.class, e.name, o)
		case !o.leaked() && !e.marks.stopped && !mode.stops(e.marks):
			t.Errorf("%s: %s: %q did not reach B's rows where nothing stops it: %+v", e.where, e.class, e.name, o)
		}
	}
}

// tally counts entries and those that leaked, by class and mode.
type tally struct {
	title   string
	classes []string
	modes   []string
	entries map[string]int
	leaks   map[[2]string]int
}

// newTally makes an empty one.
func newTally(c *escapeCorpus) *tally {
	return &tally{title: "PostgreSQL " + c.full, entries: map[string]int{}, leaks: map[[2]string]int{}}
}

// add counts one entry in one mode.
func (y *tally) add(e *escape, mode string, o escapeResult) {
	if !slices.Contains(y.modes, mode) {
		y.modes = append(y.modes, mode)
	}
	if !slices.Contains(y.classes, e.class) {
		y.classes = append(y.classes, e.class)
	}
	if len(y.modes) == 1 {
		y.entries[e.class]++
	}
	if o.leaked() {
		y.leaks[[2]string{e.class, mode}]++
	}
}

// total is the number of leaks in one mode, the documented limits left out.
func (y *tally) total(mode string) int {
	n := 0
	for _, class := range y.classes {
		if class != "limits" {
			n += y.leaks[[2]string{class, mode}]
		}
	}
	return n
}

// String is the table, in Markdown.
func (y *tally) String() string {
	var b strings.Builder
	line := func(first string, entries int, cell func(mode string) int) {
		fmt.Fprintf(&b, "| %s | %d |", first, entries)
		for _, mode := range y.modes {
			fmt.Fprintf(&b, " %d |", cell(mode))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "| %s | entries | %s |\n| --- | --- |%s\n", y.title, strings.Join(y.modes, " | "), strings.Repeat(" --- |", len(y.modes)))
	all := 0
	for _, class := range y.classes {
		if class == "limits" {
			continue
		}
		all += y.entries[class]
		line(class, y.entries[class], func(mode string) int { return y.leaks[[2]string{class, mode}] })
	}
	line("**all**", all, y.total)
	line("limits", y.entries["limits"], func(mode string) int { return y.leaks[[2]string{"limits", mode}] })
	return b.String()
}
