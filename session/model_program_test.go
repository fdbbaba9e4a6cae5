package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

func atoi(b []byte) int {
	n, _ := strconv.Atoi(string(b))
	return n
}

// act does the next thing that the client wants: it writes, leaves, or waits from now on.
func (c *simClient) act() {
	r := c.w.rand
	c.await = false
	if c.ops--; c.ops <= 0 {
		c.leave()
		return
	}
	c.catchUp()
	if w := c.ref.waiting; w != nil && w.copying && !c.ref.skipping {
		c.write(c.copyData())
	} else if len(c.later) > 0 {
		c.write(c.later[0])
		c.later = c.later[1:]
	} else {
		c.write(c.recalled(c.op()))
	}
	c.await = len(c.later) > 0 || r.IntN(3) > 0
}

// recalled has the client cancel at times what it sends, while that waits for a backend.
func (c *simClient) recalled(op []byte) []byte {
	if c.place == nil && !c.asking && len(c.wire)+len(c.rest) == 0 && strings.IndexByte("QPB", op[0]) >= 0 && c.w.rand.IntN(20) == 0 {
		c.recall = true
		c.ref.host.(*reference).recall = true
		c.w.Seen.recalls++
	}
	return op
}

// recalling brings the cancel of a client that waits.
func (c *simClient) recalling() {
	if c.recall {
		c.w.note("client $a cancels what waits", c.number, 0, 0)
		c.lease.Recall()
	}
	c.recall = false
}

// leave ends the client's side: politely, or not at any byte.
func (c *simClient) leave() {
	r := c.w.rand
	switch r.IntN(5) {
	case 0, 1:
		c.wire = append(c.wire, 'X', 0, 0, 0, 4)
		c.silent = true
	case 2:
		b := c.op()
		n := r.IntN(len(b))
		if b[0] == 'F' {
			n = 0 // its header is enough for it to be refused
		}
		c.write(b[:n])
		fallthrough
	default:
		c.silent, c.gone, c.abrupt = true, true, r.IntN(2) == 0
	}
}

// copyData is what a client sends while its COPY runs, or what it believes is still its COPY.
func (c *simClient) copyData() []byte {
	r := c.w.rand
	switch r.IntN(12) {
	case 0:
		return copyRow(badRow)
	case 1, 2, 3:
		return message('c')
	case 4:
		return message('f', "no more\x00")
	case 5:
		c.early = true
		return message('S')
	case 6:
		return message('H')
	case 7:
		return append(append(copyRow("x"), message('c')...), message('S')...)
	case 8:
		return append(message('c'), c.simple(c.statement())...)
	case 9:
		return copyRow(strings.Repeat("x", 1+r.IntN(3*c.w.terms.StatementBuffer)))
	}
	return bytes.Repeat(copyRow("x"), 1+r.IntN(4))
}

func copyRow(s string) []byte { return message('d', s) }

// message builds one message.
func message(typ byte, body ...string) []byte {
	b := strings.Join(body, "")
	return append(binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(b)+4)), b...)
}

func (c *simClient) simple(text string) []byte { return message('Q', text, "\x00") }

func parse(name, text string) []byte { return message('P', name, "\x00", text, "\x00\x00\x00") }

func bindTo(portal, statement string) []byte {
	return message('B', portal, "\x00", statement, "\x00\x00\x00\x00\x00\x00\x00")
}

func execute(portal string, rows int) []byte {
	return message('E', portal, "\x00", string(binary.BigEndian.AppendUint32(nil, uint32(rows))))
}

// op is one thing that clients do.
func (c *simClient) op() []byte {
	r := c.w.rand
	if c.w.names && r.IntN(3) == 0 {
		return c.preparing()
	}
	switch n := r.IntN(100); {
	case n < 20:
		return c.simple(c.statement())
	case n < 45:
		return c.batch(1 + r.IntN(3))
	case n < 52:
		return c.pipeline(2 + r.IntN(6))
	case n < 53:
		return c.pipeline(c.w.depth)
	case n < 55:
		return c.binding()
	case n < 60:
		return c.copyBatch()
	case n < 72:
		return c.undoing()
	case n < 82:
		return c.nasty()
	case n < 84:
		return message('F', strings.Repeat("\x00", r.IntN(300)))
	case n < 88:
		return c.simple(c.statement() + ";" + c.statement() + ";" + c.statement())
	case n < 90:
		return c.sync()
	case n < 91:
		return message('H')
	case n < 93:
		return bytes.Join([][]byte{copyRow("stray"), message('c'), message('f', "\x00")}[:1+r.IntN(3)], nil)
	case n < 95:
		return c.simple(c.padded(c.statement()))
	case n < 96:
		return c.simple(" ;")
	case n < 97:
		return c.binding()
	case n < 98:
		return c.unprepared()
	}
	return c.refusedOp()
}

