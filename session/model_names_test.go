package session

import (
	"bytes"
	"fmt"
	"strings"
)

// modelNames are the names that all clients of the model give to their statements, so that they meet on
// the backends. PostgreSQL cannot tell the last two apart.
var modelNames = []string{"", "s0", "s1", "s2", "s3", "S1", strings.Repeat("n", 63) + "a", strings.Repeat("n", 63) + "é"}

// preparing does things with prepared statements that go on in later batches.
func (c *simClient) preparing() []byte {
	n := 1 + c.w.rand.IntN(3)
	steps := make([][]byte, n)
	for i := range steps {
		steps[i] = append(c.prepared(modelNames[c.w.rand.IntN(len(modelNames))]), c.sync()...)
	}
	if c.w.rand.IntN(2) == 0 {
		return bytes.Join(steps, nil)
	}
	c.later = steps[1:]
	return steps[0]
}

// common is a statement that other clients prepare, too.
func (c *simClient) common() string {
	if r := c.w.rand; r.IntN(3) > 0 {
		return [...]string{"begin", "commit", "rollback", "savepoint s0"}[r.IntN(4)]
	}
	return c.statement()
}

// prepared is one thing done with the statement of that name, without a Sync.
func (c *simClient) prepared(name string) []byte {
	r := c.w.rand
	closed := message('C', "S", name, "\x00")
	described := message('D', "S", name, "\x00")
	run := append(bindTo("", name), execute("", 0)...)
	failing := bindTo("", "none")
	if name == "" {
		if c.binds { // it may stand for one that binds, and is refused then
			return nil
		}
		c.loose, c.early = true, true
	}
	switch r.IntN(16) {
	case 0, 1:
		return parse(name, c.common())
	case 2, 3, 4:
		return run
	case 5:
		return closed
	case 6:
		return described
	case 7:
		return append(parse(name, c.common()), run...)
	case 8:
		return bytes.Join([][]byte{closed, parse(name, c.common()), described, run}, nil)
	case 9: // skipped
		return bytes.Join([][]byte{failing, parse(name, c.common()), closed, run}, nil)
	case 10: // the error comes behind it
		return bytes.Join([][]byte{parse(name, c.common()), failing, closed}, nil)
	case 11:
		return append(bytes.Join([][]byte{parse(name, "begin -- "+misspelt), c.sync(), run}, nil), c.sync()...)
	case 12:
		return parse(name, "nonsense")
	case 13:
		return parse(name, c.padded(c.common()))
	case 14:
		return append(append(parse(name, c.common()), c.sync()...), c.simple("begin -- "+misspelt)...)
	}
	return c.deallocating(name)
}

// deallocating is SQL about the statement of that name.
func (c *simClient) deallocating(name string) []byte {
	r := c.w.rand
	if name == "" || strings.HasPrefix(name, "n") || c.named || c.binds {
		return c.simple("deallocate all")
	}
	run := append(bindTo("", ""), execute("", 0)...)
	switch r.IntN(8) {
	case 0:
		return c.simple("deallocate all")
	case 1:
		return append(c.extended("", "", "deallocate all", 0), bindTo("", name)...)
	case 2:
		return append(parse("", "deallocate "+name), run...)
	case 3:
		c.executes = true
		return c.simple("execute " + name)
	case 4:
		c.executes = true
		return append(append(append(parse("", "execute "+name), c.sync()...), run...), bindTo("", name)...)
	case 5:
		return c.simple("deallocate " + name + "; select " + fmt.Sprint(c.w.newID(c)) + " 1")
	}
	return c.simple("deallocate " + name)
}
