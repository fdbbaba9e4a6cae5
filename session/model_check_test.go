package session

import (
	"bytes"
	"slices"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// checkClean holds what the lease believes of PostgreSQL against what is: it owes nothing and nothing
// is on the way that it would answer.
func (b *place) checkClean() {
	pg := b.pg
	if pg.dead || b.frozen {
		return
	}
	if pg.block != 'I' || pg.open || pg.skipping || pg.scripted || pg.waiting != nil {
		b.w.violated("backend %d is pooled while it is busy: block %c, open %v, skipping %v, running %v, waiting %v",
			b.number, pg.block, pg.open, pg.skipping, pg.scripted, pg.waiting != nil)
	}
	if typ := stranger(slices.Concat(b.rest, pg.sent, pg.buffer), "NAS"); typ != 0 {
		b.w.violated("backend %d is pooled while %q comes from it", b.number, typ)
	}
	if typ := stranger(slices.Concat(pg.in, b.toPG), "dcfH"); typ != 0 {
		b.w.violated("backend %d is pooled while %q is on the way to it", b.number, typ)
	}
}

// stranger returns the first message of p that is not of these types, '?' for one that is not whole,
// and 0 for none.
func stranger(p []byte, types string) byte {
	for len(p) > 0 {
		f, ok := new(wire.Scanner).Next(p)
		if !ok || !f.Whole() {
			return '?'
		}
		if strings.IndexByte(types, f.Type) < 0 {
			return f.Type
		}
		p = p[wire.HeaderSize+f.Size():]
	}
	return 0
}

// struck brings a cancel request of asker to PostgreSQL.
func (b *place) struck(asker *simClient) {
	if b.mode == modeIdle || b.mode == modeTesting || b.last != asker || b.mode == modeLeased && b.client != asker {
		b.w.violated("a cancel of client %d reaches backend %d, which is not its any more", asker.number, b.number)
	}
	b.w.note("a cancel of client $a strikes backend $b", asker.number, b.number, 0)
	s := b.pg.waiting
	if s == nil || b.finish == proceed {
		return
	}
	if s.id == 0 {
		b.w.violated("a cancel of client %d hits a statement of the proxy: %s", asker.number, s.text)
	}
	if b.w.owner(s.id) != asker {
		b.w.violated("a cancel of client %d hits a statement of client %d", asker.number, b.w.owner(s.id).number)
	}
	b.finish = cancel
	b.w.Seen.hits++
}

// ran checks a statement of a client as it begins to run.
func (b *place) ran(pg *postgres, id int) {
	c := b.w.owner(id)
	if b.last != c || b.mode == modeLeased && b.client != c || b.mode == modeTesting || b.mode == modeIdle {
		b.w.violated("statement %d of client %d runs on backend %d, which is not its", id, c.number, b.number)
	}
	for i, name := range c.entry.names {
		got, want := pg.settings.get(name), c.entry.values[i]
		if got != want && (got != "" || !pg.undid) {
			b.w.violated("statement %d of client %d runs on backend %d with %s = %q in the place of %q", id, c.number, b.number, name, got, want)
		}
	}
}

// refuses is for references only; what the proxy refuses must not get here.
func (b *place) refuses(_ *postgres, text string) ([]byte, bool) {
	if b.w.guarded && bytes.Contains([]byte(text), []byte(evil)) {
		b.w.violated("a refused statement reached backend %d", b.number)
	}
	return nil, false
}

// recalls is for references only, too.
func (b *place) recalls() ([]byte, bool) { return nil, false }

// lazy makes some of the proxy's own statements slow, so that a cancel may meet them.
func (b *place) lazy(_ *postgres, text string) bool {
	return (isEnter(text) || isAsk(text) || b.mode == modeTesting) && b.w.rand.IntN(8) == 0
}

// rejects lets entering fail, so that what is sent behind it is seen not to run.
func (b *place) rejects() bool {
	odds := 50
	if c := b.client; c != nil && c.welcomed && !c.terms.Transaction {
		odds = 3 // it has come from another mode, which is rare
	}
	b.rejected = b.rejected || b.w.faults && b.w.rand.IntN(odds) == 0
	if b.rejected {
		b.w.Seen.rejected++
	}
	return b.rejected
}

// outcome tells a statement that waits what becomes of it, and the reference of it too.
func (b *place) outcome(_ *postgres, s *waiting) verdict {
	v := b.finish
	if s.copying && v == remain {
		return proceed
	}
	if v != remain {
		f := b.w.fates[s.key]
		f.done, f.cancelled = v == proceed, v == cancel
		if s.copying {
			f.consumed = s.consumed
		}
		b.w.fates[s.key] = f
		b.finish = remain
	}
	return v
}

// alike says that b was entered for c, or for one that PostgreSQL cannot tell from it.
func (b *place) alike(c *simClient) bool {
	return b.carried == c.entry || slices.Equal(b.carried.values, c.entry.values) && slices.Equal(b.carried.settings, c.entry.settings)
}

// checkShelf holds what is remembered of a backend's prepared statements against those that it has.
func (b *place) checkShelf() {
	if b.pg.dead || b.faulty {
		return
	}
	shelf := &b.be.shelf
	for name, text := range b.pg.statements {
		h := shelf.byName[name]
		if name == "" {
			h = &shelf.unnamed
		}
		if h == nil || h.is.none() {
			b.w.violated("backend %d has a statement %q, %q, and it is not known", b.number, name, text)
		}
		if _, sql, _ := wire.ParseText([]byte(h.body())); h.is != doubtful && h.body() != "" && string(sql) != text {
			b.w.violated("backend %d has a statement %q, %q, and is taken to have %q", b.number, name, text, sql)
		}
	}
	if _, ok := b.pg.statements[""]; !ok && !shelf.unnamed.is.none() && shelf.unnamed.is != doubtful {
		b.w.violated("backend %d is taken to have an unnamed statement", b.number)
	}
	for name, h := range shelf.byName {
		if _, ok := b.pg.statements[name]; !ok && h.is != doubtful {
			b.w.violated("backend %d is taken to have a statement %q", b.number, name)
		}
	}
}

// body is the Parse of a statement that has a name.
func (h *held) body() string {
	if h.name == "" || h.is.session != 0 || h.is == doubtful || h.is.none() {
		return ""
	}
	return h.is.parse.Value().body
}
