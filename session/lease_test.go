package session

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantgate/tenantgate/wire"
)

// query is a Query.
func query(text string) []byte { return message('Q', text, "\x00") }

// run is a Bind and an Execute.
func run(portal, name string) []byte { return append(bindTo(portal, name), execute(portal, 0)...) }

// prepare is a Parse and a Sync.
func prepare(name, text string) []byte { return append(parse(name, text), message('S')...) }

// batchOf is a batch with its Sync.
func batchOf(texts ...string) (b []byte) {
	for _, text := range texts {
		b = append(append(b, parse("", text)...), run("", "")...)
	}
	return append(b, message('S')...)
}

// eachSize runs f with everything at once, and byte by byte.
func eachSize(t *testing.T, f func(t *testing.T, size int)) {
	for _, size := range []int{0, 1, 7} {
		t.Run(fmt.Sprintf("size=%d", size), func(t *testing.T) { f(t, size) })
	}
}

// TestContextHoldsBehindWhateverUndoesIt: statements with an id are the client's own and must run with
// its tenant, or, in the Query string that undid it, with none.
func TestContextHoldsBehindWhateverUndoesIt(t *testing.T) {
	long := strings.Repeat("n", 63)
	sync := message('S')
	for name, c := range map[string][][]byte{
		"query":                    {query("reset all"), query("select 1 1")},
		"discard":                  {query("DISCARD ALL"), query("select 1 1")},
		"one setting":              {query("reset app.user_id"), query("select 1 1")},
		"to default":               {query("set app.current_tenant_id to default"), query("select 1 1")},
		"glued":                    {batchOf("discard all", "select 1 1", "select 2 1")},
		"glued and failed":         {batchOf("discard all", "select 1 1", "fail 2"), query("select 3 1")},
		"prepared":                 {prepare("r", "reset all"), run("", "r"), run("p", "r"), sync, query("select 1 1")},
		"parsed twice":             {prepare("r", "reset all"), prepare("r", "begin"), run("", "r"), sync, query("select 1 1")},
		"parse skipped":            {prepare("", "reset all"), bindTo("", "none"), parse("", "begin"), sync, run("", ""), sync, query("select 1 1")},
		"parse misspelt":           {prepare("", "reset all"), prepare("", "begin -- \xff"), run("", ""), sync, query("select 1 1")},
		"parsed less":              {prepare("r", "reset all"), prepare("r", "reset application_name"), run("", "r"), sync, query("select 1 1")},
		"bound less":               {query("begin"), prepare("r", "reset all"), prepare("s", "reset application_name"), bindTo("p", "r"), sync, query("savepoint s"), bindTo("p", "s"), sync, query("rollback to s"), execute("p", 0), sync, query("select 1 1")},
		"long names":               {prepare(long+"a", "reset all"), run(long+"b", long+"c"), sync, query("select 1 1")},
		"execute":                  {prepare("r", "reset all"), query("execute r"), query("select 1 1")},
		"execute of later":         {prepare("x", "execute r"), prepare("r", "reset all"), run("", "x"), parse("", "select 1 1"), run("", ""), sync},
		"rolled back":              {query("reset all; commit; begin"), query("select 1 1"), query("rollback"), query("select 2 1")},
		"rolled back in a batch":   {query("reset all; commit; begin"), batchOf("select 1 1", "rollback", "select 2 1"), query("select 3 1")},
		"rolled back to a point":   {query("reset all; commit; begin; savepoint s"), batchOf("rollback to s", "select 1 1"), query("rollback to s"), query("select 2 1"), query("commit"), query("select 3 1")},
		"released and rolled back": {query("begin"), query("savepoint a; reset all; savepoint b"), query("rollback to b"), query("select 1 1")},
		"failed transaction":       {query("begin"), query("reset all; fail 1"), batchOf("rollback", "select 2 1"), query("select 3 1")},
		"failed, then committed":   {query("reset all; commit; begin; fail 1"), batchOf("rollback", "select 2 1"), query("select 3 1")},
		"portal outlives":          {query("begin"), prepare("r", "reset all"), bindTo("p", "r"), sync, query("savepoint s"), bindTo("p", "none"), sync, batchOf("rollback to s"), execute("p", 0), parse("", "select 1 1"), run("", ""), sync},
		"behind an open batch":     {parse("x", "select 1 1"), query("reset all"), query("select 2 1")},
		"behind a COPY":            {query("reset all; copy 1 in"), copyRow("x"), message('c'), query("select 2 1")},
		"behind a failed COPY":     {query("reset all; copy 1 in"), copyRow(badRow), message('c'), query("select 2 1")},
		"queued behind a COPY":     {query("copy 1 in"), copyRow(badRow), query("reset all"), query("select 2 1")},
		"behind a swallowed Sync":  {batchOf("copy 1 in"), copyRow("x"), message('c'), query("reset all"), query("select 2 1")},
		"behind a doubted Sync":    {batchOf("copy 1 in"), copyRow(badRow), message('c'), sync, query("reset all"), query("select 2 1")},
		"too many to follow":       manyResets(),
	} {
		t.Run(name, func(t *testing.T) {
			eachSize(t, func(t *testing.T, size int) {
				d := newDialog(t, size)
				d.say(c...)
				if d.err != nil || len(d.rest) > 0 {
					t.Fatalf("error %v, %d bytes not taken, got %s", d.err, len(d.rest), d.types())
				}
				for _, ran := range d.ran {
					if !strings.HasSuffix(ran, ":a") && !strings.HasSuffix(ran, ":-") {
						t.Errorf("statement ran with the tenant behind the colon: %s", ran)
					}
				}
				if len(d.ran) == 0 {
					t.Error("nothing ran")
				}
			})
		})
	}
}

