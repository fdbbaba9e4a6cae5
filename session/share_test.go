package session

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// TestWhoSendsMuchHasABackend: what a client has sent without one is held in memory, and
// there are more clients than backends.
func TestWhoSendsMuchHasABackend(t *testing.T) {
	for _, typ := range []byte("QPBd") {
		var l Lease
		message := append(appendHeader(nil, typ, 1<<19), bytes.Repeat([]byte("x"), 1<<19)...)
		for n, want := range map[int]bool{4: false, 5: false, 1 << 10: false, gatherLimit + 5: true, len(message): true} {
			if got, err := l.Wants(message[:n]); got != want || err != nil {
				t.Errorf("%q, %d bytes: %v, %v, want %v", typ, n, got, err, want)
			}
		}
	}
}

// TestAStayKnowsNothingOfTheOneBefore: what stood in it was another client's.
func TestAStayKnowsNothingOfTheOneBefore(t *testing.T) {
	d := newDialog(t, 0)
	left := d.be.stay
	left.owed.push('Q')
	left.Stats, left.denials, left.undone.context = Stats{Queries: 1}, []Denial{{}}, true
	left.began, left.fragile, left.farewell, left.cancelling, left.confirmed = true, true, true, true, true
	left.server, left.client = serverStream{hide: true, tail: 1}, clientStream{long: &longStatement{}}
	left.probe.effects, left.turn = &Effects{}, turn{ahead: aheadShut, took: true, stirred: true, expects: true, cycles: 1}
	d.be.stay = left
	terms := &Terms{}
	l := &Lease{numbered: 7}
	l.begin(terms, d.be)
	want := stay{terms: terms, backend: d.be, turn: turn{done: true}, owed: answers{ring: left.owed.ring, pushed: 7, status: 'I'}}
	if !reflect.DeepEqual(d.be.stay, want) {
		t.Errorf("the stay begins as %+v", d.be.stay)
	}
}

// TestNothingPassesBehindASyncBeforeTheContextIsConfirmed: what stands behind the first Sync would run if
// entering failed. A reload may change pool_mode while the client has no backend.
func TestNothingPassesBehindASyncBeforeTheContextIsConfirmed(t *testing.T) {
	for name, transaction := range map[string]bool{"transaction mode": true, "session mode since": false} {
		t.Run(name, func(t *testing.T) {
			p := newParty(t, &Terms{MaxPrepared: 10})
			p.as(1, query("insert 1"))
			p.lease.Detach()
			terms := *p.terms
			terms.Transaction = transaction
			var out Out
			if err := p.lease.Resume(&terms, &Backend{Params: p.be.Params}, &out); err != nil {
				t.Fatal(err)
			}
			n, err := 0, error(nil)
			if p.lease.Entered() {
				n, err = p.lease.FromClient(bytes.Join([][]byte{batchOf("insert 2"), query("rollback"), query("insert 3")}, nil), &out)
			}
			if sent := bytes.Join(out.Server, nil); err != nil || bytes.Contains(sent, []byte("rollback")) || p.lease.began {
				t.Errorf("error %v, %d bytes are taken, and %d sent", err, n, len(sent))
			}
		})
	}
}

// TestACancelIsOfTheTransactionThatWaits, and not of a later one: what waited may be nothing that can fail.
func TestACancelIsOfTheTransactionThatWaits(t *testing.T) {
	p := newParty(t, &Terms{MaxPrepared: 10})
	p.as(1, query("insert 1"))
	resume := func() {
		var out Out
		p.lease.Detach()
		p.lease.Recall()
		if p.err = p.lease.Resume(p.terms, p.be, &out); p.err != nil {
			t.Fatal(p.err)
		}
		p.got, p.raw = nil, nil
	}
	resume()
	if p.say(query("insert 2")); p.types() != "EZ" || len(p.ran) != 1 {
		t.Errorf("a statement that waits and is cancelled gets %s, ran %v", p.types(), p.ran)
	}
	resume()
	if p.say(message('H')); p.types() != "" || !p.lease.Detachable() {
		t.Errorf("a Flush gets %s", p.types())
	}
	if got := p.as(1, query("insert 3")); got != "CZZ" {
		t.Errorf("the transaction behind that is answered with %s", got)
	}
}

// elsewhere has the session of the lease go on with its next transaction on a clean backend.
func (p *party) elsewhere() {
	p.t.Helper()
	var out Out
	p.lease.Detach()
	p.be = &Backend{Params: p.be.Params}
	p.pg = newPostgres(dialogHost{p.dialog}, 1<<20)
	if p.err = p.lease.Resume(p.terms, p.be, &out); p.err != nil || p.lease.turn.ahead != aheadDue {
		p.t.Fatal("nothing is to be entered ahead", p.err)
	}
	p.dialog.sent(&out)
	p.got, p.raw = nil, nil
}

// TestWhatPassesBehindAnEnteringAheadIsCounted, or the answer to it would not be known for what it is.
func TestWhatPassesBehindAnEnteringAheadIsCounted(t *testing.T) {
	p := newParty(t, &Terms{Guard: NewGuard(GuardConfig{Context: GuardEnforce, Reserved: modelSpec.Names()}), MaxPrepared: 10})
	p.as(1, parse("", "select 1 1 , set_config('app.current_tenant_id', $1, false)"))
	p.elsewhere()
	if p.say(parse("", "insert 2"), message('S')); p.types() != "1Z" || len(p.lease.bindings.statements) != 0 {
		t.Errorf("the client gets %s, and %d statements that bind are believed to be there", p.types(), len(p.lease.bindings.statements))
	}
	if got := p.as(1, bindValue("", "", "b"), execute("", 0)); got != "2CZ" {
		t.Errorf("a Bind of another statement is answered with %s", got)
	}
}

// TestAContextThatWasRolledBackIsNotConfirmed, although PostgreSQL has answered with the right values before.
func TestAContextThatWasRolledBackIsNotConfirmed(t *testing.T) {
	for tag, want := range map[string]error{"COMMIT": nil, "ROLLBACK": errUncommitted} {
		p := newParty(t, &Terms{})
		p.as(1, query("insert 1"))
		p.elsewhere()
		p.rest = query("insert 2")
		p.take()
		p.answer(join(
			message('1'), message('2'), message('C', "BEGIN\x00"),
			message('1'), message('2'), message('D', string(dataRow("a", "true", "user of a"))), message('C', "SELECT 1\x00"), message('3'),
			message('1'), message('2'), message('C', tag+"\x00"), message('3'),
		))
		if !errors.Is(p.err, want) || p.lease.began != (want == nil) {
			t.Errorf("%s: error %v, the context is believed to be there: %v", tag, p.err, p.lease.began)
		}
	}
}
