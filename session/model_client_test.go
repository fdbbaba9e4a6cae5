package session

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/wire"
)

// simClient is a client with its own side of the connection, what the proxy holds for it, and the
// reference that says what a PostgreSQL of its own would have answered.
type simClient struct {
	w      *world
	number int
	tenant *simTenant
	id     auth.Identity
	entry  *Entry
	terms  *Terms // in force when it asked for its backend
	waiter Waiter

	lease    *Lease
	place    *place // the backend it is leased; nil without one
	welcomed bool
	goodbye  bool
	retried  bool
	asking   bool // it waits for a backend for its next transaction
	recall   bool // it cancels that while it waits
	rests    int  // how often its backend came to rest since it has it, without a block or a COPY in between; -1: there was one
	ended    bool
	stalled  bool
	rest     []byte // what the proxy has read and not consumed

	wire   []byte // written by the client, not read by the proxy
	gone   bool   // it has closed its end behind wire
	abrupt bool   // … and the proxy learns of it before it reads the rest
	silent bool   // it reads and writes nothing of its own any more

	ops      int      // that it still wants to do
	await    bool     // it wants its answers first
	later    [][]byte // what it writes before its next op, each behind the answers to the one before
	unsynced bool     // it has sent messages behind its last Sync
	doomed   bool     // a refused statement was longer than the buffer: the session ends
	loose    bool     // its startup settings may differ from the reference's: see nasty
	binds    bool     // it has set its tenant to a bound value
	named    bool     // … by a statement with a name, beside which there is no EXECUTE
	executes bool     // it has sent an EXECUTE, beside which there is no such statement
	unsure   bool     // it has bound a foreign value to what may stand for a statement that takes it
	early    bool     // it has sent a Sync that a COPY may have swallowed
	ref      *postgres
	seen     int // messages of ref.log that have arrived
	received []byte
	told     map[string]string // what it was told of its settings
	fatal    bool              // it was told that its session ends
}

// simTenant is a tenant with a verified identity.
type simTenant struct {
	name    string
	ids     []auth.Identity // of its users
	waiting []*simClient    // in the order in which they asked
	most    int             // backends that it may have; 0: any number
}

// fate is what became of a statement of a client that does not end by itself.
type fate struct {
	done, cancelled bool
	consumed        int
}

// reference is the host of a client's reference: it follows what really happened to slow statements and
// to COPY.
type reference struct {
	c    *simClient
	free bool // nothing more will happen: go on as if each had ended

	recall bool // its next message is cancelled
}

func (*reference) ran(*postgres, int)          {}
func (*reference) lazy(*postgres, string) bool { return false }
func (*reference) rejects() bool               { return false }
func (h *reference) refuses(p *postgres, text string) ([]byte, bool) {
	if text == "" {
		return h.c.w.terms.Refusal(h.c.entry, Denial{Fastpath: true}), true
	}
	if !h.c.w.guarded || !strings.Contains(text, evil) {
		return nil, false
	}
	return h.c.w.terms.Refusal(h.c.entry, Denial{Rule: RuleContextSet}), true
}

func (h *reference) recalls() (instead []byte, recalled bool) {
	if !h.recall {
		return nil, false
	}
	h.recall = false
	return h.c.w.terms.Refusal(h.c.entry, Denial{Canceled: true}), true
}

func (h *reference) outcome(_ *postgres, w *waiting) verdict {
	f := h.c.w.fates[w.key]
	switch {
	case w.copying && w.consumed < f.consumed:
		return proceed
	case f.cancelled:
		return cancel
	case h.free, f.done:
		return proceed
	}
	return remain
}

// evil marks the statements that the guard must refuse.
const evil = "'evil'"

// catchUp lets the reference do what it can.
func (c *simClient) catchUp() {
	for c.ref.step() {
	}
}

// write sends bytes of the client; the reference gets the same.
func (c *simClient) write(b []byte) {
	c.wire = append(c.wire, b...)
	c.ref.in = append(c.ref.in, b...)
	c.catchUp()
}

// satisfied says that everything that a server alone would have sent is there.
func (c *simClient) satisfied() bool { return c.seen >= c.ref.due }

// ready says that the client may do its next thing.
func (c *simClient) ready() bool {
	if !c.welcomed || c.gone || c.silent || c.fatal || c.ended || c.goodbye {
		return false
	}
	if !c.await {
		return true
	}
	c.catchUp()
	stuck := c.ref.waiting != nil && !c.ref.waiting.copying
	return c.satisfied() && !stuck
}

// receive takes what the proxy sends, and holds it against the reference.
func (c *simClient) receive(piece []byte) {
	c.received = append(c.received, piece...)
	for len(c.received) >= wire.HeaderSize {
		n := 1 + int(binary.BigEndian.Uint32(c.received[1:]))
		if len(c.received) < n {
			return
		}
		c.message(said{c.received[0], string(c.received[wire.HeaderSize:n])})
		c.received = c.received[n:]
	}
}

