package session

import "errors"

// answers mirrors, message by message, what PostgreSQL still owes for what was
// forwarded to it: the rules of "Message Flow" in the PostgreSQL documentation
// (Extended Query, COPY Operations, Function Call), run in step with the
// backend. Because both streams are ordered, the front entry always tells what
// the next server message answers: the client's message, or one of the proxy's.
//
// It serves three questions: may this backend be pooled (idle), whose answer is
// this (the flags of the front entry), and is the backend still in step with us
// (an answer that fits nothing is an error, and the connection is closed).
type answers struct {
	ring    []entry // power-of-two ring; nil while nothing was ever owed
	head, n int

	pushed uint64 // entries ever; the number of an entry is what it was when that one was
	taken  uint64 // number of the entry that a ParseComplete or CloseComplete answered last
	erred  uint64 // number of the entry that an ErrorResponse answered last

	status   byte // of the last ReadyForQuery: 'I', 'T' or 'E'
	ours     int  // entries among them that the proxy sent, but for those ahead
	asked    int  // entries, from the front, that PostgreSQL answers without hearing more of the client
	gone     int  // refused entries that left the queue; the owner counts it down
	skipping bool // PostgreSQL discards everything until the next Sync
	unsynced bool // an extended-protocol message was sent since the last Sync or Query
	copying  bool // the front entry is in COPY FROM STDIN
	before   int8 // entries of an entering ahead among them
	coming   int8 // that many will be pushed in front of the next message
	adrift   bool // PostgreSQL may be skipping, by what became of a doubted Sync
}

// entry is one forwarded message that is still owed an answer: its type in the
// low seven bits, plus injected.
type entry byte

const (
	injected entry = 0x80               // sent by the proxy: the answer is not the client's
	refused  entry = 0x20               // stands in for a statement of the client that was refused
	ahead    entry = injected | refused // of an entering ahead of the client's messages

	// PostgreSQL's frontend types are upper-case letters but for c, d and f, so
	// bit 0x20 is free in everything that is queued once copyEnd stands for both
	// CopyDone and CopyFail.
	copyEnd entry = '@'
	// doubted is a Sync that a COPY which failed has swallowed or not: it may
	// never be answered.
	doubted entry = 'Y'
	// supplied is a Parse that the proxy has sent in front of the client's messages,
	// and cleared a Close: only an error of theirs is the client's.
	supplied entry = '['
	cleared  entry = ']'
	// standIn is a Parse of anything, so that there is a statement of that name.
	standIn entry = '\\'
	// shownAgain is a Describe of what was supplied.
	shownAgain entry = '^'
)

func (e entry) kind() byte      { return byte(e &^ (injected | refused)) }
func (e entry) is(f entry) bool { return e&ahead == f }
func (e entry) extended() bool {
	k := e.kind()
	return k == 'P' || k == 'B' || k == 'D' || k == 'E' || k == 'C' || e.ofNames()
}

// ofNames says that the message lets a prepared statement follow the client.
func (e entry) ofNames() bool {
	return e == supplied || e == standIn || e == cleared || e == shownAgain
}

func (e entry) endsCycle() bool {
	k := e.kind()
	return k == 'Q' || k == 'S' || k == 'F' || e == doubted
}
func (a *answers) at(i int) entry { return a.ring[(a.head+i)&(len(a.ring)-1)] }

// maxOwed bounds the mirror: past it the client is not read until PostgreSQL has
// answered some of it. PostgreSQL flushes its answers every 8 KB, so a client
// that pipelines without Sync still moves on.
const maxOwed = 1 << 16

// errDesync means that the backend sent something that answers nothing we sent.
var errDesync = errors.New("backend answered out of turn")

// errAdrift ends a session that went on behind a failed COPY without a Sync of
// its own, after one that the COPY may have swallowed: whether PostgreSQL skips
// what comes then cannot be known.
var errAdrift = errors.New("a Sync inside of a COPY that failed leaves open what is skipped")

