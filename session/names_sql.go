package session

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// chain follows a DEALLOCATE from the Parse of the unnamed statement to its Execute.
type chain struct {
	own   *own // what it deallocates; nil: there is none
	bound bool
	batch uint64
}

// planSQL is for a statement string that may be about prepared statements: those that
// it may mean must be on the backend, and those of others must not.
func (l *Lease) planSQL(sql []byte, v *Verdict) step {
	n, f := l.names, &v.Effects
	if n == nil {
		return forward
	}
	n.will = deeds{pin: f.Pin, stirs: f.Stirs, sets: changes(f)}
	if n.inert || !f.Execute && !f.Stirs && f.Pin == PinNone || !f.DeallocateAll && !aboutStatements(sql) {
		return forward
	}
	n.about, n.will.runs = true, true
	if !n.fetched && l.planAll(sql) == await {
		return await
	}
	if name, ok := deallocates(sql); ok {
		n.drops = n.all[name]
	}
	return l.planFetch()
}

// planAll plans for all statements that may be meant by a text; nil: for all.
func (l *Lease) planAll(sql []byte) step {
	n := l.names
	means := func(name string) bool {
		odd := len(name) == maxName || strings.Contains(name, `"`) // the text may spell it otherwise
		return sql == nil || odd || hasWord(sql, name) || contains(sql, "u&")
	}
	for _, name := range slices.Sorted(maps.Keys(n.all)) { // in an order that can be repeated
		if o := n.all[name]; o != n.at && means(name) && l.refer(o, nil, true) == await {
			return await
		}
	}
	for h := l.backend.shelf.oldest; h != nil; h = h.newer {
		if !h.is.none() && n.all[h.name] == nil && means(h.name) {
			n.todo = append(n.todo, todo{cleared, nil, h})
		}
	}
	return forward
}

// aboutStatements says whether a text may hold one of the statements that take the
// name of a prepared one.
func aboutStatements(sql []byte) bool {
	return runsPrepared(sql) || contains(sql, "deallocate") || contains(sql, "prepare")
}

// hasWord says whether a text holds the word s, in whatever case: no other letter or
// digit of an identifier stands beside it.
func hasWord(sql []byte, s string) bool {
	for i := 0; i+len(s) <= len(sql); i++ {
		if !bytes.EqualFold(sql[i:i+len(s)], []byte(s)) {
			continue
		}
		before, after := i == 0 || !isNamePart(sql[i-1]), i+len(s) == len(sql) || !isNamePart(sql[i+len(s)])
		if before && after {
			return true
		}
	}
	return false
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
