package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantgate/tenantgate/wire"
)

// party is several sessions of one client in transaction mode that share one backend.
type party struct {
	*dialog
	leases map[uint64]*Lease
	terms  *Terms
}

func newParty(t testing.TB, terms *Terms) *party {
	terms.Transaction, terms.StatementBuffer = true, 1<<20
	terms.Refusal = func(_ *Entry, d Denial) []byte {
		if d.Changed {
			return wire.AppendError(nil, "ERROR", "0A000", "changed", "")
		}
		return wire.AppendError(nil, "ERROR", "42501", "refused", "")
	}
	p := &party{dialog: &dialog{t: t, be: &Backend{Params: newParameters(map[string]string{"client_encoding": "UTF8", "server_encoding": "UTF8"})}}, leases: map[uint64]*Lease{}, terms: terms}
	p.pg = newPostgres(dialogHost{p.dialog}, 1<<20)
	return p
}

// as lets session n say something in a transaction of its own, and returns the types of what it is answered, with errors' codes.
func (p *party) as(n uint64, messages ...[]byte) string {
	p.t.Helper()
	var out Out
	if l := p.leases[n]; l == nil || l != p.lease || l.Detachable() {
		if p.lease != nil {
			if !p.lease.Detachable() {
				p.t.Fatalf("the session keeps its backend: %v", p.lease.Pinned())
			}
			p.lease.Detach()
		}
		if l == nil {
			entry, err := modelSpec.NewEntry(n, identities(p.t, "a")[0], nil, false)
			if err != nil {
				p.t.Fatal(err)
			}
			l = &Lease{}
			p.leases[n], p.lease = l, l
			p.err = l.Begin(p.terms, entry, p.be, &out)
		} else {
			p.lease = l
			p.err = l.Resume(p.terms, p.be, &out)
		}
		p.dialog.sent(&out)
		p.pump()
	}
	p.got, p.raw = nil, nil
	p.say(append(messages, message('S'))...)
	if p.err != nil {
		p.t.Fatal(p.err)
	}
	var b strings.Builder
	for _, m := range p.got {
		if b.WriteByte(m.typ); m.typ == 'E' {
			_, code, _, _ := wire.ErrorFields([]byte(m.body))
			b.WriteString(code)
		}
	}
	return b.String()
}

// holds lists what the backend has.
func (p *party) holds() int { return len(p.pg.statements) }

func runs(name string) []byte { return append(bindTo("", name), execute("", 0)...) }

func TestNobodyRunsAnotherSessionsStatement(t *testing.T) {
	for _, name := range []string{"", "s"} {
		p := newParty(t, &Terms{MaxPrepared: 10})
		for n := range uint64(3) {
			p.as(n+1, parse(name, fmt.Sprintf("insert %d", n+1)))
		}
		for range 2 {
			for n := range uint64(3) {
				p.ran = nil
				if got := p.as(n+1, runs(name)); got != "2CZ" || p.ran[0] != fmt.Sprintf("%d:a", n+1) {
					t.Errorf("session %d runs %v, and gets %s", n+1, p.ran, got)
				}
			}
		}
		for what, message := range map[string][]byte{"Bind": runs(name), "Describe": message('D', "S", name, "\x00")} {
			if got := p.as(9, message); got != "E26000Z" {
				t.Errorf("%s of %q by a session that has prepared nothing: %s", what, name, got)
			}
		}
		if got := p.as(9, parse(name, "insert 9")); got != "1Z" {
			t.Errorf("a session prepares what others have: %s", got)
		}
	}
}

// TestEqualStatementsAreSharedAndKeptOnce: nothing is sent for them on the backend that has one.
func TestEqualStatementsAreSharedAndKeptOnce(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	for n := range uint64(2) {
		p.as(n+1, parse(fmt.Sprint("s", n), "insert 1"), parse("s", "insert 1"))
	}
	a, b := p.leases[1].names.all["s"], p.leases[2].names.all["s"]
	if a.is != b.is || a.is.none() {
		t.Error("the text is kept twice")
	}
	for range 3 {
		for n := range uint64(2) {
			before := p.leases[n+1].Sent()
			p.as(n+1, runs("s"))
			if sent := p.leases[n+1].Sent() - before; sent != uint64(3+len(aheadAnswers)) {
				t.Errorf("%d messages were sent for Bind, Execute and Sync", sent)
			}
		}
	}
}

