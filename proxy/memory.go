package proxy

import "runtime/debug"

// turnover counts clients that came and went.
type turnover struct {
	seen uint64 // at the last look
	done uint64 // when memory was last given back
}

// crowd is how many comings and goings leave enough behind to be worth a
// collection. A login takes some ten kilobytes for a moment.
const crowd = 500

// tidy gives the memory of past logins back to the system once a second has
// passed without any. Clients at rest allocate nothing, so that the garbage of
// their logins would stay for as long as they rest: it weighs more than they do.
// It says whether it did.
func (t *turnover) tidy(now uint64) bool {
	calm := now == t.seen
	t.seen = now
	if !calm || now-t.done < crowd {
		return false
	}
	t.done = now
	debug.FreeOSMemory()
	return true
}

// turnover is the number of clients that have come plus those that have gone.
func (s *Server) turnover() uint64 { return 2*s.sessions.Load() - uint64(s.count()) }
