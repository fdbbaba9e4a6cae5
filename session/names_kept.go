package session

import (
	"bytes"
	"unicode/utf8"
	"unique"

	"github.com/tenantgate/tenantgate/wire"
)

// maxKept bounds, in bytes, what is kept for one client of its Parses, and
// ownOverhead is added for each. A client with more keeps its backend.
const (
	maxKept     = 512 << 10
	ownOverhead = 256
	maxOwn      = maxKept / ownOverhead
)

// keepUnnamed keeps the Parse of an unnamed statement.
func (l *Lease) keepUnnamed(m wire.Frame, v deeds) effect {
	n := l.names
	l.change++
	e := effect{what: 'P', is: version{session: l.entry.Session, change: l.change}, does: v, unsettled: n.unsettled}
	if e.unkept = !m.Whole() || v.binds || l.backend.otherwise() || len(m.Body) > maxKept-n.bytes; !e.unkept {
		n.compact()
		if e.unkept = len(n.kept)+len(m.Body) > maxKept; !e.unkept {
			e.from = len(n.kept)
			n.kept = append(n.kept, m.Body...)
			e.to = len(n.kept)
		}
	}
	return e
}

// compact drops what is not needed any more of what is kept.
func (n *names) compact() {
	const large = 16 << 10
	from := n.from
	if n.unnamed.is.none() || n.unnamed.unkept {
		from, n.from, n.to = len(n.kept), 0, 0
		for i := n.head; i < len(n.pending); i++ {
			if e := &n.pending[i]; e.to > 0 {
				from = e.from
				break
			}
		}
		n.from, n.to = from, from
	}
	if from < len(n.kept)/2 && len(n.kept) < maxKept/2 || from == 0 {
		return // for the next ones
	}
	rest := copy(n.kept, n.kept[from:])
	if n.kept = n.kept[:rest]; cap(n.kept) > large && rest < cap(n.kept)/4 {
		n.kept = append([]byte(nil), n.kept...)
	}
	n.from, n.to = n.from-from, n.to-from
	for i := n.head; i < len(n.pending); i++ {
		if e := &n.pending[i]; e.to > 0 {
			e.from, e.to = e.from-from, e.to-from
		}
	}
}

// again is the Parse of a statement.
func (n *names) again(o *own) []byte {
	body := n.body(o)
	return append(appendHeader(make([]byte, 0, wire.HeaderSize+len(body)), 'P', len(body)), body...)
}

// body is that of the Parse of o; empty: it is not kept.
func (n *names) body(o *own) []byte {
	switch {
	case o == &n.unnamed:
		return n.kept[n.from:n.to]
	case o.unkept, o.is.none():
		return nil
	}
	return []byte(o.is.parse.Value().body)
}

// appendHeader begins a message with a body of that size.
func appendHeader(dst []byte, typ byte, size int) []byte {
	n := uint32(size) + 4
	return append(dst, typ, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// made is the version of a statement with a name that a Parse makes which is sent now.
func (l *Lease) made(body string) version {
	v := version{parse: unique.Make(recipe{body, l.entry.readings})}
	if f := l.follow; f != nil && f.noted.has(settingsRead) || timely(body) {
		l.change++
		v.session, v.change = l.entry.Session, l.change
	}
	return v
}

// timely says that a text may hold a constant which stands for the moment at which it
// is read: 'now' or 'today' ("Special Values" of "Date/Time Types"). now() is none, and
// what holds escapes may spell one.
func timely(body string) bool {
	text := []byte(body)
	for _, word := range [...]string{"today", "tomorrow", "yesterday", `\`, "u&"} {
		if contains(text, word) {
			return true
		}
	}
	for word, rest := nextWord(text); word != nil; word, rest = nextWord(rest) {
		if end := bytes.TrimRight(word, "$"); len(end) >= len("now") && bytes.EqualFold(end[len(end)-len("now"):], []byte("now")) && !bytes.HasPrefix(skipBlank(rest), []byte("(")) {
			return true
		}
	}
	return false
}

// misread is called when the client's encoding has become another one: a text that is
// not ASCII would mean something else if it was sent again. The client keeps the backend
// that has the statement; one that was prepared elsewhere is lost to it.
func (n *names) misread() {
	for _, o := range n.all {
		if !o.is.none() && !o.unkept && !ascii([]byte(o.is.parse.Value().body)) {
			n.bytes -= o.size
			o.size, o.unkept = 0, true
			n.unkept++
		}
	}
	if o := &n.unnamed; !o.is.none() && !o.unkept && !ascii(n.kept[n.from:n.to]) {
		o.unkept = true
		n.unkept++
	}
}

// otherwise says that the backend may read a text in another way than those on which
// the session's own settings are in force.
func (b *Backend) otherwise() bool {
	if len(b.moved) == 0 {
		return false
	}
	_, encoding := b.moved["client_encoding"]
	_, strings := b.moved["standard_conforming_strings"]
	return encoding || strings
}

// ascii says that a text means the same in all encodings.
func ascii(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unreadable says whether the text of a message fails as the message is read, which
// is before it has any effect, because it is not valid in its encoding; or whether
// it may.
func (b *Backend) unreadable(text []byte) (certain, maybe bool) {
	switch {
	case ascii(text):
		return false, false
	case b.Params.Value("client_encoding") == "UTF8" && b.Params.Value("server_encoding") == "UTF8":
		return !utf8.Valid(text), false
	}
	return false, true
}
