package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is one connection that an event loop owns: a client's or a backend's.
// All of it belongs to the loop's goroutine.
type socket struct {
	fd      int
	events  uint32 // what the poller watches for
	closed  bool
	parked  bool // not in the poller until it is to be read again
	ended   bool // the peer has closed its side, or the connection is broken
	queued  bool // to be read once more without an event
	more    bool // plain text may be had without a further event of the poller
	gathers bool // it is reported only when much is there, see gather.go
	loop    *loop
	tls     *tls.Conn
	raw     *handoverConn
	owner   endpoint

	out      []byte // bytes that the peer has not taken yet
	in       []byte // bytes that were read and not consumed yet
	got      int32  // how many bytes the last fill has read, of a buffer at most
	streamed int32  // bytes read without a pause, up to gatherAfter
	readAt   int64  // when the last ones were, on the loop's clock
}

// endpoint is what a socket leads to; the loop calls it.
type endpoint interface {
	readable() // bytes may be there, or the stream has ended
	drained()  // everything in out was taken
	hungUp()   // the peer has gone while nothing was read from it
	deadline(now int64)
}

// smallRest is how much of an unconsumed rest is copied in front of the next
// read; a longer one grows in place instead.
const smallRest = 4 << 10

// fill reads once and returns the unconsumed rest with the new bytes behind it.
// The slice is the loop's read buffer or the rest's own; it is valid until the
// next fill of any socket of the loop. io.EOF: nothing more will come.
// errEmpty: nothing there now.
func (s *socket) fill() ([]byte, error) {
	b := s.loop.buf
	rest := len(s.in)
	if rest > smallRest {
		n, err := s.read(b)
		s.got = int32(n)
		s.in = append(s.in, b[:n]...)
		return s.in, err
	}
	copy(b, s.in)
	n, err := s.read(b[rest:])
	s.got = int32(n)
	return b[:rest+n], err
}

// fillUpTo is fill for at most n bytes in all, the rest included, which the read
// buffer must hold: what stands behind them stays in the connection.
func (s *socket) fillUpTo(n int) ([]byte, error) {
	b := s.loop.buf[:n]
	rest := copy(b, s.in)
	m, err := s.read(b[rest:])
	return b[:rest+m], err
}

// keep stores what fill returned and was not consumed.
func (s *socket) keep(rest []byte) {
	switch {
	case len(rest) == 0:
		s.in = nil
	case len(s.in) > 0 && &rest[len(rest)-1] == &s.in[len(s.in)-1]:
		s.in = rest // it is the tail of the rest itself
	default:
		s.in = append([]byte(nil), rest...)
	}
}

// read reads plain text into b.
func (s *socket) read(b []byte) (int, error) {
	if s.tls == nil {
		return s.receive(b)
	}
	n, err := s.tls.Read(b)
	s.answerTLS()
	if n == 0 && errors.Is(err, errEmpty) {
		cipher := s.loop.cipher
		m, rerr := s.receive(cipher)
		if rerr != nil {
			s.more = false
			return 0, rerr
		}
		s.raw.in = cipher[:m]
		n, err = s.tls.Read(b)
		s.raw.in = append([]byte(nil), s.raw.in...) // what is left leaves the shared buffer
		s.answerTLS()
	}
	if len(s.raw.in) == 0 {
		s.raw.in = nil
	}
	// Further records may be buffered where no event of the poller tells of them.
	s.more = n > 0 && !s.ended
	switch {
	case s.ended:
		return 0, io.EOF
	case n > 0:
		return n, nil
	case errors.Is(err, errEmpty):
		return 0, errEmpty
	}
	s.ended = true
	return 0, io.EOF // closed by the peer, or not TLS any more
}

// maxUnread is how much a peer may leave unread while it makes us answer key
// updates: more is no peer that means well.
const maxUnread = 256 << 10

// answerTLS sends what the TLS layer wrote while reading: the answer to a key
// update, which the peer can ask for without end.
func (s *socket) answerTLS() {
	if len(s.raw.out) == 0 {
		return
	}
	b := s.raw.out
	s.raw.out = nil
	s.transmit(b)
	if len(s.out) > maxUnread {
		s.ended = true
	}
}

