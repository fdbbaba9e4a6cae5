package session

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/tenantgate/tenantgate/wire"
)

// chain follows a DEALLOCATE from the Parse of the unnamed statement to its Execute.
type chain struct {
	own   *own // what it deallocates; nil: there is none
	bound bool
	batch uint64
}

// planSQL is for a statement string that may be about prepared statements.
func (l *Lease) planSQL(sql []byte, v *Verdict) step {
	n, f := l.names, &v.Effects
	if n == nil {
		return forward
	}
	// What binds the context is not sent again: only the Binds of the client's own Parse
	// are held to the session's values.
	n.will = deeds{pin: f.Pin, stirs: f.Stirs, sets: changes(f), binds: v.Bound()}
	if n.inert || !f.Execute && !f.Stirs && f.Pin == PinNone || !f.DeallocateAll && f.Pin != PinUnknown && !aboutStatements(sql) {
		return forward
	}
	n.about, n.will.runs = true, true
	if !n.fetched && l.planNamed(sql) == await {
		return await
	}
	if name, ok := deallocates(sql); ok {
		n.drops = n.all[name]
	}
	return l.planFetch()
}

// planNamed plans for a text that may run prepared statements by SQL. What others have
// left on the backend is closed, whatever the text says: no spelling of a name, and no
// statement that runs another one, reaches it. Those of the client's that the text
// names are brought; one that it names in an odd way may be missing, as after a
// DEALLOCATE.
func (l *Lease) planNamed(sql []byte) step {
	n := l.names
	for i := len(n.pending) - 1; i >= n.head; i-- { // what is pledged by another batch may be skipped
		if o := n.pending[i].own; o != nil && o.stay == n.stay && o.number == n.pending[i].number && o.batch != l.batch {
			return n.wait(o.number, false)
		}
	}
	for h := l.backend.shelf.oldest; h != nil; h = h.newer {
		o := n.all[h.name]
		own := o != nil && (o == n.at || o.stay == n.stay || o.is == h.is) // or planned for already
		if !own && !h.is.none() {
			h.is = doubtful
			n.todo = append(n.todo, todo{cleared, nil, h}) // in front of what may fail
		}
	}
	for _, o := range n.named(sql) {
		if o != n.at && l.refer(o, nil, true) == await {
			return await
		}
	}
	return forward
}

// named are the client's statements whose names stand behind EXECUTE or DEALLOCATE.
func (n *names) named(sql []byte) (all []*own) {
	if len(n.all) == 0 {
		return nil
	}
	seen := map[*own]bool{}
	for len(sql) > 0 {
		word, rest := nextWord(sql)
		sql = rest
		switch {
		case bytes.EqualFold(word, []byte("deallocate")):
			if word, rest = nextWord(sql); bytes.EqualFold(word, []byte("prepare")) {
				sql = rest
			}
		case !bytes.EqualFold(word, []byte("execute")):
			continue
		}
		if o := n.all[identifier(sql)]; o != nil && !seen[o] {
			seen[o] = true
			all = append(all, o)
		}
	}
	return all
}

// nextWord cuts a text behind its next word; nil: there is none.
func nextWord(sql []byte) (word, rest []byte) {
	from := bytes.IndexFunc(sql, func(r rune) bool { return r >= utf8.RuneSelf || isIdentStart(byte(r)) })
	if from < 0 {
		return nil, nil
	}
	to := from
	for to < len(sql) && isNamePart(sql[to]) {
		to++
	}
	return sql[from:to], sql[to:]
}

// identifier is the name that a text begins with behind blanks and comments, as
// PostgreSQL reads it ("Identifiers and Key Words"); empty: there is none.
func identifier(sql []byte) string {
	sql = skipBlank(sql)
	var name []byte
	if rest, quoted := bytes.CutPrefix(sql, []byte{'"'}); quoted {
		for {
			part, more, ended := bytes.Cut(rest, []byte{'"'})
			if !ended {
				return ""
			}
			if name = append(name, part...); !bytes.HasPrefix(more, []byte{'"'}) {
				break
			}
			name, rest = append(name, '"'), more[1:]
		}
	} else {
		end := 0
		for end < len(sql) && isNamePart(sql[end]) {
			end++
		}
		name = bytes.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}, sql[:end])
	}
	return string(cutName(name))
}

// cutName cuts a name where PostgreSQL does: in front of the character that passes the
// end.
func cutName(name []byte) []byte {
	if len(name) <= maxName {
		return name
	}
	end := maxName
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}

