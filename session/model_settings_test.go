package session

import (
	"iter"
	"maps"
)

// settings are the run-time settings with what a transaction may undo.
type settings struct {
	defaults map[string]string
	now      state
	before   *state // of the transaction; nil while it has changed nothing
	told     map[string]string
}

// state is the settings at one moment.
type state struct{ session, local map[string]string }

// savepoint is one in the transaction at hand.
type savepoint struct {
	name  string
	state state
}

func newSettings() settings {
	return settings{defaults: map[string]string{}, now: state{map[string]string{}, map[string]string{}}, told: map[string]string{}}
}

func (s *settings) snapshot() state { return state{maps.Clone(s.now.session), maps.Clone(s.now.local)} }

func (s *settings) restore(to state) {
	s.touch()
	s.now = state{maps.Clone(to.session), maps.Clone(to.local)}
}

// touch keeps what was before the transaction.
func (s *settings) touch() {
	if s.before == nil {
		b := s.snapshot()
		s.before = &b
	}
}

func (s *settings) get(name string) string {
	if v, ok := s.now.local[name]; ok {
		return v
	}
	if v, ok := s.now.session[name]; ok {
		return v
	}
	return s.defaults[name]
}

func (s *settings) set(name, value string, local bool) {
	s.touch()
	if local {
		s.now.local[name] = value
		return
	}
	delete(s.now.local, name)
	s.now.session[name] = value
}

func (s *settings) reset(name string) {
	s.touch()
	delete(s.now.local, name)
	delete(s.now.session, name)
}

func (s *settings) resetAll() {
	s.touch()
	clear(s.now.local)
	clear(s.now.session)
}

func (s *settings) commit() {
	s.before = nil
	clear(s.now.local)
}

func (s *settings) rollback() {
	if s.before != nil {
		s.now = *s.before
		s.before = nil
	}
	clear(s.now.local)
}

// reported are the settings that PostgreSQL reports, and their names in the reports.
var reported = [...]struct{ setting, name string }{{"application_name", "application_name"}, {"datestyle", "DateStyle"}}

// reports yields what changed of the settings that PostgreSQL reports.
func (s *settings) reports() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, r := range reported {
			if v := s.get(r.setting); s.told[r.setting] != v {
				s.told[r.setting] = v
				yield(r.name, v)
			}
		}
	}
}
