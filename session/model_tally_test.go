package session

// tally counts what a run has seen, so that a run that sees nothing is not taken for a good one.
type tally struct {
	sessions  int // sessions that ended
	rows      int // messages that clients got
	leases    int // backends that were leased
	resets    int // resets that were begun
	pooled    int // … and proven
	discarded int // backends that were given up
	refusals  int // sessions that ended for what they sent
	cancels   int // cancels that were forwarded
	hits      int // … and have hit
	adrift    int // Syncs that a COPY may have swallowed
	turns     int // leases that went on on a backend
	trusted   int // … as it was
	pins      int // looks at a client that keeps its backend
	follows   int // settings that followed their client
	reloads   int // new configurations
	rejected  int // entries that PostgreSQL refused
	settled   int // clients that came from transaction to session mode
	recalls   int // cancels of what waited for a backend

	patience int // most Queries and Syncs that a client had answered in one stay in transaction mode
}

func (s *tally) add(o tally) {
	s.sessions += o.sessions
	s.rows += o.rows
	s.leases += o.leases
	s.resets += o.resets
	s.pooled += o.pooled
	s.discarded += o.discarded
	s.refusals += o.refusals
	s.cancels += o.cancels
	s.hits += o.hits
	s.adrift += o.adrift
	s.turns += o.turns
	s.trusted += o.trusted
	s.pins += o.pins
	s.follows += o.follows
	s.reloads += o.reloads
	s.rejected += o.rejected
	s.settled += o.settled
	s.recalls += o.recalls
	s.patience = max(s.patience, o.patience)
}

// Bounds of what must have been met: a run of fewer steps says nothing.
const (
	tellingSteps = 3_000_000
	rareSteps    = 5_000_000 // for what comes once in half a million steps
)

// never names what was not met, in a run of so many steps.
func (s *tally) never(steps int) (names []string) {
	for _, c := range []struct {
		name  string
		n     int
		after int
	}{
		{"sessions", s.sessions, tellingSteps},
		{"rows", s.rows, tellingSteps},
		{"leases", s.leases, tellingSteps},
		{"resets", s.resets, tellingSteps},
		{"pooled", s.pooled, tellingSteps},
		{"discarded", s.discarded, tellingSteps},
		{"refusals", s.refusals, rareSteps},
		{"cancels", s.cancels, tellingSteps},
		{"hits", s.hits, tellingSteps},
		{"adrift", s.adrift, rareSteps},
		{"turns", s.turns, tellingSteps},
		{"trusted", s.trusted, tellingSteps},
		{"pins", s.pins, tellingSteps},
		{"follows", s.follows, tellingSteps},
		{"reloads", s.reloads, tellingSteps},
		{"rejected", s.rejected, tellingSteps},
		{"settled", s.settled, tellingSteps},
		{"recalls", s.recalls, tellingSteps},
		{"patience", s.patience / fairShare, tellingSteps},
	} {
		if c.n == 0 && steps >= c.after {
			names = append(names, c.name)
		}
	}
	return names
}