func (a *answers) push(e entry) {
	if a.n == len(a.ring) {
		grown := make([]entry, max(16, 2*len(a.ring)))
		for i := range a.n {
			grown[i] = a.at(i)
		}
		a.ring, a.head = grown, 0
	}
	a.ring[(a.head+a.n)&(len(a.ring)-1)] = e
	a.n++
	a.pushed++
	a.count(e, 1)
}

// count keeps account of whose entries there are.
func (a *answers) count(e entry, n int) {
	switch e & ahead {
	case injected:
		a.ours += n
	case ahead:
		a.before += int8(n)
	}
}

func (a *answers) pop() entry {
	e := a.at(0)
	a.head = (a.head + 1) & (len(a.ring) - 1)
	a.n--
	a.asked = max(0, a.asked-1)
	a.count(e, -1)
	if e.is(refused) {
		a.gone++
	}
	return e
}

// unpop puts e, the entry just popped, back in front.
func (a *answers) unpop(e entry) {
	a.head = (a.head - 1) & (len(a.ring) - 1)
	a.ring[a.head] = e
	a.n++
	a.asked = min(a.asked+1, a.n)
	a.count(e, 1)
	if e.is(refused) {
		a.gone--
	}
}

// shrink gives a large ring back once everything is answered.
func (a *answers) shrink() {
	if a.n == 0 && len(a.ring) > 64 {
		a.ring, a.head = nil, 0
	}
}

// front is the entry that the next answer belongs to; zero when nothing is owed.
func (a *answers) front() entry {
	if a.n == 0 {
		return 0
	}
	return a.at(0)
}

// last says that the front entry is one of that type, and that nothing is owed
// behind it but what concerns its COPY.
func (a *answers) last(kind byte) bool {
	if a.front().kind() != kind {
		return false
	}
	for i := 1; i < a.n; i++ {
		if e := a.at(i); e != copyEnd && e != doubted {
			return false
		}
	}
	return true
}

// full says that no more may be forwarded before some answers have arrived.
func (a *answers) full() bool { return a.n >= maxOwed }

// idle says that nothing is owed, half sent or in doubt, and that no
// transaction is open. With both streams at a message boundary and no cancel in
// flight this is what makes a backend poolable.
func (a *answers) idle() bool { return a.quiet() && a.status == 'I' }

// quiet is idle in whatever transaction status.
func (a *answers) quiet() bool { return a.n == 0 && a.settled() }

// settled is quiet but for doubted Syncs, which are answered or not, but before
// anything that is sent now.
func (a *answers) settled() bool {
	return !a.waiting() && !a.skipping && !a.unsynced && !a.copying && !a.adrift
}

// waiting says that an answer is owed, doubted ones not counted.
func (a *answers) waiting() bool {
	for i := range a.n {
		if e := a.at(i); e != doubted && (e != copyEnd || a.copying) {
			return true
		}
	}
	return false
}

// lastRunning is the number of the last entry for which PostgreSQL runs something of the
// client's; 0: there is none.
func (a *answers) lastRunning() uint64 {
	for i := a.n - 1; i >= 0; i-- {
		if e := a.at(i); e != doubted && e != copyEnd && !e.is(ahead) {
			return a.through() + 1 + uint64(i)
		}
	}
	return 0
}

// sent records a message of type typ that goes to the backend now, with flags
// injected or refused or none. It says whether the message is owed an answer.
func (a *answers) sent(typ byte, flags entry) bool {
	switch typ {
	case 'S':
		a.unsynced, a.skipping = false, false
	case 'Q', 'F':
		a.unsynced = a.skipping // it ends a batch as well
	case 'P', 'B', 'D', 'E', 'C':
		a.unsynced = true
	case 'c', 'f':
		// Outside COPY PostgreSQL drops them silently. The place in the queue is
		// kept, because the COPY they end may not have been announced to us yet.
		if a.n > 0 {
			a.push(copyEnd)
		}
		return false
	case 'H':
		a.asked = a.n
		return false
	default:
		return false
	}
	if a.skipping {
		return false
	}
	e := entry(typ) | flags
	a.push(e)
	if e.endsCycle() {
		a.asked = a.n
	}
	return true
}