// TestTextsThatHoldTheTimeAreNotShared: 'now' is what it was when another session prepared its own.
func TestTextsThatHoldTheTimeAreNotShared(t *testing.T) {
	for text, shared := range map[string]bool{"insert 1 /* now() */": true, "insert 1 /* 'Now' */": false, "insert 1 /* 'today 12:00' */": false} {
		p := newParty(t, &Terms{MaxPrepared: 10})
		p.as(1, parse("s", text))
		p.as(2, parse("s", text))
		for range 2 {
			for n := range uint64(2) {
				if got := p.as(n+1, runs("s")); got != "2CZ" || p.lease.Pinned() != PinNone {
					t.Errorf("%s answers %s and pins %v", text, got, p.lease.Pinned())
				}
			}
		}
		if a, b := p.leases[1].names.all["s"], p.leases[2].names.all["s"]; (a.is == b.is) != shared {
			t.Errorf("%s is shared: %v", text, !shared)
		}
	}
}

// TestABackendKeepsAsManyStatementsAsConfigured, those that were used last.
func TestABackendKeepsAsManyStatementsAsConfigured(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 3})
	for i := range 20 {
		p.as(1, parse(fmt.Sprint("s", i), fmt.Sprintf("insert %d", i+1)))
		p.as(2, message('H')) // the next transaction of the first one is another stay
		if n := p.holds(); n > 3+1 {
			t.Fatalf("the backend has %d statements", n)
		}
	}
	p.ran = nil
	for i := range 20 {
		p.as(2, message('H'))
		if got := p.as(1, runs(fmt.Sprint("s", i))); got != "2CZ" {
			t.Fatalf("s%d answers %s", i, got)
		}
	}
	if len(p.ran) != 20 || p.ran[7] != "8:a" {
		t.Errorf("%v was run", p.ran)
	}
}

// TestWhatCannotFollowKeepsTheBackend until it is closed or replaced.
func TestWhatCannotFollowKeepsTheBackend(t *testing.T) {
	large := "insert 1 /*" + strings.Repeat("x", maxKept) + "*/"
	var many [][]byte
	for i := range maxOwn + 10 {
		many = append(many, parse(fmt.Sprint("s", i), "insert 1"))
	}
	for name, c := range map[string]struct{ keeps, frees []byte }{
		"a large one":           {parse("s", large), message('C', "Ss\x00")},
		"a large unnamed one":   {parse("", large), parse("", "insert 2")},
		"… dropped by a Query":  {parse("", large), query("insert 2")},
		"a name of other bytes": {parse("é", "insert 1"), query("deallocate all")},
		"the proxy's own name":  {parse(enterName, "insert 1"), query("deallocate all")},
		"very many":             {bytes.Join(many, nil), query("discard all")},
		"one of several":        {append(append(parse("s", "insert 1"), message('S')...), query("insert 2; deallocate s")...), query("deallocate all")},
	} {
		p := newParty(t, &Terms{MaxPrepared: 10})
		p.as(1, c.keeps)
		if p.lease.Pinned() != PinNamed || p.lease.Detachable() {
			t.Errorf("%s: the backend is not kept", name)
		}
		p.as(1, c.frees)
		if p.lease.Pinned() != PinNone || !p.lease.Detachable() {
			t.Errorf("%s: the backend is kept for %v", name, p.lease.Pinned())
		}
	}
	p := newParty(t, &Terms{})
	if p.as(1, parse("", "insert 1")); p.lease.Pinned() != PinNone {
		t.Error("an unnamed statement keeps the backend")
	}
	if p.as(1, parse("s", "insert 1")); p.lease.Pinned() != PinNamed {
		t.Error("with max_prepared_statements 0 a name does not keep the backend")
	}
}

// TestMemoryOfStatementsIsBounded, whatever a client prepares and whatever becomes of it.
func TestMemoryOfStatementsIsBounded(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	text := "insert 1 /*" + strings.Repeat("x", 5000) + "*/"
	for i := range 1000 {
		p.as(1, parse(fmt.Sprint("s", i), text), parse("", text), runs(""), parse("", "nonsense"), parse("t", text))
		n := p.lease.names
		if n.bytes > maxKept || cap(n.kept) > 2*maxKept || len(n.pending) > 0 {
			t.Fatalf("%d bytes, %d of unnamed statements, and %d effects are kept", n.bytes, cap(n.kept), len(n.pending))
		}
	}
	for i := range 1000 {
		p.as(1, message('C', "S", fmt.Sprint("s", i), "\x00"))
	}
	if n := p.lease.names; n.bytes != 0 || len(n.all) != 0 || n.pins() {
		t.Errorf("behind all Closes %d bytes of %d statements are kept, pinned: %v", n.bytes, len(n.all), n.pins())
	}
}

