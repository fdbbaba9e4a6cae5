// Package session holds every decision about a client's session on a backend:
// which answers are owed, what the guard says, when the context is entered and
// entered again, when a lease may end, whether a reset is proven, and who gets
// the next backend. It is plain state machines: frames and times in, bytes and
// verdicts out. No socket, goroutine or clock of its own; only Dial, which is
// slow and rare, talks to the network.
//
// The life of a lease:
//
//	Begin     entering   the context goes to the backend, the client waits
//	          relaying   both streams pass; statements are judged on the way
//	          holding    a statement undid the context: the client waits until
//	                     it is entered again
//	          leaving    Terminate was read; outstanding answers still pass
//	Poolable  then a Reset proves the backend clean and the Pool hands it on
//
// In transaction mode the client gives its backend up between transactions:
//
//	Detachable, Detach   idle without a backend
//	Wants, Resume        entering or, where the backend carries the context, relaying
//
// Whatever does not fit ends the lease with an error, and the backend is closed.
package session

import (
	"github.com/tenantgate/tenantgate/wire"
)

// Terms are what all leases of one database share. They are immutable.
type Terms struct {
	Transaction     bool // pool_mode: a lease is Detachable behind each transaction
	MaxPrepared     int  // statements with names that a backend keeps for its clients; 0: they pin
	Guard           *Guard
	SealedGuard     *Guard // in the place of Guard where the database is sealed whole; nil: the same
	StatementBuffer int    // bytes of a statement that are held until it is judged
	// Refusal builds the whole ErrorResponse for a refused statement.
	Refusal func(*Entry, Denial) []byte
	// Noted is told of statements that a guard rule in mode log would have
	// refused; may be nil.
	Noted func(*Entry, Rule)
}

// Denial says why a message of a client was refused.
type Denial struct {
	Rule     Rule // of the guard; empty for the others
	Fastpath bool // it is a FunctionCall
	Changed  bool // the statement gives other columns than those that the client knows
	Canceled bool // the client has cancelled it while it waited for a backend
}

// Lease is one client on one backend, from entering the context until the
// backend is given up; in transaction mode, on one backend after the other. It
// belongs to one event loop and is not safe for concurrent use.
//
// There are many more clients than backends, and most are idle: what is known of a
// client in between is kept small, and the rest is the backend's.
type Lease struct {
	*stay // on the backend that the client has now; nil: it has none

	entry      *Entry
	statements *resetters // nil: there were none
	bindings   *bindings  // likewise
	follow     *follow    // nil: no setting of the client's is to be followed
	names      *names     // in transaction mode; nil while nothing is known and there is no backend
	batch      uint64     // counts the Syncs
	change     uint64     // counts the versions of prepared statements that are the session's own
	numbered   uint64     // the answers owed by the backends before, see Sent
	welcome    Parameters // in transaction mode: those that the client was welcomed with, as far as they may change
	told       Parameters // those that it was told last, if not the same
	pin        Pin
	leaving    bool // the client sent Terminate
	recalled   bool // the first statement of the transaction is to fail, see Recall
}

// stay is what a lease knows of the time that the client has one backend. It belongs
// to the backend, which serves one lease at a time, and begins anew with each.
type stay struct {
	// What every query touches stands together.
	terms   *Terms
	backend *Backend

	confirmed  bool // the last entering was answered with the right values
	began      bool // the context was confirmed once: the client is welcome
	fragile    bool // the transaction at hand may take the context back, see reenter
	cancelling bool // a cancel of the client's is in flight
	farewell   bool // the backend said that it ends the connection

	turn    turn
	server  serverStream
	client  clientStream
	owed    answers
	Stats   Stats
	denials []Denial // one for each refused entry in owed, in order
	undone  undone   // what is to be entered again
	probe   probe    // an Execute that is awaited
}

// Stats count what passed since they were looked at last.
type Stats struct {
	Queries      uint64 // cycles: simple queries and Syncs that were answered
	Transactions uint64 // answers with transaction status idle
	Statements   uint64 // that were completed; a simple query can have many
}

// Out collects what a step of a lease sends, as consecutive pieces. The slices
// may alias the chunk that was passed in and are valid until the next step. An
// event loop has one for all of its leases.
type Out struct {
	Server [][]byte
	Client [][]byte
	Random Random     // of the loop
	room   []byte     // for pieces of the proxy's own
	query  enterQuery // likewise
	judge  Judge      // of the statement at hand: too large to be made for each
}

