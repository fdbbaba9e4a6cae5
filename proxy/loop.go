package proxy

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantgate/tenantgate/session"
)

const (
	readBuffer = 64 << 10 // one for all sockets of a loop
	// cipherBuffer holds one TLS record with its overhead.
	cipherBuffer = 18 << 10
)

// loop owns sockets: each client together with the backend it is leased. One
// goroutine makes all decisions about them, so that there are no locks between
// the two directions, and one read buffer serves them all.
type loop struct {
	number  int // among the server's
	poll    *poller
	sockets []*socket // by file descriptor
	dead    []*socket // closed in this turn; their descriptors are freed at its end
	behind  []func()  // what is done once they are
	again   []*socket // to be read once more without an event
	bulk    []*socket // that gather
	timers  timers
	now     int64 // nanoseconds of the monotonic clock at the start of the turn

	buf    []byte // plain text as read
	cipher []byte // TLS records as read
	sealed []byte // TLS records to write
	join   []byte // pieces that go out in one write
	out    session.Out

	mail struct {
		sync.Mutex
		box     []letter
		waiting atomic.Bool // box is not empty
		asleep  atomic.Bool // the loop waits, or is about to: it must be woken
		over    bool        // the loop has ended
	}
	letters []letter // taken from the box and not run yet
	grants  []grant  // of the loop's own, not carried out yet
	granted int      // of them, how many are
	current *socket  // the one whose event, timer or letter is being handled
	fault   func(what any, at *socket)
	stopped bool
}

func newLoop() (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &loop{
		poll: p, buf: make([]byte, readBuffer), cipher: make([]byte, cipherBuffer),
		join: make([]byte, 0, readBuffer),
	}, nil
}

// started is what the loops' clock counts from.
var started = time.Now()

// time is now as a point in time.
func (l *loop) time() time.Time { return started.Add(time.Duration(l.now)) }

// clock is the monotonic time in nanoseconds since the process began.
func clock() int64 { return int64(time.Since(started)) }

// letter is something for the loop's goroutine to run.
type letter struct {
	run func()
	of  *socket // that a fault in it costs; may be nil
}

// post makes the loop's goroutine run f soon. Any goroutine may call it. It says
// false when the loop has ended and f will never run.
func (l *loop) post(f func()) bool { return l.postFor(nil, f) }

// postFor is post for what happens to s.
func (l *loop) postFor(s *socket, f func()) bool {
	l.mail.Lock()
	defer l.mail.Unlock()
	if l.mail.over {
		return false
	}
	first := len(l.mail.box) == 0
	l.mail.box = append(l.mail.box, letter{f, s})
	l.mail.waiting.Store(true)
	if first && l.mail.asleep.Load() {
		l.poll.wakeUp()
	}
	return true
}

// run is the loop's goroutine. It ends after stop.
func (l *loop) run() {
	// A thread of its own: the loop is not moved between threads when it was preempted.
	runtime.LockOSThread()
	preferBatches()
	defer l.finish()
	l.now = clock()
	for !l.stopped {
		l.survive()
	}
}

// survive takes a turn. A fault of ours costs the client and the backend that it
// happened to, not all the others of the loop.
func (l *loop) survive() {
	defer func() {
		if fault := recover(); fault != nil {
			l.failed(fault)
			l.bury()
		}
	}()
	l.turn()
}

// failed lets a fault cost what was being handled, unless that is another loop's by
// now.
func (l *loop) failed(what any) {
	at := l.current
	l.current = nil
	if at != nil && at.loop != l {
		at = nil
	}
	l.fault(what, at)
}

func (l *loop) finish() {
	l.mail.Lock()
	l.mail.over = true
	l.mail.Unlock()
	for l.mail.waiting.Load() || len(l.letters) > 0 || len(l.grants) > 0 {
		l.lastLetters() // whoever sent one waits for what it does
	}
	l.poll.close()
}

// lastLetters is deliver for a loop that takes no more turns.
func (l *loop) lastLetters() {
	defer func() {
		if fault := recover(); fault != nil {
			l.failed(fault)
		}
	}()
	l.deliver()
	l.grant()
	l.bury()
}

// stop ends the loop; it must be called on the loop.
func (l *loop) stop() { l.stopped = true }

// turn waits for events and handles all of them.
func (l *loop) turn() {
	// In this order: whoever posts a letter that timeout does not see, sees that
	// the loop is asleep. Letters of the loop's own, and those that come while it
	// is awake, are run at the end of the turn without a wake-up.
	l.mail.asleep.Store(true)
	events := l.poll.wait(l.timeout())
	l.mail.asleep.Store(false)
	l.now = clock()
	for i := range events {
		fd, seen := int(events[i].Fd), events[i].Events
		if fd == l.poll.wake {
			l.poll.wokenUp()
			continue
		}
		if s := l.socket(fd); s != nil {
			l.current = s
			s.handle(seen)
		}
	}
	l.current = nil
	l.readAgain()
	l.deliver()
	l.grant()
	l.expire()
	l.stopGathering()
	l.bury()
}

