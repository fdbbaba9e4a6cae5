package session

import (
	"fmt"
	"strings"
	"testing"
)

// mirrored plays a sequence of messages on a mirror. Each word is one: >P is a message of the client
// that is forwarded, <1 an answer of PostgreSQL, <E an error and <F a fatal one; a letter behind it is a
// flag (! injected, - refused) or the transaction status.
func mirrored(t *testing.T, sequence string) (*answers, error) {
	t.Helper()
	a := &answers{status: 'I'}
	for _, word := range strings.Fields(sequence) {
		typ := word[1]
		if word[0] == '>' {
			var flags entry
			switch {
			case strings.HasSuffix(word, "!"):
				flags = injected
			case strings.HasSuffix(word, "-"):
				flags = refused
			}
			a.sent(typ, flags)
			continue
		}
		fatal := word == "<F"
		if fatal {
			typ = 'E'
		}
		if _, err := a.received(typ, fatal); err != nil {
			return a, fmt.Errorf("%s: %w", word, err)
		}
		if typ == 'Z' {
			status := byte('I')
			if len(word) > 2 {
				status = word[2]
			}
			if err := a.ready(status); err != nil {
				return a, fmt.Errorf("%s: %w", word, err)
			}
		}
	}
	return a, nil
}

func TestAnswersKnowWhenABackendOwesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, sequence string
		idle           bool
	}{
		{"nothing", "", true},
		{"query", ">Q <T <D <C <Z", true},
		{"query without its end", ">Q <T <D <C", false},
		{"empty query", ">Q <I <Z", true},
		{"several statements", ">Q <T <D <C <T <C <C <Z", true},
		{"error", ">Q <E <Z", true},
		{"in a transaction", ">Q <C <ZT", false},
		{"in a failed transaction", ">Q <E <ZE", false},
		{"pipelined queries", ">Q >Q <C <Z", false},
		{"batch", ">P >B >D >E >S <1 <2 <n <C <Z", true},
		{"describe of a statement", ">P >D >S <1 <t <T <Z", true},
		{"batch without Sync", ">P >B >E <1 <2 <C", false},
		{"Sync alone", ">S <Z", true},
		{"error skips to Sync", ">P >B >E >S <E <Z", true},
		{"error skips a Query", ">P >Q >S <E <Z", true},
		{"error before the Sync is sent", ">P <E", false},
		{"what is skipped is not owed", ">P <E >B >Q >S <Z", true},
		{"error of the Sync itself", ">P >S <1 <E <Z", true},
		{"second batch behind an error", ">P >S >P >S <E <Z <1 <Z", true},
		{"Query ends a batch", ">P >Q <1 <C <Z", true},
		{"close", ">C >S <3 <Z", true},
		{"suspended portal", ">B >E >E >S <2 <D <s <D <C <Z", true},
		{"function call", ">F <V <Z", true},
		{"what comes unasked", ">Q <N <S <A <C <N <Z <S", true},
		{"copy out", ">Q <H <d <c <C <Z", true},
		{"copy in", ">Q <G >d >c <C <Z", true},
		{"copy in goes on", ">Q <G >d", false},
		{"copy in, ended unseen", ">Q <G >d >c", false},
		{"copy in that fails", ">Q <G >d <E <Z", true},
		{"copy in that fails, with its end on the way", ">Q <G >d >c <E <Z", true},
		{"copy in that never began", ">Q >c <E <Z", true},
		{"two copies in one query", ">Q <G >c >c <C <G <C <Z", true},
		{"stray ends of COPY", ">c >f >Q <C <Z >c", true},
		{"stray end of COPY on the way", ">Q >c <C <Z", true},
		{"copy in a batch", ">P >B >E <1 <2 <G >d >c >S <C <Z", true},
		{"copy in a batch that fails", ">P >B >E <1 <2 <G >d <E >c >S <Z", true},
		{"swallowed Sync", ">B >E >S <2 <G >d >c >S <C <Z", true},
		{"swallowed Sync, and no other", ">B >E >S <2 <G >d >c <C", false},
		{"swallowed Sync, more sent behind", ">B >E >S <2 <G >c >S >P <C <Z <1", false},
		{"swallowed Sync of a Query", ">Q >S <G >c <C <Z", true},
		{"swallowed or not", ">B >E >S <2 <G >d <E >S <Z", false},
		{"swallowed, as the next answer shows", ">B >E >S <2 <G >d <E >S <Z >Q <C <Z", true},
		{"not swallowed", ">B >E >S <2 <G <E <Z >Q <C <Z", true},
		{"not swallowed, and both answered", ">B >E >S <2 <G <E >S <Z <Z >Q <C <Z", true},
		{"several swallowed", ">B >E >S >S >S <2 <G >d <E >S >S <Z <Z >P >S <1 <Z", true},
		{"the proxy's own", ">P! >B! >E! >S! <1 <2 <D <C <Z", true},
		{"refused", ">Q- <E <Z", true},
		{"fatal", ">Q <F", false},
	} {
		a, err := mirrored(t, c.sequence)
		if err != nil || a.idle() != c.idle {
			t.Errorf("%s: idle %v, error %v", c.name, a.idle(), err)
		}
		if a.idle() && (a.ours != 0 || a.waiting() || !a.settled()) {
			t.Errorf("%s: idle, with %d of the proxy's own, waiting %v, settled %v", c.name, a.ours, a.waiting(), a.settled())
		}
	}
}

