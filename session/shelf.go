package session

import (
	"math"
	"unique"
)

// version tells one prepared statement from every other one. Two that were made by
// the same Parse, and read alike, are the same, whoever sent it. The unnamed statement
// is that of its session alone, and so is one whose Parse is not kept or was read by
// settings that are not known, or whose constants depend on when it was read.
type version struct {
	parse           unique.Handle[recipe]
	session, change uint64
}

// recipe is what a prepared statement is made from.
type recipe struct {
	body     string // of the Parse
	readings string // of the entry: what its text was read by
}

// none says that there is no statement.
func (v version) none() bool { return v == version{} }

// doubtful stands for whatever a backend may have under a name: nothing, too.
var doubtful = version{change: math.MaxUint64}

// held is what a backend has under a name.
type held struct {
	name         string
	is           version
	shown        shown  // how it was described
	stay         uint64 // of the shelf's, when it was used last
	newer, older *held
}

// shelf knows the prepared statements of the protocol that a backend has. What SQL
// prepares is not among them: whoever does so keeps the backend until it is reset.
type shelf struct {
	byName         map[string]*held
	newest, oldest *held
	unnamed        held
	stay           uint64 // counts the stays of clients on the backend
}

// begin is called when a lease takes the backend.
func (s *shelf) begin() { s.stay++ }

// put returns what stands under the name, with a new entry for one that is new, and
// makes it the newest.
func (s *shelf) put(name string) *held {
	if name == "" {
		return &s.unnamed
	}
	h := s.byName[name]
	if h == nil {
		if s.byName == nil {
			s.byName = map[string]*held{}
		}
		h = &held{name: name}
		s.byName[name] = h
	} else {
		s.unlink(h)
	}
	s.link(h)
	h.stay = s.stay
	return h
}

// touch makes h the newest.
func (s *shelf) touch(h *held) {
	h.stay = s.stay
	if h != &s.unnamed && h != s.newest {
		s.unlink(h)
		s.link(h)
	}
}

// doubt is called for an error by which PostgreSQL may have another statement than is
// believed: a function has deallocated it, or it was prepared before the table changed
// and gives other columns now. What was used in this stay is closed before the next
// one uses it.
func (s *shelf) doubt() {
	for h := s.newest; h != nil && h.stay == s.stay; h = h.older {
		if !h.is.none() {
			h.is = doubtful
		}
	}
}

// drop notes that nothing stands under the name any more.
func (s *shelf) drop(h *held) {
	h.is, h.shown = version{}, shown{}
	if s.byName[h.name] != h {
		return
	}
	s.unlink(h)
	delete(s.byName, h.name)
}

// clear drops all statements that have names.
func (s *shelf) clear() {
	for _, h := range s.byName {
		h.is, h.newer, h.older = version{}, nil, nil
	}
	s.byName, s.newest, s.oldest = nil, nil, nil
}

// link makes h the newest.
func (s *shelf) link(h *held) {
	h.older, h.newer = s.newest, nil
	if s.newest != nil {
		s.newest.newer = h
	}
	s.newest = h
	if s.oldest == nil {
		s.oldest = h
	}
}

func (s *shelf) unlink(h *held) {
	if h.newer != nil {
		h.newer.older = h.older
	} else {
		s.newest = h.older
	}
	if h.older != nil {
		h.older.newer = h.newer
	} else {
		s.oldest = h.newer
	}
	h.newer, h.older = nil, nil
}