// manyResets prepares more resets than are followed, and executes one.
func manyResets() (b [][]byte) {
	for i := range maxResetters + 1 {
		b = append(b, prepare(fmt.Sprintf("r%d", i), "reset all"))
	}
	return append(b, run("", "r0"), parse("", "select 1 1"), run("", ""), message('S'))
}

// TestNothingGoesBetweenTheHalvesOfAMessage: what the proxy sends of its own must not end up inside of
// CopyData, where its bytes would make the client's own data a message.
func TestNothingGoesBetweenTheHalvesOfAMessage(t *testing.T) {
	d := newDialog(t, 0)
	smuggled := strings.Repeat("x", 300) + string(query("select 99 1")) + strings.Repeat("\x00", 300)
	whole := copyRow(smuggled)
	d.say(query("reset all; copy 1 in"))
	d.say(copyRow(badRow), whole[:100])
	if got := d.types(); got != "CGEZ" {
		t.Fatalf("the client got %s", got)
	}
	d.say(whole[100:], query("select 2 1"))
	if d.err != nil || strings.Join(d.ran, " ") != "1:- 2:a" {
		t.Errorf("error %v, ran %v", d.err, d.ran)
	}
}

// TestAMessageThatHasBegunIsTakenToItsEnd: holding the client must not keep PostgreSQL waiting for the
// rest of a message.
func TestAMessageThatHasBegunIsTakenToItsEnd(t *testing.T) {
	d := newDialog(t, 0)
	fail := message('f', "no more\x00")
	d.say(query("reset all; copy 1 in"), fail[:6])
	if d.lease.Holding() {
		t.Fatal("the rest of a message that PostgreSQL waits for is held")
	}
	d.say(fail[6:], query("select 2 1"))
	if got := d.types(); got != "CGEZTDCZ" || strings.Join(d.ran, " ") != "1:- 2:a" {
		t.Errorf("the client got %s, ran %v", got, d.ran)
	}
}