// receive reads from the socket itself.
func (s *socket) receive(b []byte) (int, error) {
	if s.ended {
		return 0, io.EOF
	}
	n, errno := readFD(s.fd, b)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return 0, errEmpty
	case errno != 0 || n <= 0:
		s.ended = true
		return 0, io.EOF
	}
	s.received(n)
	return n, nil
}

// send writes pieces in order; what the peer does not take now is kept in out,
// and the owner must stop its source until drained.
func (s *socket) send(pieces ...[]byte) {
	if s.closed || s.ended && s.tls != nil {
		return
	}
	for _, p := range s.joined(pieces) {
		if s.tls != nil {
			p = s.encrypt(p)
		}
		s.transmit(p)
	}
}

// joined puts pieces into one where they fit the loop's buffer: one write.
func (s *socket) joined(pieces [][]byte) [][]byte {
	if len(pieces) < 2 {
		return pieces
	}
	total := 0
	for _, p := range pieces {
		total += len(p)
	}
	if total > cap(s.loop.join) {
		return pieces
	}
	b := s.loop.join[:0]
	for _, p := range pieces {
		b = append(b, p...)
	}
	return append(pieces[:0], b)
}

// encrypt returns p as TLS records, in the loop's buffer.
func (s *socket) encrypt(p []byte) []byte {
	s.raw.out = append(s.loop.sealed[:0], s.raw.out...)
	_, err := s.tls.Write(p)
	b := s.raw.out
	s.raw.out = nil
	if cap(b) > cap(s.loop.sealed) {
		s.loop.sealed = b
	}
	if err != nil {
		s.ended = true
		return nil
	}
	return b
}

func (s *socket) transmit(p []byte) {
	if len(p) == 0 {
		return
	}
	if len(s.out) == 0 {
		n, errno := writeFD(s.fd, p)
		switch {
		case errno == 0:
			p = p[n:]
		case errno != syscall.EAGAIN && errno != syscall.EINTR:
			s.broken()
			return
		}
	}
	if len(p) > 0 {
		s.out = append(s.out, p...)
		s.watch(s.events | wantWrite)
	}
}

// flush writes what is waiting in out.
func (s *socket) flush() {
	if len(s.out) == 0 {
		s.watch(s.events &^ wantWrite)
		return
	}
	n, errno := writeFD(s.fd, s.out)
	switch {
	case errno == 0:
		s.out = s.out[n:]
	case errno != syscall.EAGAIN && errno != syscall.EINTR:
		s.broken()
		return
	}
	if len(s.out) == 0 {
		s.out = nil
		s.watch(s.events &^ wantWrite)
		s.owner.drained()
	}
}

// broken notes that nothing can be written any more. What the peer sent before
// may still be read; the owner learns of the end there.
func (s *socket) broken() {
	s.out = nil
	s.watch(s.events&^wantWrite | wantRead)
}

// reading switches reading on or off. Off, the peer's going away is still seen.
func (s *socket) reading(on bool) {
	if on {
		s.watch(s.events&wantWrite | wantRead)
	} else {
		s.watch(s.events&wantWrite | wantHangup)
	}
}

// watch tells the poller when something changed.
func (s *socket) watch(events uint32) {
	if s.closed || events == s.events {
		return
	}
	s.events = events
	switch {
	case !s.parked:
		_ = s.loop.poll.modify(s.fd, events) // it is registered; the kernel refuses only what is not
	case events&wantRead != 0:
		s.parked = false
		_ = s.loop.poll.add(s.fd, events)
	}
}

// park takes a socket whose peer has gone out of the poller until it is to be
// read again: the poller would report the end without pause.
func (s *socket) park() {
	if !s.parked {
		s.parked = true
		_ = s.loop.poll.remove(s.fd)
	}
}

// discard reads what nobody wants, not all at once, because a peer could go on for
// ever. It says false at the end of the stream.
func (s *socket) discard() bool {
	for range 8 {
		if _, err := s.receive(s.loop.buf); err != nil {
			return errors.Is(err, errEmpty)
		}
	}
	return true
}

// shutdown tells the peer that nothing more will come.
func (s *socket) shutdown() {
	if s.tls != nil {
		_ = s.tls.CloseWrite() // into memory: it cannot fail
		b := s.raw.out
		s.raw.out = nil
		s.transmit(b)
	}
	_ = unix.Shutdown(s.fd, unix.SHUT_WR) // it may be gone already
}