// TestAChangedDescriptionIsAnError, as it is on one backend, before a row is misread.
func TestAChangedDescriptionIsAnError(t *testing.T) {
	described := message('D', "Ss\x00")
	for how, describes := range map[string][]byte{
		"not at all":      nil,
		"by its name":     described,
		"by a portal":     bytes.Join([][]byte{bindTo("", "s"), message('D', "P\x00"), execute("", 0)}, nil),
		"by a portal's":   bytes.Join([][]byte{bindTo("p", "s"), message('D', "Pp\x00"), message('C', "Pp\x00")}, nil),
		"by many portals": bytes.Repeat(bytes.Join([][]byte{bindTo("p", "s"), message('D', "Pp\x00"), message('C', "Pp\x00")}, nil), 2*maxPortals),
	} {
		p := newParty(t, &Terms{MaxPrepared: 10})
		p.as(1, parse("s", "select 1 1"))
		if describes != nil {
			p.as(1, describes)
		}
		p.as(2, parse("s", "select 2 1")) // takes its place
		if got := p.as(1, runs("s")); got != "2DCZ" {
			t.Errorf("prepared again it answers %s", got)
		}
		p.as(2, runs("s"))
		p.pg.columns = append([]byte{0, 1}, "a\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00"...)
		want := "E0A000Z"
		if describes == nil {
			want = "2DCZ"
		}
		for range 2 {
			if got := p.as(1, runs("s")); got != want {
				t.Errorf("described %s; with other columns it answers %s, want %s", how, got, want)
			}
		}
		p.as(2, runs("s"))
		if got := p.as(1, runs("s")); got != want {
			t.Errorf("described %s; prepared again it answers %s, want %s", how, got, want)
		}
		if p.as(1, message('C', "Ss\x00"), parse("s", "select 1 1"), described); p.as(1, runs("s")) != "2DCZ" {
			t.Error("a new one of that name fails, too")
		}
		p.pg.columns = bytes.Replace(p.pg.columns, []byte("\x00\x00\x00\x01"), []byte("\x00\x00\x00\x02"), 1) // of another table
		p.as(2, runs("s"))
		if got := p.as(1, runs("s")); got != "2DCZ" {
			t.Errorf("with the same columns of another table it answers %s", got)
		}
	}
}

// TestAStatementLeavesWhatItLeavesWheneverItRuns: not only when it is prepared.
func TestAStatementLeavesWhatItLeavesWheneverItRuns(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	p.as(1, parse("", "set seed = 0.5"), parse("d", "discard all"))
	if p.as(1, runs("d")); p.lease.Pinned() != PinNone {
		t.Fatalf("behind DISCARD ALL: %v", p.lease.Pinned())
	}
	if p.as(1, runs("")); p.lease.Pinned() != PinSet {
		t.Errorf("a SET that was prepared before DISCARD ALL does not keep the backend: %v", p.lease.Pinned())
	}
}

// TestStatementsThatAreThereCostNothing: no memory is allocated for a transaction that uses one.
func TestStatementsThatAreThereCostNothing(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	p.as(1, parse("s", "insert 1"))
	say := append(runs("s"), message('S')...)
	answer := append(append(message('2'), message('C', "INSERT 0 1\x00")...), message('Z', "I")...)
	var out Out
	transaction := func() {
		l := p.lease
		if l.Detach(); l.Resume(p.terms, p.be, &out) != nil || !l.Entered() {
			t.Fatal("not resumed")
		}
		if n, err := l.FromClient(say, &out); n != len(say) || err != nil {
			t.Fatal(n, err)
		}
		if n, err := l.FromServer(answer, &out); n != len(answer) || err != nil || !l.Detachable() {
			t.Fatal(n, err)
		}
		out.Reset()
	}
	transaction()
	if n := testing.AllocsPerRun(100, transaction); n > 0 {
		t.Errorf("%v allocations", n)
	}
	say = bytes.Join([][]byte{parse("", "insert 1"), runs(""), message('S')}, nil)
	answer = append(message('1'), answer...)
	transaction()
	if n := testing.AllocsPerRun(100, transaction); n > 0 {
		t.Errorf("%v allocations of an unnamed statement", n)
	}
}