// Reset empties o and keeps its memory.
func (o *Out) Reset() {
	clear(o.Server)
	clear(o.Client)
	o.Server, o.Client, o.room = o.Server[:0], o.Client[:0], o.room[:0]
}

func (o *Out) toServer(p []byte) {
	if len(p) > 0 {
		o.Server = append(o.Server, p)
	}
}

func (o *Out) toClient(p []byte) {
	if len(p) > 0 {
		o.Client = append(o.Client, p)
	}
}

// Begin starts a lease of b for entry and sends the context ahead of everything
// else. The client's bytes are not taken until Entered.
func (l *Lease) Begin(terms *Terms, entry *Entry, b *Backend, out *Out) error {
	*l = Lease{entry: entry}
	l.begin(terms, b)
	l.turn.took = true // the client may be welcomed and wait without a backend
	for _, s := range entry.settings {
		if leadsToTemp(s.Name, s.Value) {
			l.pinned(PinTemp)
		}
	}
	return l.attach(out)
}

// inject sends the context and settings to the backend: synchronized by a Sync
// of its own, or (inside a batch of the client's, whose error must still skip
// the rest of the batch) flushed only.
func (l *Lease) inject(out *Out, name string, settings []wire.Param, sync bool) error {
	if name == "" {
		l.backend.shelf.drop(&l.backend.shelf.unnamed)
	}
	start := len(out.room)
	var seed *Random
	if !l.began {
		seed = &out.Random
	}
	msg, err := l.entry.appendEnter(&out.query, out.room, name, settings, seed, l.backend.seal)
	if err != nil {
		return err
	}
	l.owed.sent('P', injected)
	l.owed.sent('B', injected)
	l.owed.sent('E', injected)
	l.owed.sent('C', injected)
	if name != "" {
		l.owed.sent('C', injected)
	}
	if sync {
		msg = wire.AppendSync(msg)
		l.owed.sent('S', injected)
	} else {
		msg = wire.AppendFlush(msg)
		l.owed.sent('H', injected)
	}
	l.confirmed = false
	l.turn.stirred = l.turn.stirred || l.began
	out.room = msg
	out.toServer(msg[start:])
	return nil
}

// Entered says that the client may be welcomed and that its bytes are taken: the
// context was entered and confirmed, or is going to be ahead of them.
func (l *Lease) Entered() bool { return l.began || l.turn.ahead != aheadNone }

// Holding says that no byte of the client may be taken now: the context is
// being entered, or PostgreSQL has enough to answer already. A message of which
// PostgreSQL has a part is always taken to its end.
func (l *Lease) Holding() bool {
	if l.client.scan.Inside() && !l.leaving {
		return false
	}
	if l.owed.ours > 0 || l.turn.ahead == aheadShut || l.owed.full() || l.leaving || l.probe.on || l.overstays() || l.names.holds(&l.owed) {
		return true
	}
	if !l.undone.any() || !l.undone.closed {
		return false
	}
	// A statement undid the context, and a Query or Sync has closed the cycle that
	// holds it: its end is awaited, unless it is itself waiting for COPY data or
	// for another Sync.
	if l.owed.waiting() {
		return !l.owed.wantsData() && !l.owed.lost()
	}
	return l.cancelling && l.owed.status != 'E'
}

// Cancelling notes whether a cancel for this session is in flight: nothing of
// the proxy's own is sent then, because the cancel could hit it. The end of the
// last one may send what was put off.
func (l *Lease) Cancelling(inFlight bool, out *Out) error {
	l.cancelling = inFlight
	if err := l.probed(out); err != nil {
		return err
	}
	if err := l.reenter(out); err != nil {
		return err
	}
	return l.readBack(out)
}

// Recall cancels what the client has sent while it waits for a backend: the first
// statement fails in front of PostgreSQL, as if the cancel had come while it ran. What
// comes behind a Detach is another transaction, which is not meant.
func (l *Lease) Recall() { l.recalled = true }

// Cancellable says that PostgreSQL is running statements of the client and none
// of the proxy's own.
func (l *Lease) Cancellable() bool { return l.owed.waiting() && l.owed.ours == 0 }

// Sent is the number of the last message to PostgreSQL that it answers.
func (l *Lease) Sent() uint64 {
	if l.stay == nil {
		return l.numbered
	}
	return l.owed.pushed
}