// received takes a server message of type typ and returns the entry that it
// answers: zero for messages that may come at any time. fatal says, for an
// ErrorResponse, that its severity is FATAL or PANIC.
func (a *answers) received(typ byte, fatal bool) (entry, error) {
	switch typ {
	case 'N', 'A', 'S':
		return 0, nil
	}
	if a.front() == doubted && typ != 'Z' && !fatal {
		if a.adrift {
			return doubted, errDesync
		}
		for a.front() == doubted { // swallowed: it would have been answered first
			a.pop()
			a.dropStrays()
		}
	}
	f, err := a.answered(typ, fatal)
	a.dropStrays()
	return f, err
}

// answered is received for a message that answers the front entry.
func (a *answers) answered(typ byte, fatal bool) (entry, error) {
	f := a.front()
	switch typ {
	case 'E':
		return f, a.failed(f, fatal)
	case 'Z':
		return f, a.cycleEnded(f)
	case '1':
		if f == supplied || f == standIn {
			return a.pop(), nil
		}
		return a.take(f, 'P')
	case '2':
		return a.popIf(f, 'B')
	case '3':
		if f == cleared {
			return a.pop(), nil
		}
		return a.take(f, 'C')
	case 'n':
		return a.popIf(f, describe(f))
	case 's':
		return a.popIf(f, 'E')
	case 'T':
		if f.kind() == 'Q' {
			return f, nil
		}
		return a.popIf(f, describe(f))
	case 't':
		return f, check(f.kind() == describe(f))
	case 'V':
		return f, check(f.kind() == 'F')
	case 'C', 'I':
		if a.copying {
			a.copyDone()
		}
		if f.kind() == 'Q' {
			return f, nil
		}
		return a.popIf(f, 'E')
	case 'G':
		a.copying = true
		return f, check(f.kind() == 'Q' || f.kind() == 'E')
	case 'D', 'H', 'd', 'c':
		return f, check(f.kind() == 'Q' || f.kind() == 'E')
	}
	return f, errDesync
}

// ready records the transaction status of a ReadyForQuery.
func (a *answers) ready(status byte) error {
	if status != 'I' && status != 'T' && status != 'E' {
		return errDesync
	}
	a.status = status
	return nil
}

// failed mirrors what PostgreSQL does on an error: in the extended protocol it
// discards everything up to the next Sync.
func (a *answers) failed(f entry, fatal bool) error {
	if fatal {
		return nil // the connection ends; nothing is owed any more
	}
	if !f.endsCycle() && !f.extended() {
		return errDesync
	}
	a.erred = a.pushed - uint64(a.n) + 1
	if a.copying {
		a.doubtSyncs()
	}
	a.copying = false
	if f.extended() {
		a.skipToSync()
	}
	return nil
}

// skipToSync drops what PostgreSQL discards: everything before the next Sync.
func (a *answers) skipToSync() {
	for a.n > 0 {
		if e := a.at(0); e == doubted {
			a.adrift = true
			return
		} else if e.kind() == 'S' {
			return
		}
		a.pop()
	}
	a.skipping = true
}

// cycleEnded takes a ReadyForQuery.
func (a *answers) cycleEnded(f entry) error {
	if !f.endsCycle() {
		return errDesync
	}
	a.pop()
	a.dropStrays()
	a.copying = false
	if f == doubted && !a.doubtNext() {
		return errAdrift
	}
	a.adrift = false
	a.shrink()
	return nil
}

// describe is the kind of f, which a description may answer.
func describe(f entry) byte {
	if f == shownAgain {
		return f.kind()
	}
	return 'D'
}

func (a *answers) popIf(f entry, kind byte) (entry, error) {
	if f.kind() != kind {
		return f, errDesync
	}
	a.pop()
	return f, nil
}

func check(ok bool) error {
	if !ok {
		return errDesync
	}
	return nil
}
