package session

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// The SQL of the simulated backend is small: what has an id is a client's and is reported to the host.
//
//	select ID ROWS [PAD]    rows with the id and all settings as they are
//	insert ID               nothing but its being run
//	slow ID                 ends when the world says so, and leaves something in the session
//	fail ID                 an error
//	copy ID in              COPY FROM STDIN
//	copy ID out ROWS        COPY TO STDOUT
//	begin, commit, rollback, savepoint S, rollback to S
//	set [local] NAME = 'VALUE', set NAME to default, reset NAME, reset all, discard all
//	execute NAME [VALUE]    a prepared statement
//	deallocate NAME, deallocate all
//
// A select that calls set_config with $1 sets the tenant to what is bound to that.
//
// And the two texts that the proxy makes itself: entering the context and the read-back of a reset.
const badRow = "bad row"

// misspelt is what no encoding knows: a Parse with it fails before it has any effect.
const misspelt = "\xff"

// rowDescription is the same for all.
var rowDescription = []byte{0, 0}

// watched are the settings that every row of a client's statement shows: the context of modelSpec, one
// of the startup packet, and one that clients set.
var watched = []string{"app.current_tenant_id", "app.is_admin", "app.user_id", "application_name", "work_mem"}

// program is where a row has the setting of the startup packet.
const program = 4

// words splits a statement, without its comments.
func words(text string) []string {
	for {
		before, rest, ok := strings.Cut(text, "/*")
		if !ok {
			return strings.Fields(text)
		}
		_, after, _ := strings.Cut(rest, "*/")
		text = before + " " + after
	}
}

// split cuts a Query into its statements; empty ones are none.
func split(text string) (statements []string) {
	if isOwn(text) {
		return []string{text}
	}
	for s := range strings.SplitSeq(text, ";") {
		if len(words(s)) > 0 {
			statements = append(statements, s)
		}
	}
	return statements
}

// valid says whether the texts are ones that execute knows.
func valid(text string) bool {
	if isOwn(text) {
		return true
	}
	for _, s := range split(text) {
		switch w := words(s); strings.ToLower(w[0]) {
		case "select", "insert", "slow", "fail", "copy", "begin", "commit", "rollback", "savepoint",
			"set", "reset", "discard", "execute", "deallocate":
		default:
			return false
		}
	}
	return true
}

func isEnter(text string) bool {
	return strings.HasPrefix(text, "select pg_catalog.") && !isAsk(text)
}

// isAsk says that the proxy asks for the values of settings.
func isAsk(text string) bool {
	return strings.HasPrefix(text, "select pg_catalog.convert_to(pg_catalog.current_setting(")
}

// isOwn says that the statement is the proxy's.
func isOwn(text string) bool { return isEnter(text) || isAsk(text) || isReadBack(text) }

func isReadBack(text string) bool { return strings.HasPrefix(text, "SELECT '") }

// leaves says that a statement may run in a failed transaction.
func leaves(text string) bool {
	w := words(text)
	return len(w) > 0 && (w[0] == "rollback" || w[0] == "commit")
}

// ends says that a statement is followed by a commit at once, when no transaction block is open.
func ends(text string) bool {
	w := words(strings.ToLower(text))
	return len(w) > 0 && (w[0] == "begin" || w[0] == "commit" || w[0] == "discard" || w[0] == "rollback")
}

// undoes says that what stands behind the statement in the same Query may run without the context.
func undoes(text string) bool {
	w := words(strings.ToLower(text))
	switch w[0] {
	case "reset", "discard", "rollback", "execute":
		return true
	case "set":
		return w[len(w)-1] == "default"
	}
	return false
}

// returns says that a statement has rows.
func returns(text string) bool {
	w := words(text)
	return len(w) > 0 && w[0] == "select"
}

// start begins a transaction if there is none.
func (p *postgres) start() { p.open = true }

// commit ends the transaction.
func (p *postgres) commit() {
	p.settings.commit()
	p.endTransaction()
}

// rollback undoes the transaction.
func (p *postgres) rollback() {
	p.settings.rollback()
	p.endTransaction()
}

func (p *postgres) endTransaction() {
	p.block, p.open, p.pipelined, p.points = 'I', false, false, nil
	clear(p.portals)
}