// Answered says that nothing more is owed for that message, nor any before it.
func (l *Lease) Answered(number uint64) bool { return l.stay == nil || l.owed.through() >= number }

// Entering says that the context is being entered again at this moment.
func (l *Lease) Entering() bool { return l.stay != nil && l.began && l.owed.ours > 0 }

// Occupied says that PostgreSQL works for the proxy at this moment, amid the session:
// the context is entered again, or settings are read back.
func (l *Lease) Occupied() bool { return l.stay != nil && l.began && l.owed.front().is(injected) }

// Running says that PostgreSQL works on statements of the client, as far as can be
// seen: it has a whole message that it did not answer. A message of which it
// waits for the rest is none yet.
func (l *Lease) Running() bool {
	return l.stay != nil && l.Entered() && l.Cancellable() && !(l.owed.n-int(l.owed.before) == 1 && l.client.owes && l.halfForwarded())
}

// Open says that a transaction is open, by BEGIN or because a statement runs. A
// batch of the extended protocol is one up to its Sync: what was open once is so
// until Stats count a transaction. One is open as well while the client Withholds.
func (l *Lease) Open() bool {
	return l.stay != nil && l.Entered() && (l.owed.status != 'I' || l.Running() || l.Withholds())
}

// Withholds says that the client keeps a backend from others for nothing but a message
// of which it has not sent the end.
func (l *Lease) Withholds() bool {
	return l.stay != nil && l.terms.Transaction && (!l.turn.took || l.client.scan.Inside()) && l.Pinned() == PinNone
}

// Leaving says that the client has sent Terminate.
func (l *Lease) Leaving() bool { return l.leaving }

// Busy says that the backend owes an answer, or the rest of one.
func (l *Lease) Busy() bool { return l.stay != nil && (l.owed.waiting() || !l.server.atBoundary()) }

// Idle says that the session may be ended here as between two transactions: nothing
// that the client has sent needs an answer. What it has sent of its next message does
// not matter: none of that was forwarded, or it is nothing that PostgreSQL answers.
func (l *Lease) Idle() bool {
	return l.stay == nil || l.Entered() && l.owed.settled() && l.owed.status == 'I' && l.server.atBoundary()
}

// AwaitsClient says that nothing happens before the client sends more: the
// backend owes nothing that it would send by itself, or it waits for the rest of
// a message or of a COPY.
func (l *Lease) AwaitsClient() bool {
	return l.Entered() && (l.owed.asked == 0 || l.halfForwarded() || l.owed.copying && !l.owed.queued(copyEnd))
}

// Farewell says that a FATAL of the backend has passed to the client.
func (l *Lease) Farewell() bool { return l.farewell }

// AtBoundary says that the stream to the client stands between two messages,
// whatever the backend has sent of the next one.
func (l *Lease) AtBoundary() bool { return l.stay == nil || !l.server.scan.Inside() || l.server.hide }

// Poolable says that the backend owes nothing, is not in a transaction, and that
// no frame is half relayed in either direction; the caller adds that no cancel
// is in flight. Everything else is closed.
func (l *Lease) Poolable() bool {
	return (l.began || l.turn.ahead == aheadDue) && l.owed.idle() && !l.halfForwarded() && l.server.atBoundary()
}

// halfForwarded says that the backend has a part of a message of the client and
// waits for the rest of it: nothing may come in between.
func (l *Lease) halfForwarded() bool { return l.client.scan.Inside() && !l.client.drop }

// undone remembers what statements of the client undid and must be entered again.
type undone struct {
	settings []wire.Param
	context  bool
	closed   bool // a Query or Sync was the last that was sent: a ReadyForQuery will come
	done     bool // PostgreSQL said that something was undone, or else settings are left as they are
	query    bool // a Query undid some of it, which may have ended one transaction and begun another
}

func (u *undone) any() bool { return u.context || len(u.settings) > 0 }

// undoes says whether a statement with these effects undoes the context or a
// setting of the startup packet. While the context is fragile any statement may
// be the one that goes back behind where it was entered.
func (l *Lease) undoes(f *Effects) bool {
	if !f.Any() {
		return l.fragile
	}
	if f.resets(latchSetting) || f.ResetUnknown {
		l.backend.seal.keep() // it may be entered again where nothing can be latched
	}
	settings, context := l.entry.undone(f)
	return len(settings) > 0 || context || l.fragile
}