// maxBlank is how far a name is looked for.
const maxBlank = 1 << 10

// skipBlank cuts blanks and comments that a text begins with.
func skipBlank(sql []byte) []byte {
	sql = sql[:min(len(sql), maxBlank)] // it is asked for every word of some texts
	for {
		sql = bytes.TrimLeft(sql, " \t\n\v\f\r")
		end := 0
		switch {
		case bytes.HasPrefix(sql, []byte("--")):
			end = bytes.IndexAny(sql, "\r\n") + 1
		case bytes.HasPrefix(sql, []byte("/*")):
			if end = bytes.Index(sql[2:], []byte("*/")) + 2; end >= 2 {
				end += 2
			}
		default:
			return sql
		}
		if end < 2 {
			return nil
		}
		sql = sql[end:]
	}
}

// aboutStatements says whether a text may hold one of the statements that take the
// name of a prepared one.
func aboutStatements(sql []byte) bool {
	return runsPrepared(sql) || contains(sql, "deallocate") || contains(sql, "prepare")
}

// isNamePart says whether c may stand within an identifier.
func isNamePart(c byte) bool { return isIdentStart(c) || isDigit(c) || c == '$' }

// contains says whether a text holds s, in whatever case.
func contains(sql []byte, s string) bool {
	for i := 0; i+len(s) <= len(sql); i++ {
		if (sql[i]|0x20) == (s[0]|0x20) && bytes.EqualFold(sql[i:i+len(s)], []byte(s)) {
			return true
		}
	}
	return false
}

// deallocates reads a string that is one DEALLOCATE of one name.
func deallocates(sql []byte) (name string, ok bool) {
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(string(sql)), ";"))
	word, name, _ := strings.Cut(text, " ")
	if name = strings.TrimSpace(name); !strings.EqualFold(word, "deallocate") {
		return "", false
	}
	if word, rest, more := strings.Cut(name, " "); more && strings.EqualFold(word, "prepare") {
		name = strings.TrimSpace(rest)
	}
	if inner, quoted := strings.CutPrefix(name, `"`); quoted {
		inner, ok = strings.CutSuffix(inner, `"`)
		name = inner
		ok = ok && !strings.ContainsAny(name, "\"\x00")
	} else {
		name = strings.ToLower(name)
		ok = !strings.ContainsFunc(name, func(r rune) bool {
			return r != '_' && r != '$' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
		})
	}
	k, simple := key([]byte(name))
	return string(k), ok && simple && len(k) > 0
}

// attend takes a message that passes: what is about prepared statements runs with
// the Query, or with some Execute of the stay.
func (l *Lease) attend(m wire.Frame) {
	n := l.names
	if m.Type == 'Q' && n.about {
		n.barrier = l.owed.pushed
		if n.drops != nil {
			n.expect(effect{number: l.owed.pushed, what: effectDeallocate, own: n.drops})
		}
	}
	if m.Type == 'P' && n.about || m.Type == 'B' && n.at != nil && n.at.does.runs {
		n.marked = n.stay
	}
	if n.marked != n.stay {
		return
	}
	switch m.Type {
	case 'P':
		if n.at == &n.unnamed {
			n.chain = chain{own: n.drops, batch: l.batch}
		}
	case 'B':
		portal, statement, _ := wire.BindNames(m.Body)
		if len(portal) == 0 {
			n.chain.bound = len(statement) == 0 && n.chain.batch == l.batch
		}
	case 'E':
		n.barrier = l.owed.pushed
		portal, _ := wire.ExecutePortal(m.Body)
		if n.chain.own != nil && n.chain.bound && n.chain.batch == l.batch && len(portal) == 0 {
			n.expect(effect{number: l.owed.pushed, what: effectDeallocate, own: n.chain.own})
			n.chain.own = nil
		}
	}
}

// tagged takes a CommandComplete that may be about prepared statements: of the answer
// of that number.
func (l *Lease) tagged(body []byte, number uint64) {
	n := l.names
	switch tag, _ := wire.CommandTag(body); tag {
	case "DISCARD ALL", "DEALLOCATE ALL":
		n.forget(&l.backend.shelf)
	case "DEALLOCATE":
		for i := n.head; i < len(n.pending) && n.pending[i].number <= number; i++ {
			if e := &n.pending[i]; e.what == effectDeallocate && e.number == number {
				e.done = true
				return
			}
		}
		n.untracked = true // which one cannot be told
	}
}
