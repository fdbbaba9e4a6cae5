package integration

import (
	"fmt"
	"strings"
	"testing"
)

// use binds and executes a prepared statement.
func use(name string, params ...string) []byte {
	return join(bind("", name, params...), execute("", 0))
}

// followSessions are sessions whose prepared statements must answer as on a server of
// their own, exchange by exchange.
var followSessions = map[string][]exchange{
	"named": {
		x(parse("s", "SELECT 'mine', $1::int"), describe('S', "s")), x(use("s", "1")), x(use("s", "2")), x(describe('S', "s"), use("s", "3")),
		x(parse("s", "SELECT 'again'")), x(use("s", "4")), x(closeOf('S', "s")), x(use("s", "5")), x(parse("s", "SELECT 'anew'")), x(use("s")),
		x(parse("t", "SELECT 'another'"), use("t"), use("s")), x(use("t")), x(closeOf('S', "t"), closeOf('S', "t"), parse("t", "SELECT 'third'"), use("t")), x(use("t")),
	},
	"unknown": {
		x(use("s")), x(describe('S', "s")), x(closeOf('S', "s")), x(use("")), x(describe('S', "")), q("EXECUTE s"), q("DEALLOCATE s"), x(use("s")), x(parse("s", "SELECT 'mine'")), x(use("s")),
	},
	"unnamed": {
		x(parse("", "SELECT 'mine', $1::int")), x(use("", "1")), x(describe('S', "")), x(use("", "2")), q("SELECT 1"), x(use("", "3")), x(parse("", "SELECT 'anew'")), x(use("")),
		x(closeOf('S', "")), x(use("")), x(parse("", "SELECT 'third'")), x(parse("", "SELEC")), x(use("")), x(parse("", "SELECT 'fourth'")), q("SELECT 1; SELECT 1/0"), x(use("")),
	},
	"in a transaction": {x(parse("s", "SELECT 'mine'"), parse("", "SELECT 'unnamed'")), q("BEGIN"), x(use("")), x(use("s")), q("COMMIT"), x(use("s"))},
	"failed before they have any effect": {
		x(parse("", "SELECT 'old'"), parse("s", "SELECT 'old s'")), x(parse("", "SELECT '\xff'")), x(use("")), x(parse("s", "SELECT '\xff'")), x(use("s")), q("SELECT '\xff'"), x(use("")),
		x(message('P', append(cstrings("", "SELECT 1"), 0)...)), x(use("")), x(message('P', append(cstrings("s", "SELECT 1"), 0, 9)...)), x(use("s")),
		{message('Q', []byte("SELECT 1\x00x")...), 1},
		x(use("")),
		q(`SELECT E'\xff'`), x(use("")), x(parse("", "SELECT 'new'")), x(parse("", `SELECT E'\xff'`)), x(use("")),
	},
	"skipped": {
		x(parse("s", "SELECT 'old'"), parse("", "SELECT 'old unnamed'")), x(use("none"), parse("s", "SELECT 'new'"), closeOf('S', "s"), parse("", "SELECT 'new'")), x(use("s")), x(use("")),
		x(closeOf('S', "s"), parse("s", "SELECT 'new'"), use("none"), closeOf('S', "s")), x(use("s")),
		{join(use("none"), parse("", "SELECT 'lost'"), syncMessage, use(""), syncMessage, use("s"), syncMessage), 3},
		{join(closeOf('S', "s"), syncMessage, use("s"), syncMessage, parse("s", "SELECT 'third'"), syncMessage, use("s"), syncMessage, simple("SELECT 1"), use(""), syncMessage), 6},
	},
	"failed transactions": {
		x(parse("s", "SELECT 'mine'"), parse("r", "ROLLBACK")), q("BEGIN"), q("SELECT 1/0"), x(use("s")), x(parse("t", "SELECT 1")), x(use("r")), x(use("s")), x(use("t")),
		q("BEGIN"), q("SELECT 1/0"), x(parse("r", "ROLLBACK")), x(parse("s", "ROLLBACK")), x(use("r")), x(use("s")),
	},
	"deallocated": {
		x(parse("a", "SELECT 'a'"), parse("b", "SELECT 'b'"), parse("Odd name", "SELECT 'odd'")), q("DEALLOCATE a"), x(use("a")), x(use("b")), q("EXECUTE b"), q("EXECUTE a"), q(`DEALLOCATE "Odd name"`), x(use("Odd name")),
		x(extended("DEALLOCATE PREPARE b")), x(use("b")), x(parse("b", "SELECT 'new b'")), x(use("b")), q("DEALLOCATE ALL"), x(use("b")), x(parse("a", "SELECT 'new a'")), x(use("a")),
		x(parse("b", "SELECT 'b'"), parse("", "DEALLOCATE b")), x(use("")), x(use("b")), q("DISCARD ALL"), x(use("a")), x(parse("a", "SELECT 'last a'"), parse("b", "SELECT 'last b'")), q("SELECT 1; DEALLOCATE b"), x(use("a")), x(use("b")),
		x(extended("DEALLOCATE ALL"), use("a")), x(use("a")), x(parse("e", "EXECUTE f"), parse("f", "SELECT 'f'")), x(use("e")), x(use("e")),
	},
	"long names": {
		x(parse(strings.Repeat("n", 63)+"a", "SELECT 'long'")), x(use(strings.Repeat("n", 63) + "b")), x(use(strings.Repeat("n", 62))), x(parse(strings.Repeat("n", 63), "SELECT 1")), x(use(strings.Repeat("n", 63) + "é")),
		x(parse(strings.Repeat("m", 63)+"é", "SELECT 'm'")), x(use(strings.Repeat("m", 63))), x(closeOf('S', strings.Repeat("m", 70))), x(use(strings.Repeat("m", 63) + "é")),
	},
	"names of other bytes": {
		x(use("é")), x(parse("é", "SELECT 'é'")), x(use("é")), x(closeOf('S', "é")), x(use("é")),
	},
	"large": {
		x(parse("s", "SELECT length('"+strings.Repeat("x", 300_000)+"')"), parse("", "SELECT length('"+strings.Repeat("y", 300_000)+"')")), x(use("s")), x(use("")),
		x(parse("t", "SELECT length('"+strings.Repeat("z", 700_000)+"')")), x(use("t")), x(use("s")), x(closeOf('S', "t")), x(use("t")), x(use("s")), x(parse("", "SELECT length('"+strings.Repeat("y", 3_000_000)+"')")), x(use("")), x(parse("", "SELECT 1")), x(use("")),
	},
	"changed by DDL": {
		q("BEGIN"), q("ALTER TABLE plain_numbers ADD COLUMN added int"), q("ROLLBACK"), x(parse("s", "SELECT * FROM plain_numbers WHERE n = $1"), describe('S', "s")), x(use("s", "1")), x(use("s", "2")),
	},
}

