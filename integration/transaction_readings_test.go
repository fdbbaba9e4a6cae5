package integration

import (
	"fmt"
	"slices"
	"testing"
)

// Constants are read when a statement is prepared, by the settings of that moment.
const (
	aDate = `SELECT '01/02/2020'::date - '2020-01-01'::date`
	// What functions make of constants is kept in the plan, which may be made later.
	aFloat = `SELECT 0.1234567890123456::float8::text`
)

// readings are sessions of the same user on one backend. The first has prepared s when the other one
// comes, which prepares it too, and has the same settings in the end.
var readings = map[string]struct{ one, other []exchange }{
	"before a SET": {
		[]exchange{q("SET DateStyle = 'ISO, DMY'"), x(parse("s", aDate))},
		[]exchange{x(parse("s", aDate)), q("SET DateStyle = 'ISO, DMY'")},
	},
	"before a RESET": {
		[]exchange{x(parse("s", aDate))},
		[]exchange{q("SET DateStyle = 'ISO, DMY'"), x(parse("s", aDate)), q("RESET DateStyle")},
	},
	"before a DISCARD of others": {
		[]exchange{x(parse("s", aDate))},
		[]exchange{q("SET DateStyle = 'ISO, DMY'"), x(parse("s", aDate)), q("RESET ALL")},
	},
	"in a transaction that is rolled back": {
		[]exchange{x(parse("s", aDate))},
		[]exchange{q("BEGIN"), q("SET DateStyle = 'ISO, DMY'"), x(parse("s", aDate)), q("ROLLBACK")},
	},
	"behind a SET LOCAL": {
		[]exchange{x(parse("s", aDate))},
		[]exchange{q("BEGIN"), q("SET LOCAL DateStyle = 'ISO, DMY'"), x(parse("s", aDate)), q("COMMIT")},
	},
	"behind a local set_config": {
		[]exchange{x(parse("s", aDate))},
		[]exchange{{join(extended("SELECT set_config('DateStyle', 'ISO, DMY', true)"), parse("s", aDate), syncMessage), 1}},
	},
	"planned behind a SET LOCAL": {
		[]exchange{x(parse("s", aFloat))},
		[]exchange{x(parse("s", aFloat)), q("BEGIN"), q("SET LOCAL extra_float_digits = -10"), x(use("s")), q("COMMIT")},
	},
	"in another time zone": {
		[]exchange{q("SET TIME ZONE 'Asia/Tokyo'"), x(parse("s", `SELECT extract(epoch FROM '2020-01-01'::timestamptz)`))},
		[]exchange{x(parse("s", `SELECT extract(epoch FROM '2020-01-01'::timestamptz)`)), q("SET TIME ZONE 'Asia/Tokyo'")},
	},
	"in another encoding": {
		[]exchange{q("SET client_encoding = 'LATIN1'"), x(parse("s", "SELECT length('é')"))},
		[]exchange{x(parse("s", "SELECT length('é')")), q("SET client_encoding = 'LATIN1'")},
	},
}

// TestNobodyGetsConstantsThatWereReadOtherwise: a statement that another session has prepared is only
// used again where its text means the same.
func TestNobodyGetsConstantsThatWereReadOtherwise(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1)
	for name, c := range readings {
		t.Run(name, func(t *testing.T) {
			session := append(slices.Clip(c.one), x(use("s")))
			want := followed(pg.direct(tenantA), t, session, nil, 0)
			for n, got := range followed(p.as(tenantA), t, session, func(n int) {
				if n != len(c.one) {
					return
				}
				other := p.as(tenantA).login(t)
				defer other.close()
				for _, e := range c.other {
					other.send(e.bytes)
					other.until('Z', e.ready)
				}
			}, 0) {
				same(t, fmt.Sprintf("exchange %d", n), want[n], got)
			}
		})
	}
}

// TestATextIsNotSentAgainInAnotherEncoding: who changes it keeps the backend that has the statement, and
// gets an error for one that it does not have.
func TestATextIsNotSentAgainInAnotherEncoding(t *testing.T) {
	pg := startPostgres(t)
	session := []exchange{
		x(parse("s", "SELECT length('é')"), parse("a", "SELECT 1")), q("SET client_encoding = 'LATIN1'"), x(use("s")), x(use("a")), q("RESET client_encoding"), x(use("s")),
		x(closeOf('S', "s")), x(use("a")), x(parse("s", "SELECT length('é')")), x(use("s")),
	}
	want := followed(pg.direct(tenantA), t, session, nil, 0)
	for name, lost := range map[string]bool{"kept": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			p := inTransactions(t, pg, 2)
			others := newOthers(t, p, false)
			defer others.leave()
			got := followed(p.as(tenantA), t, session, func(n int) {
				if lost == (n == 1) {
					others.meddle(n)
				}
			}, 0)
			for n := range got {
				if w := want[n]; lost && (n == 2 || n == 5) {
					same(t, fmt.Sprintf("exchange %d", n), "E 0A000\n"+show([]frame{{typ: 'Z', body: []byte("I")}}), got[n])
				} else {
					same(t, fmt.Sprintf("exchange %d", n), w, got[n])
				}
			}
		})
	}
}