func TestAnswersRefuseWhatAnswersNothing(t *testing.T) {
	t.Parallel()
	for _, sequence := range []string{
		"<Z", "<C", "<1", "<E", "<D", "<G", "<T", "<K", "<W", ">Q <1", ">Q <2", ">Q <3", ">Q <n", ">Q <s", ">Q <t", ">Q <V",
		">P <2", ">P <C", ">P <Z", ">B <1", ">E <1", ">E <T", ">S <C", ">S <T", ">S <Z <Z", ">Q <C <Z <C", ">Q <C <ZX",
		">P >S <E <1", ">C <1", ">D <1", ">P <E <Z", ">S <D", ">Q <R", ">P >B >S <1 <Z",
	} {
		if a, err := mirrored(t, sequence); err == nil {
			t.Errorf("%q passes, idle %v", sequence, a.idle())
		}
	}
}

func TestAnswersTellWhoseAnswerItIs(t *testing.T) {
	t.Parallel()
	a, err := mirrored(t, ">Q >P! >B! >E! >S! >Q-")
	if err != nil || a.ours != 4 {
		t.Fatalf("error %v, %d of the proxy's own", err, a.ours)
	}
	want := []struct {
		typ   byte
		flags entry
	}{
		{'C', 0},
		{'Z', 0},
		{'1', injected},
		{'N', 0},
		{'2', injected},
		{'D', injected},
		{'C', injected},
		{'Z', injected},
		{'E', refused},
		{'Z', refused},
	}
	for _, w := range want {
		owner, err := a.received(w.typ, false)
		if err != nil || owner&(injected|refused) != w.flags {
			t.Errorf("%q answers %v, error %v, want %v", w.typ, owner, err, w.flags)
		}
	}
	if a.gone != 1 || !a.idle() {
		t.Errorf("%d refused entries gone, idle %v", a.gone, a.idle())
	}
}

func TestAnswersHoldTheClientOnlyWhileSomethingWillCome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sequence string
		waiting  bool
		wants    bool
	}{
		{">Q", true, false},
		{">Q <G", true, true},
		{">Q <G >c", true, false},
		{">Q <G >c <E <Z", false, false},
		{">E <G >S", true, true},
		{">E <G >S >c", true, true},
		{">E <G >S >c >S", true, false},
		{">E <G >Q", true, false},
		{">E >S <G <E", false, false},
		{">E >S <G <E >S", true, false},
		{">E >S <G <E >S <Z", false, false},
	} {
		a, err := mirrored(t, c.sequence)
		if err != nil || a.waiting() != c.waiting || a.wantsData() != c.wants {
			t.Errorf("%q: waiting %v, wants data %v, error %v", c.sequence, a.waiting(), a.wantsData(), err)
		}
	}
}

func TestAnswersEndASessionThatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	if a, err := mirrored(t, ">E >S >c >P >S <G <E"); err != nil || a.idle() {
		t.Fatalf("idle %v, error %v", a.idle(), err)
	} else if _, err := a.received('Z', false); err == nil {
		t.Error("goes on where it is open whether a Parse was skipped")
	}
	if a, _ := mirrored(t, ">E >S <G <E"); !a.lost() {
		t.Error("what is sent now may be skipped or not")
	}
	if a, _ := mirrored(t, ">E >S <G <E >S"); a.lost() {
		t.Error("what is sent behind a Sync is not skipped")
	}
}

func TestAnswersBoundWhatTheyRemember(t *testing.T) {
	t.Parallel()
	var a answers
	for range maxOwed {
		if a.full() {
			t.Fatalf("full with %d entries", a.n)
		}
		a.sent('Q', 0)
	}
	if !a.full() {
		t.Error("not full")
	}
	for range maxOwed {
		if _, err := a.received('Z', false); err != nil {
			t.Fatal(err)
		}
	}
	if a.n != 0 || a.ring != nil {
		t.Errorf("%d entries, and a ring of %d is kept", a.n, len(a.ring))
	}
}