// binding sets the tenant to a value that is bound: mostly its own, which must pass.
func (c *simClient) binding() []byte {
	value, again := c.tenant.name, c.w.rand.IntN(2)
	if c.w.guarded && c.w.rand.IntN(3) <= again {
		value = evil
	}
	c.unsynced, c.binds = true, true
	text := fmt.Sprintf("select %d 1 , set_config('app.current_tenant_id', $1, false)", c.w.newID(c))
	if again == 1 {
		return c.rebinding(text, value)
	}
	return bytes.Join([][]byte{parse("", text), bindValue("", "", value), execute("", 0), c.maybeSync()}, nil)
}

// rebinding binds the value to the statement of that text behind other Parses and Closes of its name that
// have failed or were skipped.
func (c *simClient) rebinding(text, value string) []byte {
	r := c.w.rand
	c.unsure, c.early = true, true // what runs may be a COPY of before
	name := ""
	if r.IntN(2) == 0 && !c.executes {
		name, c.named = "w", true
	}
	var vain []byte
	kind := r.IntN(4)
	switch kind {
	case 0:
		vain = parse(name, "begin -- "+misspelt)
	case 1:
		vain = append(bindTo("", "none"), parse(name, "begin")...)
	case 2:
		vain = append(bindTo("", "none"), message('C', "S", name, "\x00")...)
	case 3: // … or it is of another name
		vain = append(parse("other", "begin -- "+misspelt), parse(name, "begin")...)
	}
	steps := [][]byte{bytes.Join([][]byte{c.sync(), parse(name, text), c.sync()}, nil)}
	for range 1 + r.IntN(2) {
		steps = append(steps, append(vain, c.sync()...))
	}
	c.unsynced = true
	steps = append(steps, bytes.Join([][]byte{bindValue("", name, value), execute("", 0), c.maybeSync()}, nil))
	if r.IntN(2) == 0 {
		return bytes.Join(steps, nil)
	}
	c.later = steps[1:]
	return steps[0]
}

// unprepared executes the unnamed statement of an earlier batch, or one that is not there any more.
func (c *simClient) unprepared() []byte {
	if c.binds { // it may stand for one that binds, and is refused then
		return c.sync()
	}
	c.loose, c.early = true, true
	return bytes.Join([][]byte{bindTo("", ""), execute("", 0), c.sync()}, nil)
}

// sync ends the batch.
func (c *simClient) sync() []byte {
	c.unsynced = false
	return message('S')
}

// padded makes a statement longer than the buffer, or nearly.
func (c *simClient) padded(text string) string {
	return "/*" + strings.Repeat("x", c.w.rand.IntN(3*c.w.terms.StatementBuffer)) + "*/ " + text
}

// refusedOp is a statement that the guard refuses; without a guard it is an ordinary one.
func (c *simClient) refusedOp() []byte {
	if !c.w.guarded {
		return c.simple(c.statement())
	}
	r := c.w.rand
	text := "set app.current_tenant_id = " + evil
	if r.IntN(2) == 0 {
		text = c.statement() + "; " + text
	}
	if r.IntN(8) == 0 {
		text = c.padded(text)
	}
	if r.IntN(2) == 0 {
		c.doomed = c.doomed || len(text)+1 > c.w.terms.StatementBuffer // refused when part of it has passed
		return c.simple(text)
	}
	return append(c.extended("", "", "set app.user_id = "+evil, 0), c.maybeSync()...)
}

func (c *simClient) maybeSync() []byte {
	if c.w.rand.IntN(5) == 0 {
		return nil
	}
	return c.sync()
}

