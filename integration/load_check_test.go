package integration

import (
	"fmt"
	"strings"
	"testing"
)

// loadCheck judges every message that one client of the load receives. It knows
// which answers are owed, in which order, and to whom.
type loadCheck struct {
	x tenant
	// groups holds one entry for each ReadyForQuery that is owed: the nonces that
	// its results must carry in column one, "" for a result without rows, "!42501"
	// for a statement that must fail with that code.
	groups    [][]string
	skipping  bool // the current group has failed
	cancelled bool // a cancel is flying: any statement may fail from here on
	rows      int
}

// owe announces what the next bytes that are sent will be answered with.
func (c *loadCheck) owe(groups ...[]string) {
	c.groups = append(c.groups, groups...)
}

// frame judges one message; an error is a broken promise.
func (c *loadCheck) frame(f frame) error {
	switch f.typ {
	case 'T', '1', '2', '3', 'n', 't', 'G', 'H', 'c', 'S', 'N':
		return nil
	case 'D':
		return c.row(f.cells())
	case 'd':
		return c.row(strings.Split(strings.TrimSuffix(string(f.body), "\n"), "\t"))
	}
	if len(c.groups) == 0 {
		return fmt.Errorf("%v although nothing is owed", f)
	}
	group := c.groups[0]
	switch f.typ {
	case 'C', 'I':
		if c.skipping || len(group) == 0 || strings.HasPrefix(group[0], "!") {
			return fmt.Errorf("%v, owed are %q (failed: %t)", f, group, c.skipping)
		}
		c.groups[0] = group[1:]
	case 'E':
		if f.field('V') != "ERROR" || !c.cancelled && (len(group) == 0 || group[0] != "!"+f.field('C')) {
			return fmt.Errorf("%v, owed are %q", f, group)
		}
		c.skipping = true
	case 'Z':
		if !c.skipping && len(group) > 0 {
			return fmt.Errorf("ready, but %q are still owed", group)
		}
		c.groups, c.skipping = c.groups[1:], false
	default:
		return fmt.Errorf("unexpected %v", f)
	}
	return nil
}

// row judges one row: nonce, the tenant in force, then anything of the tenant's own.
func (c *loadCheck) row(cells []string) error {
	c.rows++
	owner := c.x.other()
	for _, cell := range cells {
		if strings.Contains(cell, owner.id) || strings.Contains(cell, owner.marker) {
			return fmt.Errorf("FOREIGN ROW for %s: %.200q", c.x.marker, cells)
		}
	}
	if len(c.groups) == 0 || len(c.groups[0]) == 0 || c.skipping || cells[0] != c.groups[0][0] {
		return fmt.Errorf("SHIFTED ANSWER for %s: %.200q, owed are %q", c.x.marker, cells, c.groups)
	}
	if len(cells) > 1 && cells[1] != c.x.id {
		return fmt.Errorf("WRONG TENANT for %s: %.200q", c.x.marker, cells)
	}
	return nil
}

// settled says that nothing is owed any more.
func (c *loadCheck) settled() bool { return len(c.groups) == 0 }

// TestTheLoadNoticesWrongAnswers shows that the judge of the load can say no.
func TestTheLoadNoticesWrongAnswers(t *testing.T) {
	row := func(cells ...string) frame {
		b := []byte{0, byte(len(cells))}
		for _, cell := range cells {
			b = append(append(b, 0, 0, 0, byte(len(cell))), cell...)
		}
		return frame{'D', b}
	}
	failure := func(code string) frame { return frame{'E', cstrings("VERROR", "C"+code, "")} }
	done, ready := frame{'C', cstrings("SELECT 1")}, frame{'Z', []byte{'I'}}
	good := []frame{row("n1", tenantA.id, "alpha"), done, ready, row("n2", tenantA.id), done, failure("42501"), ready}
	for _, c := range []struct {
		name   string
		frames []frame
		bad    bool
	}{
		{"the right answer", good, false},
		{"a foreign row", []frame{row("n1", tenantA.id, "bravo")}, true},
		{"the other tenant in force", []frame{row("n1", tenantB.id)}, true},
		{"no tenant in force", []frame{row("n1", "")}, true},
		{"the next answer first", []frame{row("n2", tenantA.id)}, true},
		{"somebody else's answer", []frame{row("n7", tenantA.id)}, true},
		{"an answer left out", []frame{ready}, true},
		{"an answer too many", append(good[:7:7], done), true},
		{"a failure too many", []frame{failure("57014")}, true},
		{"a forbidden statement that succeeds", []frame{good[0], done, ready, good[3], done, done}, true},
		{"the end of the session", []frame{{'E', cstrings("VFATAL", "C57P01", "")}}, true},
	} {
		check := loadCheck{x: tenantA}
		check.owe([]string{"n1"}, []string{"n2", "!42501"})
		var err error
		for _, f := range c.frames {
			if err = check.frame(f); err != nil {
				break
			}
		}
		if (err != nil) != c.bad {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
