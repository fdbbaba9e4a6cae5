package session

import "sync"

// names lets the prepared statements of a client in transaction mode follow it from
// backend to backend, under the names that it gave them. In front of the first message
// of a turn that needs one, what the backend has under its name is made what the
// client has: by its Parse again, or a Close of another one's. From then on both go
// together, whatever fails or is skipped, and nothing is sent for that name any more.
//
// What PostgreSQL makes of a message is known when it is answered, see resolve. What
// depends on an answer that is still owed waits for it, unless an error that changes
// it would also skip the message.
type names struct {
	all     map[string]*own
	unnamed own
	pending []effect // of messages that are not answered, from head on, in order
	head    int
	turn    uint64 // counts the backends that the lease has had
	until   uint64 // the number of the answer that the client's next message waits for

	kept     []byte // the body of the unnamed statement's Parse, and of those in pending
	from, to int    // where in it that of the client's is

	bytes     int  // that are kept of statements with names
	unkept    int  // statements that the client has and whose Parse is not kept
	untracked bool // there may be more than all holds

	// Of SQL that is about prepared statements.
	barrier uint64 // the last message that may run some
	marked  uint64 // the turn in which some was prepared or bound
	chain   chain

	// What is sent in front of the message at hand, and what becomes of it.
	todo    []todo
	at      *own // the statement that it is about
	name    []byte
	shows   bool   // it describes a portal
	inert   bool   // it has no effect: it is skipped, or fails too early
	maybe   bool   // it may fail before it has any effect
	strange bool   // it makes a statement that cannot be followed
	will    deeds  // what the statement does that it prepares
	about   bool   // it is SQL about prepared statements
	drops   *own   // … which deallocates this one
	prompt  bool   // it waits for an answer that PostgreSQL keeps until it is told to send it
	aside   bool   // it waits for what is sent in front of it, whose errors are not its own
	given   bool   // it has done so
	sync    uint64 // the Sync behind that
	tripped bool   // … and PostgreSQL skips it because of such an error
	fault   error  // ends the session

	params  uint64 // of the description that is being read
	portal  *own   // what the unnamed portal was bound from
	portals map[string]*own
}

// own is a statement of the client's.
type own struct {
	name   string
	is     version // none: the client has no such statement
	shown  shown   // how it was described to the client
	unkept bool    // its Parse is not kept: the client keeps its backend
	size   int     // what is counted for it
	does   deeds
	owed   int // messages about it that are not answered

	// In the turn of that number the backend has what the client has: as soon as
	// the message of that number is answered, or at once where it is 0 or for what is
	// sent in the same batch as that one.
	turn, number, batch uint64
	changed             bool // its description is not any more the one that the client has seen
}

// deeds are what a statement does that matters whenever it is executed.
type deeds struct {
	pin   Pin
	stirs bool
	sets  settingSet
	runs  bool // other prepared statements, by SQL
}

// begins is called when the lease takes a backend.
func (n *names) begins(s *shelf) {
	s.begin()
	n.turn++
	n.until, n.barrier, n.marked, n.chain = 0, 0, 0, chain{}
	n.portal = nil
	clear(n.portals)
}

// idle are names of nobody. What a client without prepared statements has of them it
// needs for its transactions only, and most clients are idle.
var idle = sync.Pool{New: func() any { return &names{} }}

func newNames() *names { return idle.Get().(*names) }

// blank says that nothing is known that a new one would not know.
func (n *names) blank() bool {
	return len(n.all) == 0 && n.unnamed.is.none() && n.unnamed.owed == 0 && n.head == len(n.pending) && len(n.portals) == 0 &&
		!n.pins() && !n.aside && n.bytes == 0 && n.fault == nil
}

// free takes n back: nobody uses it any more.
func (n *names) free() {
	clear(n.pending[:cap(n.pending)])
	clear(n.todo[:cap(n.todo)])
	*n = names{pending: n.pending[:0], todo: n.todo[:0]}
	idle.Put(n)
}

// pins says that the client has statements that cannot follow it.
func (n *names) pins() bool { return n != nil && (n.unkept > 0 || n.untracked) }

// pledge notes that the backend will have what the client has as soon as the message
// of that number is answered; one more about o is owed.
func (n *names) pledge(o *own, number, batch uint64) {
	o.turn, o.number, o.batch = n.turn, number, batch
	o.owed++
}

// together notes that client and backend have the same under the name from now on.
func (n *names) together(o *own) { o.turn, o.number = n.turn, 0 }

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
		o.turn, o.number = n.turn, 0
		if o.owed == 0 {
			delete(n.all, o.name)
		}
	}
	n.untracked = false
	s.clear()
}