// TestASessionThatCannotBeFollowedEnds: whether the reset behind the Sync runs depends on whether the
// COPY has swallowed that.
func TestASessionThatCannotBeFollowedEnds(t *testing.T) {
	d := newDialog(t, 0)
	d.pg.dead = true
	d.rest = bytes.Join([][]byte{parse("", "copy 1 in"), run("", ""), message('S'), parse("", "reset all"), run("", "")}, nil)
	d.take()
	d.answer(bytes.Join([][]byte{message('1'), message('2'), message('G', "\x00\x00\x00")}, nil))
	if d.err != nil || !d.lease.Holding() {
		t.Fatalf("error %v, holding %v", d.err, d.lease.Holding())
	}
	if d.answer(wire.AppendError(nil, "ERROR", "57014", "x", "")); !errors.Is(d.err, errAdrift) || d.lease.Poolable() {
		t.Errorf("error %v, poolable %v", d.err, d.lease.Poolable())
	}
}

// TestSettingsOfTheClientStay: entering again restores the settings of the startup packet where a reset
// undid them, and leaves alone what the client has set itself.
func TestSettingsOfTheClientStay(t *testing.T) {
	mine := "set application_name = 'mine'"
	for name, c := range map[string]struct {
		say  [][]byte
		want string
	}{
		"restored":               {[][]byte{query(mine), query("reset all")}, "start"},
		"restored by DISCARD":    {[][]byte{query(mine), batchOf("discard all", "insert 1")}, "start"},
		"restored behind errors": {[][]byte{query(mine), batchOf("discard all", "fail 1")}, "start"},
		"set behind a reset":     {[][]byte{batchOf("reset all", mine)}, "mine"},
		"reset that failed":      {[][]byte{query(mine), query("begin"), query("discard all"), query("rollback")}, "mine"},
		"reset of another":       {[][]byte{query(mine), query("reset app.user_id")}, "mine"},
		"reset rolled back":      {[][]byte{query(mine), query("begin"), query("reset all"), query("rollback")}, "mine"},
		"COPY that failed":       {[][]byte{query(mine), query("reset all; copy 1 in"), copyRow(badRow), message('c')}, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			eachSize(t, func(t *testing.T, size int) {
				d := newDialog(t, size, wire.Param{Name: "application_name", Value: "start"})
				d.say(c.say...)
				if got := d.pg.settings.get("application_name"); d.err != nil || got != c.want {
					t.Errorf("error %v, application_name is %q, want %q", d.err, got, c.want)
				}
			})
		})
	}
}

// TestNothingOfTheProxyRunsWhileACancelIsInFlight: it could hit that in the place of the client's own.
func TestNothingOfTheProxyRunsWhileACancelIsInFlight(t *testing.T) {
	for name, c := range map[string][]byte{"query": query("reset all"), "batch": batchOf("reset all", "select 1 1")} {
		t.Run(name, func(t *testing.T) {
			d := newDialog(t, 0)
			d.slow = true
			d.say(query("slow 9"))
			if !d.lease.Cancellable() {
				t.Fatal("a statement that runs cannot be cancelled")
			}
			var out Out
			if err := d.lease.Cancelling(true, &out); err != nil {
				t.Fatal(err)
			}
			d.slow = false
			d.pump()
			d.say(c, query("select 2 1"))
			if strings.Contains(strings.Join(d.ran, " "), " 2:") || !d.lease.Holding() {
				t.Fatalf("ran %v while a cancel is in flight", d.ran)
			}
			if err := d.lease.Cancelling(false, &out); err != nil {
				t.Fatal(err)
			}
			d.sent(&out)
			d.pump()
			if last := d.ran[len(d.ran)-1]; last != "2:a" || len(d.rest) > 0 {
				t.Errorf("ran %v, %d bytes not taken", d.ran, len(d.rest))
			}
		})
	}
}