func (c *simClient) message(m said) {
	switch m.typ {
	case 'S':
		c.hear(m)
		return
	case 'N', 'A':
		return
	case 'D', 'd':
		c.foreign([]byte(m.body))
	case 'E':
		if severity, _, _, _ := wire.ErrorFields([]byte(m.body)); severity == "FATAL" && c.place != nil && c.place.faulty {
			c.fatal = true
			return
		}
	}
	if c.fatal {
		c.w.violated("client %d gets %q behind a FATAL error", c.number, m.typ)
	}
	if c.seen == len(c.ref.log) {
		c.catchUp()
	}
	if c.seen == len(c.ref.log) {
		c.w.violated("client %d gets %q %q, and a server of its own would have said nothing more", c.number, m.typ, m.body)
	}
	c.patient(m)
	want := c.ref.log[c.seen]
	if m != want && !c.like(m, want) {
		c.w.violated("client %d gets %q %q, and a server of its own would have said %q %q", c.number, m.typ, m.body, want.typ, want.body)
	}
	if severity, _, _, _ := wire.ErrorFields([]byte(m.body)); m.typ == 'E' && severity == "FATAL" {
		c.fatal = true
	}
	c.seen++
}

// patient holds that nobody who pipelines keeps a backend for long.
func (c *simClient) patient(m said) {
	switch {
	case m.typ == 'G', m.typ == 'Z' && m.body != "I", c.lease.Pinned() != PinNone, c.place.cancels > 0:
		c.rests = -1
	case m.typ == 'Z' && c.rests >= 0:
		c.rests++
	}
	if c.rests > 2*fairShare && c.terms.Transaction {
		c.w.violated("client %d has had backend %d for %d Queries and Syncs", c.number, c.place.number, c.rests)
	}
	if c.terms.Transaction {
		c.w.Seen.patience = max(c.w.Seen.patience, c.rests)
	}
}

// hear takes what the client is told of a setting, which PostgreSQL tells when it has changed.
func (c *simClient) hear(m said) {
	name, value, _ := wire.ParameterStatus([]byte(m.body))
	if old, ok := c.told[name]; ok && old == value && c.welcomed {
		c.w.violated("client %d is told again that its %s is %q", c.number, name, value)
	} else if ok {
		c.told[name] = value
	}
}

// like compares rows without the startup settings, and lets the proxy refuse a Bind that PostgreSQL
// itself would have refused for another reason.
func (c *simClient) like(got, want said) bool {
	if c.unsure && got.typ == 'E' && want.typ == 'E' {
		_, code, _, _ := wire.ErrorFields([]byte(got.body))
		return code == "42501"
	}
	if !c.loose || got.typ != want.typ || got.typ != 'D' && got.typ != 'd' {
		return false
	}
	g, _ := wire.DataRow([]byte(got.body), nil)
	v, _ := wire.DataRow([]byte(want.body), nil)
	if len(g) != len(v) {
		return false
	}
	for i := range g {
		if i != program && !bytes.Equal(g[i], v[i]) {
			return false
		}
	}
	return true
}

// checkTold holds what the client was told of its settings against what is in force, while it
// has no backend and has sent nothing more.
func (c *simClient) checkTold() {
	if c.catchUp(); c.loose || len(c.wire) > 0 || !c.satisfied() || c.ref.waiting != nil || c.ref.open {
		return
	}
	for _, r := range reported {
		if want := c.ref.settings.get(r.setting); c.told[r.name] != want {
			c.w.violated("client %d believes that its %s is %q, and it is %q", c.number, r.name, c.told[r.name], want)
		}
	}
}

// foreign looks for rows that belong to someone else.
func (c *simClient) foreign(body []byte) {
	values, ok := wire.DataRow(body, nil)
	if !ok || len(values) < 3 {
		c.w.violated("client %d gets a row of %d values", c.number, len(values))
	}
	if owner := c.w.owner(atoi(values[0])); owner != c {
		c.w.violated("client %d gets a row that client %d has asked for", c.number, owner.number)
	}
	if t := string(values[1]); t != c.tenant.name && t != "-" {
		c.w.violated("client %d of %s gets a row of tenant %q", c.number, c.tenant.name, t)
	}
}

// checkAnswered is called when nothing more will happen: what a server alone would have sent must be
// there.
func (c *simClient) checkAnswered(when string) {
	h := c.ref.host.(*reference)
	h.free = true
	c.catchUp()
	h.free = false
	if c.satisfied() || c.doomed || c.goodbye && c.ref.dead && c.seen == c.ref.due-1 {
		return // of one who leaves in the middle of a COPY, the FATAL behind the error is not awaited
	}
	c.w.violated("client %d %s, and misses %d messages, first %q %q", c.number, when, c.ref.due-c.seen, c.ref.log[c.seen].typ, c.ref.log[c.seen].body)
}