// run begins a statement and, unless it is one that waits, ends it.
func (p *postgres) run(text string, q *portal, limit int) {
	w := words(text)
	if len(w) == 0 {
		p.say('I')
		return
	}
	if p.block == 'E' && !leaves(text) {
		p.fail("25P02", q != nil)
		return
	}
	id := 0
	if len(w) > 1 {
		id, _ = strconv.Atoi(w[1])
	}
	switch {
	case isOwn(text), strings.EqualFold(w[0], "discard"):
		if p.host.lazy(p, text) {
			p.waiting = &waiting{text: text, portal: q}
			return
		}
	case w[0] == "slow":
		p.host.ran(p, id)
		p.left = id
		p.await(id, text, q, false)
		return
	case w[0] == "copy" && w[2] == "in":
		p.host.ran(p, id)
		p.await(id, text, q, true)
		p.say('G', 0, 0, 0)
		p.flush()
		return
	case w[0] == "select":
		if q != nil && strings.Contains(text, "set_config(") {
			p.settings.set(watched[0], q.value, false)
		}
		p.host.ran(p, id)
		p.selectRows(w, text, q, limit)
		return
	case w[0] == "copy":
		p.host.ran(p, id)
		p.copyOut(w)
	case w[0] == "insert", w[0] == "fail":
		p.host.ran(p, id)
	}
	p.finish(text, q)
}

// await begins a statement that does not end by itself.
func (p *postgres) await(id int, text string, q *portal, copying bool) {
	p.waiting = &waiting{id: id, key: [2]int{id, p.runs[id]}, text: text, portal: q, copying: copying}
	p.runs[id]++
}

// finish ends a statement that needs nothing more.
func (p *postgres) finish(text string, q *portal) {
	if isEnter(text) {
		if p.host.rejects() {
			p.fail("42501", true)
			return
		}
		p.enter(text)
		p.complete(text, "SELECT 1", q)
		return
	}
	if isAsk(text) {
		p.tellSettings(text)
		p.complete(text, "SELECT 1", q)
		return
	}
	if isReadBack(text) {
		p.readBack(text)
		p.complete(text, "SELECT 1", q)
		return
	}
	w := words(text)
	if w[0] == "execute" {
		prepared, ok := p.statements[cut(strings.ToLower(w[1]))]
		if !ok {
			p.fail("26000", q != nil)
			return
		}
		if len(w) > 2 && strings.Contains(prepared, "set_config(") {
			p.settings.set(watched[0], w[2], false)
		}
		p.run(prepared, q, 0)
		return
	}
	tag, code := p.utility(w, q)
	if code != "" {
		p.fail(code, q != nil)
		return
	}
	p.complete(text, tag, q)
}

// utility runs a statement without rows and returns its tag or an error's code.
func (p *postgres) utility(w []string, q *portal) (tag, code string) {
	switch strings.ToLower(w[0]) {
	case "fail":
		return "", "22012"
	case "begin":
		p.block = 'T'
	case "commit", "rollback", "savepoint":
		return p.transaction(w)
	case "set":
		p.set(w)
	case "reset":
		if strings.EqualFold(w[1], "all") {
			p.settings.resetAll()
		} else {
			p.settings.reset(w[1])
		}
	case "discard":
		if p.block != 'I' || q == nil && p.multiple || q != nil && p.pipelined {
			return "", "25001"
		}
		p.settings.resetAll()
		p.deallocateAll()
		p.commit()
		p.left = 0
		return "DISCARD ALL", ""
	case "deallocate":
		return p.deallocate(strings.ToLower(w[1]))
	}
	return strings.ToUpper(w[0]), ""
}

// deallocateAll drops all prepared statements but the unnamed one.
func (p *postgres) deallocateAll() {
	for name := range p.statements {
		if name != "" {
			delete(p.statements, name)
		}
	}
}

func (p *postgres) deallocate(name string) (tag, code string) {
	if name == "all" {
		p.deallocateAll()
		return "DEALLOCATE ALL", ""
	}
	if _, ok := p.statements[name]; !ok {
		return "", "26000"
	}
	delete(p.statements, name)
	return "DEALLOCATE", ""
}

func (p *postgres) set(w []string) {
	switch {
	case w[len(w)-1] == "default":
		p.settings.reset(w[1])
	case w[1] == "local":
		p.settings.set(w[2], strings.Trim(w[4], "'"), true)
	default:
		p.settings.set(w[1], strings.Trim(w[3], "'"), false)
	}
}