func (l *loop) socket(fd int) *socket {
	if fd < len(l.sockets) {
		return l.sockets[fd]
	}
	return nil
}

// handle brings what the poller saw to the socket's owner.
func (s *socket) handle(seen uint32) {
	if !s.closed && seen&seenWrite != 0 {
		s.flush()
	}
	if s.closed {
		return
	}
	if s.events&wantRead != 0 {
		if seen&(seenRead|seenHangup) != 0 {
			s.owner.readable()
		}
	} else if seen&seenHangup != 0 {
		s.owner.hungUp()
	}
}

// attach makes fd, which the caller gives away, a socket of the loop.
//
// On an error the descriptor is closed and s belongs to no loop.
func (l *loop) attach(s *socket, events uint32) error {
	if err := l.poll.add(s.fd, events); err != nil {
		closeFD(s.fd)
		s.closed = true
		return err
	}
	s.loop, s.events = l, events
	for s.fd >= len(l.sockets) {
		l.sockets = append(l.sockets, make([]*socket, max(64, len(l.sockets)))...)
	}
	l.sockets[s.fd] = s
	return nil
}

// detach takes a socket away from the loop without closing it.
func (l *loop) detach(s *socket) {
	_ = l.poll.remove(s.fd)
	l.sockets[s.fd] = nil
	if s.gathers {
		s.gather(false)
		l.bulk = slices.DeleteFunc(l.bulk, func(b *socket) bool { return b == s }) // another loop may own it before this turn ends
	}
	s.loop = nil
}

// close closes a socket at the end of the turn: until then its descriptor cannot
// be taken by another connection of which an event is still to be handled. The
// poller forgets it then by itself, because there is no duplicate of it.
func (l *loop) close(s *socket) {
	if s.closed {
		return
	}
	s.closed = true
	s.out, s.in = nil, nil
	l.sockets[s.fd] = nil
	l.dead = append(l.dead, s)
}

func (l *loop) bury() {
	for i, s := range l.dead {
		closeFD(s.fd)
		l.dead[i] = nil
	}
	l.dead = l.dead[:0]
	for len(l.behind) > 0 {
		f := l.behind[0]
		l.behind = l.behind[1:] // first: it must not come again if f fails
		f()
	}
	l.behind = nil
}

// resume reads a socket again at the end of the turn, because it has bytes that
// the poller does not tell of.
func (l *loop) resume(s *socket) {
	if !s.queued {
		s.queued = true
		l.again = append(l.again, s)
	}
}

// readAgain reads the sockets that are due without an event, each once: others
// get their turn in between.
func (l *loop) readAgain() {
	for range len(l.again) {
		s := l.again[0]
		l.again = l.again[1:] // first: it must not come again if it fails
		s.queued = false
		l.current = s
		if !s.closed && s.loop == l {
			s.owner.readable()
		}
	}
	l.current = nil
	if len(l.again) == 0 {
		l.again = nil
	}
}

// grant gives clients the backends that were granted to them in this turn.
func (l *loop) grant() {
	for l.granted < len(l.grants) {
		g := l.grants[l.granted]
		l.grants[l.granted] = grant{}
		l.granted++ // first: it must not come again if it fails
		l.current = g.c.sock
		if g.b.mode == backendIdle {
			g.c.granted(g.b)
		} else {
			g.c.lost() // it died in the meantime
		}
	}
	l.current = nil
	l.grants, l.granted = l.grants[:0], 0
}

func (l *loop) deliver() {
	if !l.mail.waiting.Load() && len(l.letters) == 0 {
		return
	}
	l.mail.Lock()
	l.mail.waiting.Store(false)
	l.letters = append(l.letters, l.mail.box...)
	clear(l.mail.box)
	l.mail.box = l.mail.box[:0]
	l.mail.Unlock()
	for len(l.letters) > 0 {
		next := l.letters[0]
		l.letters = l.letters[1:] // first: it must not come again if it fails
		l.current = next.of
		next.run()
	}
	l.current = nil
	l.letters = nil
}

// timeout is how long the poller may wait, in milliseconds.
func (l *loop) timeout() int {
	if len(l.again) > 0 || len(l.letters) > 0 || len(l.grants) > 0 || l.mail.waiting.Load() {
		return 0
	}
	wait := int64(-1)
	if at, ok := l.timers.next(); ok {
		wait = max(0, (at-l.now+int64(time.Millisecond)-1)/int64(time.Millisecond)) // a little too long when the last turn took time
	}
	if len(l.bulk) > 0 && (wait < 0 || wait > gatherMillis) {
		wait = gatherMillis
	}
	return int(min(wait, math.MaxInt32)) // the kernel takes no more: 25 days
}

func (l *loop) expire() {
	for {
		t := l.timers.due(l.now)
		if t == nil {
			l.current = nil
			return
		}
		l.current = t.of
		t.of.owner.deadline(l.now)
	}
}

// closeBackends closes every backend of the loop: the process is ending.
func (l *loop) closeBackends() {
	for _, s := range l.sockets {
		if s == nil {
			continue
		}
		if b, ok := s.owner.(*backend); ok {
			b.discard(session.ReasonShutdown, nil)
		}
	}
}
