package session

import (
	"bytes"
	"fmt"
	"strings"
)

// undo is a statement that undoes the context or a setting of the startup packet.
func (c *simClient) undo() string {
	return [...]string{
		"reset all", "RESET ALL", "discard all", "DISCARD ALL", "reset app.current_tenant_id", "set app.user_id to default",
		"reset application_name", "set application_name to default",
	}[c.w.rand.IntN(8)]
}

// undoing sends a statement that undoes the context, in one of the forms that clients use.
func (c *simClient) undoing() []byte {
	r := c.w.rand
	read := func() string { return fmt.Sprintf("select %d 1", c.w.newID(c)) }
	switch r.IntN(8) {
	case 0:
		return c.simple(c.undo())
	case 1: // glued in front of the next command
		return bytes.Join([][]byte{c.extended("", "", c.undo(), 0), c.extended("", "", read(), 0), c.sync()}, nil)
	case 2: // pipelined
		return bytes.Join([][]byte{c.simple(c.undo()), c.simple(read()), c.simple(c.undo()), c.simple(read())}, nil)
	case 3:
		return c.simple(c.undo() + "; " + read())
	case 4:
		return c.simple(read() + "; " + c.undo())
	case 5: // an error behind it takes it back
		return bytes.Join([][]byte{
			c.extended("", "", c.undo(), 0), c.extended("", "", fmt.Sprintf("fail %d", c.w.newID(c)), 0),
			c.extended("", "", read(), 0), c.sync(), c.simple(read()),
		}, nil)
	case 6:
		return c.simple(c.padded(c.undo()))
	}
	return bytes.Join([][]byte{c.simple("begin"), c.simple(c.undo()), c.simple(read()), c.simple("rollback"), c.simple(read())}, nil)
}

// nasty sends a statement that undoes the context where it is hard to see that it does.
func (c *simClient) nasty() []byte {
	r := c.w.rand
	read := func() []byte { return c.simple(fmt.Sprintf("select %d 1", c.w.newID(c))) }
	long := strings.Repeat("n", 63)
	prepared := func(name, text string) []byte { return append(parse(name, text), c.sync()...) }
	run := func(portal, name string) []byte {
		c.unsynced = true
		return bytes.Join([][]byte{bindTo(portal, name), execute(portal, 0)}, nil)
	}
	n := r.IntN(12)
	vain := append(bindTo("", "none"), parse("", "begin")...) // skipped, or fails before it has any effect
	if r.IntN(2) == 0 {
		vain = parse("", "begin -- "+misspelt)
	}
	if (n == 2 || n == 11) && c.binds {
		n = 3 // the unnamed statement may stand for one that binds, and is refused then
	}
	if n == 4 && c.named {
		n = 3
	}
	c.executes = c.executes || n == 4
	// Where a name only may stand for a reset, the startup settings are left as they are.
	c.loose = c.loose || n >= 1 && n <= 8
	switch n {
	case 0: // prepared, executed later
		return bytes.Join([][]byte{prepared("r", "reset all"), run("", "r"), c.maybeSync(), read()}, nil)
	case 1: // the second Parse of the name fails
		return bytes.Join([][]byte{prepared("r", "reset all"), prepared("r", "begin"), run("", "r"), c.sync(), read()}, nil)
	case 2: // the second Parse of the name is in vain
		c.early = true // what runs may be a COPY of before
		return bytes.Join([][]byte{
			prepared("", "reset all"), vain, c.sync(), run("", ""), c.sync(), read(),
		}, nil)
	case 3: // PostgreSQL keeps 63 bytes of a name
		return bytes.Join([][]byte{prepared(long+"a", "reset all"), run(long+"p", long+"b"), c.sync(), read()}, nil)
	case 4: // prepared in the protocol, executed in SQL
		return bytes.Join([][]byte{prepared("r", "reset all"), c.simple("execute r"), read()}, nil)
	case 5: // undone and committed, and the transaction that is open then is rolled back
		return bytes.Join([][]byte{c.simple("reset all; commit; begin"), read(), c.simple("rollback"), read()}, nil)
	case 6:
		return bytes.Join([][]byte{
			c.simple("reset all; commit; begin; savepoint s0"), read(),
			c.extended("", "", "rollback to s0", 0), c.extended("", "", fmt.Sprintf("select %d 1", c.w.newID(c)), 0), c.sync(),
			c.simple("rollback to s0"), read(), c.simple("commit"),
		}, nil)
	case 7: // undone in a transaction that fails, and ended by a batch
		return bytes.Join([][]byte{
			c.simple("begin"), c.simple(fmt.Sprintf("reset all; fail %d", c.w.newID(c))), c.extended("", "", "rollback", 0), c.sync(), read(),
		}, nil)
	case 8: // a portal outlives what would have replaced it
		return bytes.Join([][]byte{
			c.simple("begin"), prepared("r", "reset all"), bindTo("p", "r"), c.sync(), c.simple("savepoint s1"),
			bindTo("", "none"), bindTo("p", "none"), c.sync(), c.simple("rollback to s1"),
			execute("p", 0), c.sync(), read(), c.simple("rollback"),
		}, nil)
	case 9: // a COPY that fails while more of its data is on the way
		return bytes.Join([][]byte{
			c.simple(fmt.Sprintf("reset all; copy %d in", c.w.newID(c))), copyRow(badRow), copyRow(strings.Repeat("x", 2000)),
			copyRow("x"), message('c'), read(),
		}, nil)
	case 11: // a SET that is executed again, when what was to take its place has failed
		c.early = true // likewise
		steps := [][]byte{prepared("", c.setting(c.w.newID(c))), append(vain, c.sync()...), append(run("", ""), c.sync()...), read(), read()}
		if r.IntN(2) == 0 {
			return bytes.Join(steps, nil)
		}
		c.later = steps[1:]
		return steps[0]
	}
	return bytes.Join([][]byte{
		c.simple(fmt.Sprintf("reset all; copy %d in", c.w.newID(c))), copyRow("x"), message('c'), read(), c.simple("begin"), read(), c.simple("commit"),
	}, nil)
}
