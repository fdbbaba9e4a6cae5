package proxy

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A long stream arrives in small pieces, since PostgreSQL sends 8 KB at a time,
// and waking up for each of them costs more than passing it on. So a socket that
// has streamed for a while gathers: the poller reports it only when gatherBytes
// are there (SO_RCVLOWAT of socket(7)). The end of the stream, which may be
// shorter, is waited for gatherMillis at most.
const (
	gatherAfter  = 4 << 20 // bytes without a pause
	gatherBytes  = 128 << 10
	gatherMillis = 1
)

// gatherPause is how long a stream may stand still and still be one, in
// nanoseconds.
const gatherPause = gatherMillis * int64(time.Millisecond)

// received counts n bytes of a stream.
func (s *socket) received(n int) {
	now := s.loop.now
	if now-s.readAt > gatherPause {
		s.streamed = 0
	}
	s.readAt = now
	s.streamed = min(s.streamed+int32(n), gatherAfter)
	if s.streamed >= gatherAfter && !s.gathers {
		s.gather(true)
		s.loop.bulk = append(s.loop.bulk, s)
	}
}

// gather sets how much must be there before the poller reports it. A kind of
// socket that does not know of it reports every byte, as before.
func (s *socket) gather(on bool) {
	if s.gathers == on {
		return
	}
	s.gathers, s.streamed = on, 0
	least := 1
	if on {
		least = gatherBytes
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, least)
}

// stopGathering lets sockets go that had nothing to read for gatherMillis: what
// they hold is reported in the next turn.
func (l *loop) stopGathering() {
	l.bulk = slices.DeleteFunc(l.bulk, func(s *socket) bool {
		if !s.closed && l.now-s.readAt < gatherPause {
			return false
		}
		if !s.closed {
			s.gather(false)
		}
		return true
	})
}