// TestAStatementThatIsNotWhatItWasIsPreparedAgain, behind an error that shows it.
func TestAStatementThatIsNotWhatItWasIsPreparedAgain(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	p.as(1, parse("s", "insert 1"))
	p.as(2, parse("t", "insert 2"))
	delete(p.pg.statements, "s") // as a function can
	if got := p.as(1, runs("s")); got != "E26000Z" {
		t.Errorf("it answers %s", got)
	}
	p.as(2, runs("t"))
	if got := p.as(1, runs("s")); got != "2CZ" {
		t.Errorf("in the next transaction it answers %s", got)
	}
}

// TestEnteringTakesTheUnnamedStatement of the very session that is entered, too.
func TestEnteringTakesTheUnnamedStatement(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	p.as(1, parse("", "insert 1"))
	p.as(2, query("insert 2"))
	p.as(2, parse("s", "insert 2"))
	p.as(1, parse("s", "insert 3"))
	if got := p.as(1, runs("")); got != "2CZ" {
		t.Errorf("the unnamed statement answers %s", got)
	}
}

// TestWhatIsSentInFrontEndsNoBatch and its errors are nobody's, or the client's own.
func TestWhatIsSentInFrontEndsNoBatch(t *testing.T) {
	for name, c := range map[string]struct {
		say  [][]byte
		want string
	}{
		"skipped":               {[][]byte{bindTo("", "none"), query("insert 3"), query("execute s")}, "E26000Z"},
		"in a failed one":       {[][]byte{query("begin"), query("fail 3"), message('C', "Sx\x00"), query("execute s"), query("rollback")}, "CZE22012Z3E25P02ZCZZ"},
		"in a failed one alone": {[][]byte{query("begin"), query("fail 3"), query("execute s"), query("rollback")}, "CZE22012ZE25P02ZCZZ"},
		"by a Query":            {[][]byte{query("execute s"), query("deallocate s"), runs("s")}, "CZCZE26000Z"},
	} {
		p := newParty(t, &Terms{MaxPrepared: 10})
		p.as(1, parse("s", "insert 1"))
		p.as(2, parse("s", "insert 2"))
		if got := p.as(1, c.say...); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestAnErrorOfTheClientsOwnIsNeverKept when SQL about prepared statements is pipelined
// behind it, for which more is sent in front.
func TestAnErrorOfTheClientsOwnIsNeverKept(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	p.as(1, parse("kk", "insert 1"), parse("zz", "insert 2"))
	p.as(2, parse("kk", "insert 3"), parse("zz", "insert 4"))
	p.as(1, query("begin"), query("fail 3"))
	if got, want := p.as(1, runs("kk"), message('S'), query("rollback"), query("execute zz")), "E25P02ZCZCZZ"; got != want {
		t.Errorf("it answers %s, want %s", got, want)
	}
}

// TestAStatementThatFailsHindersNoOther that SQL runs, though its name may be read out of
// the same text.
func TestAStatementThatFailsHindersNoOther(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	p.as(1, parse("x", "insert 1"), parse("y", "insert 2"), parse("y1", "insert 3"))
	p.as(2, parse("x", "insert 4"), parse("y", "insert 5"), parse("y1", "insert 6"))
	if p.as(1, query("execute y")); p.lease.names.all["x"].stay == p.lease.names.stay || p.lease.names.all["y1"].stay == p.lease.names.stay {
		t.Error("statements that are not meant were prepared again")
	}
}

// TestWhatIsNotAnsweredAboutStatementsIsBounded: a client that reads nothing is not heard any more.
func TestWhatIsNotAnsweredAboutStatementsIsBounded(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	p.as(1, parse("s", "insert 1"))
	said := bytes.Repeat(message('D', "Ss\x00"), 4*maxPending)
	var out Out
	n, err := p.lease.FromClient(said, &out)
	if err != nil || n == len(said) || len(p.lease.names.pending) > maxPending {
		t.Errorf("%d of %d bytes are taken, %d messages are pending, error %v", n, len(said), len(p.lease.names.pending), err)
	}
}