// statement is one that neither undoes the context nor is refused.
func (c *simClient) statement() string {
	r := c.w.rand
	id := c.w.newID(c)
	switch n := r.IntN(40); {
	case n < 16:
		return fmt.Sprintf("select %d %d", id, r.IntN(4))
	case n < 17:
		return fmt.Sprintf("select %d 1 %d", id, r.IntN(100_000))
	case n < 18:
		return fmt.Sprintf("select %d %d", id, r.IntN(400))
	case n < 22:
		return fmt.Sprintf("insert %d", id)
	case n < 25:
		return fmt.Sprintf("fail %d", id)
	case n < 27:
		return fmt.Sprintf("slow %d", id)
	case n < 28:
		return fmt.Sprintf("copy %d out %d", id, r.IntN(4))
	case n < 31:
		return "begin"
	case n < 33:
		return "commit"
	case n < 35:
		return "rollback"
	case n < 36:
		return fmt.Sprintf("savepoint s%d", r.IntN(2))
	case n < 37:
		return fmt.Sprintf("rollback to s%d", r.IntN(2))
	case n < 38:
		return c.setting(id)
	case n < 39:
		return fmt.Sprintf("set local application_name = 'l%d'", id)
	}
	return "set app.current_tenant_id = '" + c.tenant.name + "'"
}

// setting sets something for the session, or puts it back. Some clients have the same values.
func (c *simClient) setting(id int) string {
	r := c.w.rand
	switch r.IntN(10) {
	case 0:
		return "reset work_mem"
	case 1:
		return "set work_mem to default"
	case 2, 3, 4:
		return fmt.Sprintf("set work_mem = '%d'", r.IntN(3))
	case 5:
		return fmt.Sprintf("set application_name = 'program%d'", r.IntN(2))
	case 6:
		return fmt.Sprintf("set datestyle = 'd%d'", r.IntN(2))
	case 7:
		return "reset datestyle"
	case 8:
		if r.IntN(10) == 0 { // too long to follow the client, or to be gathered
			return fmt.Sprintf("set work_mem = '%s'", strings.Repeat("x", []int{maxFollowed + 1, gatherLimit}[r.IntN(2)]))
		}
	}
	return fmt.Sprintf("set application_name = 'a%d'", id)
}

// extended is one statement in the extended protocol, without a Sync.
func (c *simClient) extended(portal, name, text string, limit int) []byte {
	c.unsynced = true
	b := append(parse(name, text), bindTo(portal, name)...)
	if c.w.rand.IntN(2) == 0 {
		b = append(b, message('D', "P", portal, "\x00")...)
	}
	return append(b, execute(portal, limit)...)
}

// batch is some statements in the extended protocol.
func (c *simClient) batch(n int) (b []byte) {
	r := c.w.rand
	for range n {
		limit := 0
		if r.IntN(8) == 0 {
			limit = 1
		}
		b = append(b, c.extended("", "", c.statement(), limit)...)
		if limit == 1 && r.IntN(2) == 0 {
			b = append(b, execute("", 0)...)
		}
		if r.IntN(6) == 0 {
			b = append(b, message('H')...)
		}
	}
	return append(b, c.maybeSync()...)
}

// pipeline is many cycles at once.
func (c *simClient) pipeline(n int) (b []byte) {
	for i := range n {
		text := fmt.Sprintf("select %d 1", c.w.newID(c))
		if c.w.rand.IntN(12) == 0 {
			text = c.statement()
		}
		if c.w.rand.IntN(2) == 0 {
			b = append(b, c.simple(text)...)
			continue
		}
		b = append(append(b, c.extended("", "", text, 0)...), c.sync()...)
		if i < 4 && c.w.rand.IntN(2) == 0 { // it ends what has failed in front of it
			b = append(b, c.simple("rollback")...)
		}
	}
	return b
}

// copyBatch begins a COPY FROM STDIN, at times with everything that belongs to it, and with a Sync in
// front of its data as some drivers send it.
func (c *simClient) copyBatch() []byte {
	r := c.w.rand
	text := fmt.Sprintf("copy %d in", c.w.newID(c))
	if r.IntN(3) == 0 {
		if r.IntN(3) == 0 {
			text = "reset all; " + text
		}
		b := c.simple(text)
		if r.IntN(2) == 0 {
			b = append(append(b, copyRow("x")...), message('c')...)
		}
		return b
	}
	b := c.extended("", "", text, 0)
	if r.IntN(2) == 0 {
		c.early = true
		b = append(b, c.sync()...)
	}
	if r.IntN(2) == 0 {
		b = append(append(append(b, copyRow("x")...), message('c')...), c.sync()...)
	}
	return b
}
