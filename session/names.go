package session

import "sync"

// names lets the prepared statements of a client in transaction mode follow it from
// backend to backend, under the names that it gave them.
//
// A stay is the time that the client has one backend: from Begin or Resume to Detach.
// On a new one a statement of the client's is apart from the backend, which has none,
// or another session's, or an equal one, under its name. In front of the first message
// that needs it, it is brought together with what the backend has, by its Parse again,
// a Close of the other one, or both, see refer. From then on client and backend have
// the same under the name as long as the stay lasts, whatever fails or is skipped, and
// nothing is sent for it any more.
//
//	         sent in front, or a Parse
//	         or Close of the client's own           answered
//	 apart -------------------------------> pledged ---------> together
//	   ^                                       |                  |
//	   |<--- skipped behind an error, or the --+                  |
//	   |     proxy's own Parse has failed                         |
//	   |<--------------------- the stay ends ---------------------+
//
//	apart     own.stay is not names.stay
//	pledged   it is, and own.number is that of the message that must be answered
//	together  it is, and own.number is 0
//
// What PostgreSQL makes of a message is known when it is answered: until then it is an
// effect in pending, which resolve applies. A message of the client's that depends on
// a pledge waits for the answer, unless both stand in one batch: an error there that
// breaks the pledge has PostgreSQL skip the message as well.
//
// SQL can name prepared statements, too (EXECUTE, DEALLOCATE), and its effect is not seen
// before its CommandComplete. So all that it may mean is brought together in front of it,
// and behind it nothing is decided about any name until it is answered: it is a barrier.
type names struct {
	all     map[string]*own
	unnamed own
	pending []effect // of messages that are not answered, from head on, in order
	head    int
	stay    uint64 // the number of the stay
	until   uint64 // the client's next message waits for the answer of that number

	kept     []byte // the body of the unnamed statement's Parse, and of those in pending
	from, to int    // where in it that of the client's is

	bytes     int  // that are kept of statements with names
	unkept    int  // statements that the client has and whose Parse is not kept
	untracked bool // there may be more than all holds

	// Of SQL that is about prepared statements.
	barrier uint64 // the number of the last message that may run some
	marked  uint64 // the stay in which some was prepared or bound
	chain   chain

	// What plan finds out about the message at hand.
	at        *own // the statement that it is about
	name      []byte
	shows     bool  // it describes a portal
	inert     bool  // PostgreSQL skips it, or refuses it before it changes anything: nothing is recorded
	unsettled bool  // the like is possible: whether it had an effect shows in the error's code
	strange   bool  // it makes a statement that cannot be followed
	will      deeds // what the statement does that it prepares
	about     bool  // it is SQL about prepared statements
	drops     *own  // … which deallocates this one

	// What is sent in front of it.
	todo   []todo
	prompt bool  // it waits for an answer that PostgreSQL keeps until it is told to send it
	fault  error // ends the session

	// A message that may do without a statement must not fail because that cannot be
	// prepared again: what it may need is fetched before it passes, with a Sync of its
	// own where that ends no batch of the client's, and errors in that are nobody's.
	fetching  bool   // the message at hand waits for that
	fetched   bool   // it has waited: what is left in todo is its own
	fetchFrom uint64 // the number of the first message that was sent for it, where that Sync is; 0: it is not
	fetchSync uint64 // the number of that Sync
	unfetched bool   // there was such an error

	params  uint64 // of the description that is being read
	portal  *own   // what the unnamed portal was bound from
	portals map[string]*own
}

// own is a statement of the client's: what it has under a name by its own account,
// which is also what a connection of its own to PostgreSQL would have.
type own struct {
	name   string
	is     version // none: the client has no such statement
	shown  shown   // how it was described to the client
	unkept bool    // its Parse is not kept, or must not be sent again: the client keeps its backend
	size   int     // what is counted for it
	does   deeds
	owed   int // messages about it that are not answered

	stay, number uint64 // see names
	batch        uint64 // of the message of that number
	changed      bool   // its description is not any more the one that the client has seen
}

// deeds are what a statement does that matters whenever it is executed.
type deeds struct {
	pin   Pin
	stirs bool
	sets  settingSet
	runs  bool // other prepared statements, by SQL
	binds bool // a parameter takes the value of a setting of the context
}

// begins is called when the lease takes a backend.
func (n *names) begins(s *shelf) {
	s.begin()
	n.stay++ // every statement is apart
	n.until, n.barrier, n.marked, n.chain = 0, 0, 0, chain{}
	n.portal = nil
	clear(n.portals)
}

// spareNames are of nobody. What a client without prepared statements has of them it
// needs for its transactions only, and most clients are idle.
var spareNames = sync.Pool{New: func() any { return &names{} }}

// newNames are for a client of which nothing is known yet.
func newNames() *names { return spareNames.Get().(*names) }

// blank says that nothing is known that a new one would not know.
func (n *names) blank() bool {
	return len(n.all) == 0 && n.unnamed.is.none() && n.unnamed.owed == 0 && n.head == len(n.pending) && len(n.portals) == 0 &&
		!n.pins() && !n.fetching && n.bytes == 0 && n.fault == nil
}

// free takes n back: nobody uses it any more.
func (n *names) free() {
	clear(n.pending[:cap(n.pending)])
	clear(n.todo[:cap(n.todo)])
	*n = names{pending: n.pending[:0], todo: n.todo[:0]}
	spareNames.Put(n)
}

// pins says that the client has statements that cannot follow it.
func (n *names) pins() bool { return n != nil && (n.unkept > 0 || n.untracked) }

// pledge notes that the backend will have what the client has as soon as the message
// of that number is answered; one more about o is owed.
func (n *names) pledge(o *own, number, batch uint64) {
	o.stay, o.number, o.batch = n.stay, number, batch
	o.owed++
}

// together notes that client and backend have the same under the name from now on.
func (n *names) together(o *own) { o.stay, o.number = n.stay, 0 }

// lose notes that the client has nothing under the name any more.
func (n *names) lose(o *own) {
	n.bytes -= o.size
	if o.unkept {
		n.unkept--
	}
	if o == &n.unnamed {
		n.from, n.to = 0, 0
	}
	o.is, o.size, o.unkept, o.shown, o.changed, o.does = version{}, 0, false, shown{}, false, deeds{}
}

// tidy forgets a name that the client has nothing under.
func (n *names) tidy(o *own) {
	if o != nil && o != &n.unnamed && o.owed == 0 && o.is.none() && n.all[o.name] == o {
		delete(n.all, o.name)
	}
}

// forget notes that neither the client nor the backend has a statement with a name
// any more.
func (n *names) forget(s *shelf) {
	for _, o := range n.all {
		n.lose(o)
		n.together(o)
		if o.owed == 0 {
			delete(n.all, o.name)
		}
	}
	n.untracked = false
	s.clear()
}