// TestAClientGetsWholeMessagesBeforeTheEnd: what stands before an answer that ends the session passes,
// so that whoever tells the client why does not do it inside of a row.
func TestAClientGetsWholeMessagesBeforeTheEnd(t *testing.T) {
	d := newDialog(t, 0)
	d.toPG, d.err = nil, nil
	d.take()
	d.rest = query("select 1 1")
	d.take()
	row := message('D', string(dataRow("1")))
	d.answer(append(message('T', string(rowDescription)), row[:6]...))
	d.answer(append(bytes.Clone(row[6:]), message('1')...))
	if !errors.Is(d.err, errDesync) || !d.lease.AtBoundary() || !bytes.HasSuffix(d.raw, row) {
		t.Errorf("error %v, at a boundary: %v, got %q", d.err, d.lease.AtBoundary(), d.raw)
	}
}

// TestALeaseIsBusyUntilTheLastByte: also behind a batch without a Sync.
func TestALeaseIsBusyUntilTheLastByte(t *testing.T) {
	d := newDialog(t, 0)
	d.rest = append(parse("", "select 1 1"), message('H')...)
	d.take()
	d.answer(message('1')[:3])
	if !d.lease.Busy() {
		t.Error("not busy with half of an answer there")
	}
	d.answer(message('1')[3:])
	if d.lease.Busy() || d.lease.Poolable() {
		t.Errorf("busy %v, poolable %v behind a batch without a Sync", d.lease.Busy(), d.lease.Poolable())
	}
}

// TestAContextThatIsNotConfirmedEndsTheSession: at its beginning as well as later, and nothing of the
// client is taken or poolable then.
func TestAContextThatIsNotConfirmedEndsTheSession(t *testing.T) {
	right := []string{"a", "true", "user of a"}
	answer := func(values ...string) []byte {
		return bytes.Join([][]byte{
			message('1'), message('2'), message('D', string(dataRow(values...))), message('C', "SELECT 1\x00"), message('3'), message('3'), message('Z', "I"),
		}, nil)
	}
	row := message('D', string(dataRow(right...)))
	null := message('D', "\x00\x03\x00\x00\x00\x01a\xff\xff\xff\xff\x00\x00\x00\x09user of a")
	for name, said := range map[string][]byte{
		"another tenant":  answer("b", "true", "user of a"),
		"no tenant":       answer("", "true", "user of a"),
		"another setting": answer("a", "true", "user of b"),
		"too few":         answer("true", "user of a"),
		"no row":          bytes.ReplaceAll(answer(right...), row, nil),
		"null":            bytes.ReplaceAll(answer(right...), row, null),
		"error":           append(append(message('1'), wire.AppendError(nil, "ERROR", "57014", "x", "")...), message('Z', "I")...),
		"fatal":           wire.AppendError(nil, "FATAL", "57P01", "x", ""),
		"out of turn":     message('Z', "I"),
		"another's row":   append(bytes.Clone(row), answer(right...)...),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDialog(t, 0)
			d.pg.dead = true
			d.rest = query("reset all")
			d.take()
			d.answer(append(message('C', "RESET\x00"), message('Z', "I")...))
			if d.err != nil || !d.lease.Holding() {
				t.Fatalf("error %v, holding %v", d.err, d.lease.Holding())
			}
			d.answer(said)
			if d.err == nil || d.lease.Poolable() && d.lease.Idle() {
				t.Errorf("error %v, poolable %v", d.err, d.lease.Poolable())
			}
			if strings.Contains(d.types()[2:], "D") {
				t.Errorf("the client got %s", d.types())
			}
		})
	}
	d := newDialog(t, 0)
	d.pg.dead = true
	d.rest = query("reset all")
	d.take()
	d.answer(append(message('C', "RESET\x00"), message('Z', "I")...))
	if d.answer(answer(right...)); d.err != nil || d.lease.Holding() {
		t.Errorf("the right answer: error %v, holding %v", d.err, d.lease.Holding())
	}
}
