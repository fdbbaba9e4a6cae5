package session

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tenantgate/tenantgate/wire"
)

// Parameters are the reported settings of a backend, held as the ParameterStatus
// messages that tell a client of them. Backends with the same values, as nearly
// all idle ones are, share one text. The zero value holds none.
type Parameters struct{ messages string }

// newParameters takes settings by name; they are told in the order of their names.
func newParameters(values map[string]string) Parameters {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b = wire.AppendParameterStatus(b, name, values[name])
	}
	return Parameters{shared(b)}
}

// Bounds of the texts that are shared.
const (
	maxShared   = 256
	longestText = 2 << 10
)

// texts are those that backends share. Package unique would keep no more than is
// in use, but makes who asks it wait for the garbage collector now and then.
var texts struct {
	sync.Mutex
	known map[string]string
}

// shared is b as a string, the same one for all that ask for it.
func shared(b []byte) string {
	if len(b) > longestText {
		return string(b)
	}
	texts.Lock()
	defer texts.Unlock()
	if s, ok := texts.known[string(b)]; ok {
		return s
	}
	if texts.known == nil || len(texts.known) == maxShared {
		texts.known = map[string]string{}
	}
	s := string(b)
	texts.known[s] = s
	return s
}

// Messages are the ParameterStatus messages of all of them.
func (p Parameters) Messages() string { return p.messages }

// Value is what was reported for a setting; empty: nothing was.
func (p Parameters) Value(name string) string {
	_, _, value := p.find(name)
	return value
}

// known returns the value of a setting, and its name as one that may be kept: its text
// is here already, or it is a copy.
func (p Parameters) known(name string) (kept, value string) {
	start, end, value := p.find(name)
	if start == end {
		return strings.Clone(name), ""
	}
	return p.messages[start+wire.HeaderSize:][:len(name)], value
}

// none says that there are none.
func (p Parameters) none() bool { return p == Parameters{} }

// each calls f with every setting and its value.
func (p Parameters) each(f func(name, value string)) {
	for all := p.Messages(); len(all) > 0; {
		end := messageEnd(all)
		name, value, _ := strings.Cut(all[wire.HeaderSize:end-1], "\x00")
		f(name, value)
		all = all[end:]
	}
}

// messageEnd is where the first message ends.
func messageEnd(all string) int {
	return 1 + int(binary.BigEndian.Uint32([]byte(all[1:wire.HeaderSize])))
}

// find returns where the message of a setting stands, or would stand, and the
// value in it.
func (p Parameters) find(name string) (start, end int, value string) {
	for all := p.messages; end < len(all); {
		start = end
		end += messageEnd(all[start:])
		text := all[start+wire.HeaderSize : end-1] // the name, a NUL and the value
		if len(text) > len(name) && text[:len(name)] == name && text[len(name)] == 0 {
			return start, end, text[len(name)+1:]
		}
	}
	return end, end, ""
}

// set takes a new value.
func (p *Parameters) set(name, value string) {
	start, end, old := p.find(name)
	if start < end && old == value {
		return
	}
	var room [1 << 10]byte
	b := append(room[:0], p.messages[:start]...)
	b = wire.AppendParameterStatus(b, name, value)
	p.messages = shared(append(b, p.messages[end:]...))
}
