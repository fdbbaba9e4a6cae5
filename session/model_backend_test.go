package session

import (
	"encoding/binary"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// postgres plays a PostgreSQL backend by the rules of tcop/postgres.c: it reads one message at a time,
// skips to the next Sync after an error in the extended protocol, takes the input for COPY data while a
// COPY FROM STDIN runs, and flushes only where PostgreSQL does. The SQL that it runs is its own, see
// execute. A second one, without a proxy in front, is the reference for each client.
type postgres struct {
	in     []byte // received, not read yet
	buffer []byte // said, not flushed
	sent   []byte // flushed: on its way
	room   int    // bytes that buffer holds before it is flushed
	dead   bool   // it has closed the connection

	statements map[string]string  // prepared, by name
	portals    map[string]*portal // by name
	runs       map[int]int        // statements that wait, by id
	settings   settings
	block      byte // 'I' no transaction block, 'T' in one, 'E' in a failed one
	open       bool // a transaction has begun
	points     []savepoint
	pipelined  bool // an Execute has run since the transaction began
	skipping   bool // to the next Sync

	script   []string // statements of a Query that are still to run
	scripted bool     // a Query is being run
	multiple bool     // it holds several statements
	left     int      // id of the last statement that left something in the session; 0: none
	undid    bool     // an earlier statement of it may have undone the context
	waiting  *waiting // what runs and does not end by itself

	columns []byte // of every select, where not those of rowDescription
	host    host
	logging bool   // it is a reference
	log     []said // what it has said, without what may come at any time
	due     int    // how much of log was flushed
}

// said is one message to the client.
type said struct {
	typ  byte
	body string
}

// host is where a simulated backend stands: behind the proxy, or alone as a reference.
type host interface {
	// ran is told of every statement of a client that carries an id, as it starts to run.
	ran(p *postgres, id int)
	// refuses says that the proxy refuses the text, and what the client is told.
	refuses(p *postgres, text string) (instead []byte, refused bool)
	// recalls says that the client has cancelled its next message while it waited for a backend, and what
	// it is told.
	recalls() (instead []byte, recalled bool)
	// lazy says that a statement is to run until it is told to end.
	lazy(p *postgres, text string) bool
	// rejects says that the context cannot be entered.
	rejects() bool
	// outcome says what became of a statement that waits: of a reference, what happened to the real one.
	outcome(p *postgres, w *waiting) verdict
}

// verdict is what becomes of a statement that does not end by itself.
type verdict uint8

const (
	remain  verdict = iota // nothing yet
	proceed                // it ends, or a COPY reads its next message
	cancel                 // it is cancelled
)

// waiting is a statement that runs on: one that is slow, or a COPY FROM STDIN.
type waiting struct {
	id       int
	key      [2]int // id and how often it has run before
	text     string
	portal   *portal // of an Execute
	copying  bool
	rows     int
	consumed int // messages read as part of the COPY, but for Flushes
}

// portal is a bound statement.
type portal struct {
	text  string
	left  int // rows that a suspended select still has
	level int // savepoints that stood when it was made
	done  bool
	value string // of its first parameter
}

func newPostgres(h host, room int) *postgres {
	return &postgres{
		host: h, room: room, block: 'I',
		statements: map[string]string{}, portals: map[string]*portal{},
		settings: newSettings(), runs: map[int]int{},
	}
}

// say sends one message.
func (p *postgres) say(typ byte, body ...byte) {
	p.buffer = append(p.buffer, typ)
	p.buffer = binary.BigEndian.AppendUint32(p.buffer, uint32(len(body)+4))
	p.buffer = append(p.buffer, body...)
	p.noted(said{typ, string(body)})
}

// pass sends a message that is built already.
func (p *postgres) pass(msg []byte) {
	p.buffer = append(p.buffer, msg...)
	p.noted(said{msg[0], string(msg[wire.HeaderSize:])})
}

func (p *postgres) noted(m said) {
	if p.logging && m.typ != 'N' && m.typ != 'S' && m.typ != 'A' {
		p.log = append(p.log, m)
	}
	if len(p.buffer) > p.room {
		p.flush()
	}
}

func (p *postgres) flush() {
	p.sent = append(p.sent, p.buffer...)
	p.buffer = p.buffer[:0]
	p.due = len(p.log)
}

// ready ends a cycle.
func (p *postgres) ready() {
	for name, value := range p.settings.reports() {
		p.pass(wire.AppendParameterStatus(nil, name, value))
	}
	p.say('Z', p.block)
	p.flush()
}

// step does the next thing that there is to do, and says whether there was any.
func (p *postgres) step() bool {
	switch {
	case p.dead:
		return false
	case p.waiting != nil:
		return p.wait()
	case p.scripted:
		p.next()
		return true
	}
	typ, body, ok := p.read()
	if !ok {
		return false
	}
	p.message(typ, body)
	return true
}

// doing is what step is about to do, for the trace.
func (p *postgres) doing() string {
	switch {
	case p.waiting != nil && !p.waiting.copying:
		return p.waiting.text
	case p.waiting == nil && p.scripted:
		return "next of " + strings.Join(p.script, ";")
	}
	if f, ok := new(wire.Scanner).Next(p.in); ok {
		return string(f.Type) + string(f.Body)
	}
	return ""
}

// read takes one whole message of the input.
func (p *postgres) read() (typ byte, body []byte, ok bool) {
	if len(p.in) < wire.HeaderSize {
		return 0, nil, false
	}
	typ, length := p.in[0], binary.BigEndian.Uint32(p.in[1:])
	if wire.CheckClient(typ, length) != nil {
		p.die("08P01")
		return 0, nil, false
	}
	if len(p.in) < int(length)+1 {
		return 0, nil, false
	}
	body = p.in[wire.HeaderSize : 1+length]
	p.in = p.in[1+length:]
	return typ, body, true
}

// message handles one message outside of COPY FROM STDIN.
func (p *postgres) message(typ byte, body []byte) {
	if p.skipping && typ != 'S' && typ != 'X' {
		return
	}
	switch typ {
	case 'Q':
		p.query(body)
	case 'F':
		delete(p.statements, "") // a Query that is refused stands in for it
		if instead, ok := p.host.refuses(p, ""); ok {
			p.refused(instead, false)
			return
		}
		p.fail("0A000", false)
	case 'S':
		p.skipping = false
		if p.block == 'I' {
			p.commit()
		}
		p.ready()
	case 'H':
		p.flush()
	case 'X':
		p.dead = true
	case 'P':
		p.parse(body)
	case 'B':
		p.bind(body)
	case 'D':
		p.describe(body)
	case 'E':
		p.start()
		name, _ := wire.ExecutePortal(body)
		p.executePortal(p.portals[cut(string(name))], int(binary.BigEndian.Uint32(body[len(body)-4:])))
	case 'C':
		kind, name, _ := wire.CloseOrDescribe(body)
		if kind == 'S' {
			delete(p.statements, cut(string(name)))
		} else {
			delete(p.portals, cut(string(name)))
		}
		p.say('3')
	}
}

// cut shortens a name to what PostgreSQL keeps of it (NAMEDATALEN).
func cut(name string) string { return name[:min(len(name), 63)] }

func (p *postgres) parse(body []byte) {
	p.start()
	name, sql, ok := wire.ParseText(body)
	if !ok {
		p.fail("08P01", true)
		return
	}
	key, text := cut(string(name)), string(sql)
	if instead, ok := p.host.recalls(); ok {
		if key == "" {
			delete(p.statements, "")
		}
		p.refused(instead, true)
		return
	}
	if strings.Contains(text, misspelt) { // as the message is read: the unnamed statement stays
		p.fail("22021", true)
		return
	}
	if key == "" {
		delete(p.statements, "")
	}
	if instead, ok := p.host.refuses(p, text); ok {
		p.refused(instead, true)
		return
	}
	_, taken := p.statements[key]
	switch {
	case !valid(text):
		p.fail("42601", true)
	case p.block == 'E' && !leaves(text):
		p.fail("25P02", true)
	case taken:
		p.fail("42P05", true)
	default:
		p.statements[key] = text
		p.say('1')
	}
}

func (p *postgres) bind(body []byte) {
	p.start()
	portalName, statement, _ := wire.BindNames(body)
	text, ok := p.statements[cut(string(statement))]
	key := cut(string(portalName))
	_, taken := p.portals[key]
	values, whole := wire.BindValues(body, nil)
	if instead, ok := p.host.recalls(); ok {
		p.refused(instead, true)
		return
	}
	if ok && len(values) > 0 && strings.Contains(text, "set_config(") {
		if instead, ok := p.host.refuses(p, string(values[0])); ok {
			p.refused(instead, true)
			return
		}
	}
	switch {
	case !ok:
		p.fail("26000", true)
	case !whole:
		p.fail("08P01", true)
	case p.block == 'E' && !leaves(text):
		p.fail("25P02", true)
	case taken && key != "":
		p.fail("42P03", true)
	default:
		p.portals[key] = &portal{text: text, left: -1, level: len(p.points)}
		if isEnter(text) || isAsk(text) {
			p.portals[key].text = text + bound(body)
		} else if len(values) > 0 {
			p.portals[key].value = string(values[0])
		}
		p.say('2')
	}
}

func (p *postgres) describe(body []byte) {
	p.start()
	kind, name, _ := wire.CloseOrDescribe(body)
	text, ok := p.statements[cut(string(name))]
	if kind == 'P' {
		var q *portal
		if q, ok = p.portals[cut(string(name))]; ok {
			text = q.text
		}
	}
	switch {
	case !ok && kind == 'S':
		p.fail("26000", true)
		return
	case !ok:
		p.fail("34000", true)
		return
	case p.block == 'E' && !leaves(text): // PostgreSQL goes on to describe what returns nothing; the proxy may not be able to
		p.fail("25P02", true)
		return
	case kind == 'S':
		p.say('t', 0, 0)
	}
	if returns(text) {
		p.say('T', p.described()...)
	} else {
		p.say('n')
	}
}

// described is the description of what a select returns.
func (p *postgres) described() []byte {
	if p.columns != nil {
		return p.columns
	}
	return rowDescription
}

// query begins a Query.
func (p *postgres) query(body []byte) {
	p.start()
	sql, ok := wire.QueryText(body)
	if !ok {
		p.fail("08P01", false)
		return
	}
	instead, recalled := p.host.recalls()
	if !recalled && strings.Contains(string(sql), misspelt) { // as the message is read: the unnamed statement stays
		p.fail("22021", false)
		return
	}
	delete(p.portals, "")
	delete(p.statements, "")
	if recalled {
		p.refused(instead, false)
		return
	}
	if instead, ok := p.host.refuses(p, string(sql)); ok {
		p.refused(instead, false)
		return
	}
	if !valid(string(sql)) {
		p.fail("42601", false)
		return
	}
	p.script = split(string(sql))
	p.scripted, p.multiple, p.undid = true, len(p.script) > 1, false
	if len(p.script) == 0 {
		p.say('I')
	}
}

// next runs the next statement of a Query, or ends it.
func (p *postgres) next() {
	if len(p.script) == 0 {
		p.scripted = false
		if p.block == 'I' {
			p.commit()
		}
		p.ready()
		return
	}
	text := p.script[0]
	p.script = p.script[1:]
	p.start()
	p.run(text, nil, 0)
}

// executePortal runs a portal for at most limit rows; 0: all.
func (p *postgres) executePortal(q *portal, limit int) {
	if q == nil {
		p.fail("34000", true)
		return
	}
	if q.done && !returns(q.text) {
		p.fail("55000", true)
		return
	}
	p.undid, q.done = false, true
	p.run(q.text, q, limit)
}