// undo notes the effects of a Query that was just sent.
func (l *Lease) undo(f *Effects) {
	if !l.undoes(f) {
		return
	}
	l.undone.context, l.undone.query = true, true
	settings, _ := l.entry.undone(f)
	for _, s := range settings {
		l.undone.add(s)
	}
}

// add keeps each setting once, however often a client resets it.
func (u *undone) add(s wire.Param) {
	for _, have := range u.settings {
		if have.Name == s.Name {
			return
		}
	}
	u.settings = append(u.settings, s)
}

// probe is an Execute that may undo the context, in a batch of which more is to
// come: its answer tells whether it did.
type probe struct {
	on       bool
	undid    bool     // it was answered by the tag of a statement that does
	discards bool     // that of DISCARD ALL
	effects  *Effects // its own; kept apart because nearly no client ever needs it
	// discarded are the settings entered again in place behind a DISCARD ALL of
	// this batch, which commits by itself: an error takes them back, and not it.
	discarded []wire.Param
}

// completed takes a CommandComplete while it matters: of the Execute that is
// awaited, or of a Query that may undo something.
func (l *Lease) completed(body []byte) {
	tag, _ := wire.CommandTag(body)
	discards := tag == "DISCARD ALL"
	if discards {
		l.pin = PinNone
		l.discards()
	}
	undid := discards || tag == "RESET" || tag == "SET" || tag == "DISCARD SEQUENCES"
	if l.probe.on && !l.owed.waiting() {
		l.probe.undid, l.probe.discards = undid || tag == "ROLLBACK", discards
	}
	l.undone.done = l.undone.done || undid
	if undid && !discards {
		l.resets()
	}
}

// probed enters the context again behind an Execute that undid it, in the middle
// of the batch: without a Sync, so that an error still skips the rest. To
// PostgreSQL this is one more statement of the batch, so that what refuses to be
// "executed within a pipeline" (VACUUM, say) is refused behind it.
func (l *Lease) probed(out *Out) error {
	switch {
	case l.probe.on && l.owed.adrift: // whether it runs cannot be known, nor whether it is answered
		return errAdrift
	case !l.probe.on, l.owed.waiting() && !(l.owed.copying && l.owed.last('E')), l.probe.undid && l.cancelling:
		return nil
	case !l.probe.undid: // it failed, was skipped or did something else, such as a COPY
		l.probe.on = false
		return nil
	}
	// The settings are not noted as undone: what the client sets from here on stays.
	settings, _ := l.entry.undone(l.probe.effects)
	l.undone.context = true
	l.fragile = l.fragile || l.probe.effects.resets(latchSetting) // a rollback brings back the settings, not the latch
	if l.probe.discards {
		l.probe.discarded = settings
	}
	l.probe.on = false
	return l.inject(out, enterName, settings, false)
}

// failed is told of an error of the client's: it takes back what the Query undid,
// and what was entered in place behind a DISCARD ALL.
func (l *Lease) failed() {
	if l.owed.last('Q') {
		l.undone.settings, l.undone.done = nil, false
	}
	l.undone.done = l.undone.done || len(l.probe.discarded) > 0
	for _, s := range l.probe.discarded {
		l.undone.add(s)
	}
	l.probe.discarded = nil
}

// reenter enters the context again once everything before it is answered: called
// after each ReadyForQuery, when a cancel is over, and before each message of the
// client. In a failed transaction nothing can be set; when it has ended this runs
// again.
//
// What is entered inside of a transaction goes with it when it is rolled back.
// That restores the context as long as the transaction began with it; but one
// Query can undo the context, commit, and begin the next transaction. So behind
// such a Query the context is entered again after every statement and at last
// behind the transaction's end.
func (l *Lease) reenter(out *Out) error {
	if !l.undone.any() && !l.fragile || !l.began || !l.owed.settled() || l.halfForwarded() {
		return nil
	}
	if l.owed.status == 'I' {
		l.undone.context = true
		l.fragile = false
	} else {
		l.fragile = l.fragile || l.undone.query
	}
	if l.cancelling || l.owed.status == 'E' || !l.undone.any() {
		return nil
	}
	settings := l.undone.settings
	if !l.undone.done {
		settings = nil
	}
	l.undone = undone{}
	return l.inject(out, enterName, settings, true)
}