// transaction runs the statements that end transactions or go back in them.
func (p *postgres) transaction(w []string) (tag, code string) {
	switch {
	case w[0] == "savepoint":
		if p.block != 'T' {
			return "", "25P01"
		}
		p.points = append(p.points, savepoint{w[1], p.settings.snapshot()})
	case len(w) > 1: // rollback to
		i := slices.IndexFunc(p.points, func(s savepoint) bool { return s.name == w[2] })
		if p.block == 'I' || i < 0 {
			return "", "3B001"
		}
		p.settings.restore(p.points[i].state)
		p.points, p.block = p.points[:i+1], 'T'
		maps.DeleteFunc(p.portals, func(_ string, q *portal) bool { return q.level > i })
	case w[0] == "commit" && p.block != 'E':
		p.commit()
		return "COMMIT", ""
	default:
		p.rollback()
		return "ROLLBACK", ""
	}
	return strings.ToUpper(w[0]), ""
}

// selectRows sends the rows of a select, and suspends it at limit.
func (p *postgres) selectRows(w []string, text string, q *portal, limit int) {
	rows, _ := strconv.Atoi(w[2])
	pad := 0
	if len(w) > 3 {
		pad, _ = strconv.Atoi(w[3])
	}
	if q == nil {
		p.say('T', rowDescription...)
	} else if q.left >= 0 {
		rows = q.left
	}
	n := rows
	if limit > 0 {
		n = min(n, limit)
	}
	for range n {
		p.say('D', p.row(w[1], pad)...)
	}
	if q != nil {
		q.left = rows - n
		if limit > 0 && n == limit {
			p.say('s')
			p.pipelined = true
			return
		}
	}
	p.complete(text, "SELECT", q)
}

// row is a row of a client's statement: the id and the settings as they are now.
func (p *postgres) row(id string, pad int) []byte {
	values := []string{id}
	for _, name := range watched {
		v := p.settings.get(name)
		if p.undid {
			v = "-" // the statement undid it itself; what is there then is checked as it runs
		}
		values = append(values, v)
	}
	return dataRow(append(values, strings.Repeat("x", pad))...)
}

func dataRow(values ...string) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}

func (p *postgres) copyOut(w []string) {
	p.say('H', 0, 0, 0)
	rows, _ := strconv.Atoi(w[3])
	for range rows {
		p.say('d', p.row(w[1], 0)...)
	}
	p.say('c')
}

// enter runs the proxy's statement. Its parameters stand behind the text, see bound: each pair of them
// is a setting.
func (p *postgres) enter(text string) {
	text, list, _ := strings.Cut(text, "\x00")
	params := strings.Split(list, "\x00")
	var values []string
	if strings.Contains(text, "setseed(") {
		values, params = append(values, ""), params[1:]
	}
	for range strings.Count(text, "set_config(") {
		p.settings.set(params[0], params[1], false)
		values, params = append(values, params[1]), params[2:]
	}
	p.say('D', dataRow(values...)...)
}

// bound lists the parameters of a Bind.
func bound(body []byte) string {
	for range 2 {
		_, body, _ = wire.CString(body)
	}
	body = body[2+2*int(binary.BigEndian.Uint16(body)):]
	count := int(binary.BigEndian.Uint16(body))
	var list strings.Builder
	body = body[2:]
	for range count {
		n := binary.BigEndian.Uint32(body)
		list.WriteString("\x00" + string(body[4:4+n]))
		body = body[4+n:]
	}
	return list.String()
}

func (p *postgres) readBack(text string) {
	nonce, _, _ := strings.Cut(text[len("SELECT '"):], "'")
	p.say('T', rowDescription...)
	p.say('D', dataRow(nonce, p.settings.get(watched[0]))...)
}

// tellSettings answers with the values of the settings that stand behind the text, see bound.
func (p *postgres) tellSettings(text string) {
	text, list, _ := strings.Cut(text, "\x00")
	var values, initial []string
	for name := range strings.SplitSeq(list, "\x00") {
		if !strings.Contains(name, ",") && len(values) < strings.Count(text, "current_setting(") {
			values = append(values, p.settings.get(name))
			if p.settings.get(name) == p.settings.defaults[name] {
				initial = append(initial, name)
			}
		}
	}
	if strings.Contains(text, "pg_settings") {
		values = append(values, strings.Join(initial, ","))
	}
	p.say('D', dataRow(values...)...)
}