// keepBackends are the sessions of them that keep their backend for a while, or a
// transaction open from one exchange to the next.
var keepBackends = map[string]bool{
	"names of other bytes": true, "large": true, "deallocated": true, "failed transactions": true, "changed by DDL": true, "in a transaction": true,
}

// TestPreparedStatementsFollowTheirClient plays sessions direct and through two
// backends in transaction mode, where clients of the same user and tenant have other
// statements under the same names, and take the backends away in between.
func TestPreparedStatementsFollowTheirClient(t *testing.T) {
	pg := startPostgres(t)
	want := map[string][]string{}
	for name, session := range followSessions {
		want[name] = followed(pg.direct(tenantA), t, session, nil, 0)
	}
	for keeps, size := range map[int]int{0: 3, 2: 2, 200: 2} {
		p := inTransactions(t, pg, size, with("limits/max_prepared_statements", keeps))
		for name, session := range followSessions {
			t.Run(fmt.Sprintf("%s, at most %d", name, keeps), func(t *testing.T) {
				for _, split := range []int{0, 5} {
					if split > 0 && name == "large" {
						continue
					}
					others := newOthers(t, p, size == 2 && !keepBackends[name])
					got := followed(p.as(tenantA), t, session, others.meddle, split)
					others.leave()
					for n := range got {
						same(t, fmt.Sprintf("exchange %d, %d bytes a write", n, split), want[name][n], got[n])
					}
				}
			})
		}
	}
}

// followed plays a session and renders what each exchange answers: of errors, their code.
func followed(ep endpoint, t *testing.T, session []exchange, between func(n int), split int) (answers []string) {
	t.Helper()
	w := ep.login(t)
	defer w.close()
	for n, e := range session {
		if between != nil {
			between(n)
		}
		for rest := e.bytes; len(rest) > 0; {
			size := len(rest)
			if split > 0 {
				size = min(size, split)
			}
			w.send(rest[:size])
			rest = rest[size:]
		}
		var b strings.Builder
		for _, f := range w.until('Z', e.ready) {
			if f.typ == 'E' {
				fmt.Fprintf(&b, "E %s\n", f.field('C'))
				continue
			}
			b.WriteString(show([]frame{f}))
		}
		answers = append(answers, b.String())
	}
	return answers
}

// others are three more sessions of the same client.
type others struct {
	holders  [2]*wire // the first holds one of the two backends; nil: it is left free
	prepares *wire
}

func newOthers(t *testing.T, p *proxy, hold bool) *others {
	o := &others{prepares: p.as(tenantA).login(t)}
	if hold {
		o.holders = [2]*wire{p.as(tenantA).login(t), p.as(tenantA).login(t)}
		o.holders[0].do(simple("BEGIN"))
	}
	return o
}

// meddle prepares other statements under the same names, on the backend on which the
// next transaction is going to run: often another one than that of the last.
func (o *others) meddle(n int) {
	if o.holders[0] != nil && n%2 == 0 {
		o.holders[1].do(simple("BEGIN"))
		o.holders[0].do(simple("ROLLBACK"))
		o.holders[0], o.holders[1] = o.holders[1], o.holders[0]
	}
	for _, name := range []string{"s", "t", "a", "b", "r", strings.Repeat("n", 63), strings.Repeat("m", 63), ""} {
		if n%3 == 2 {
			o.prepares.do(closeOf('S', name), syncMessage)
		}
		o.prepares.do(parse(name, fmt.Sprintf("SELECT 'foreign %s %d'", name, n)), syncMessage)
	}
}

func (o *others) leave() {
	for _, w := range append(o.holders[:], o.prepares) {
		if w != nil {
			w.close()
		}
	}
}
