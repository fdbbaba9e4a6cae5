package session

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantgate/tenantgate/wire"
)

// dialog is one client that talks to one simulated backend through a lease. Everything moves at once,
// in pieces of size bytes.
type dialog struct {
	t     *testing.T
	lease *Lease
	pg    *postgres
	be    *Backend
	size  int // 0: all that is there
	toPG  []byte
	rest  []byte // of the client
	tail  []byte // of the backend
	got   []said // by the client
	raw   []byte // by the client, in all
	ran   []string
	slow  bool // statements that wait are not ended
	err   error
}

// The dialog is the host of its backend.
func (d *dialog) ran1(p *postgres, id int) string {
	tenant := p.settings.get("app.current_tenant_id")
	if p.undid && tenant == "" {
		tenant = "-"
	}
	return fmt.Sprintf("%d:%s", id, tenant)
}
func (d *dialog) ranAs(p *postgres, id int) { d.ran = append(d.ran, d.ran1(p, id)) }

// dialogHost makes a dialog the host of its backend.
type dialogHost struct{ d *dialog }

func (h dialogHost) ran(p *postgres, id int)                  { h.d.ranAs(p, id) }
func (h dialogHost) refuses(*postgres, string) ([]byte, bool) { return nil, false }
func (h dialogHost) lazy(*postgres, string) bool              { return false }
func (h dialogHost) outcome(_ *postgres, w *waiting) verdict {
	if h.d.slow && !w.copying {
		return stay
	}
	return proceed
}

// newDialog enters the context of tenant a.
func newDialog(t *testing.T, size int, params ...wire.Param) *dialog {
	t.Helper()
	id := identities(t, "a")[0]
	entry, err := modelSpec.NewEntry(1, id, params)
	if err != nil {
		t.Fatal(err)
	}
	d := &dialog{t: t, lease: &Lease{}, be: &Backend{Params: map[string]string{}}, size: size}
	d.pg = newPostgres(dialogHost{d}, 1<<20)
	terms := &Terms{
		StatementBuffer: 400, Guard: NewGuard(GuardConfig{Context: GuardEnforce, Reserved: modelSpec.Names()}),
		Refusal: func(*Entry, Denial) []byte { return wire.AppendError(nil, "ERROR", "42501", "refused", "") },
	}
	var out Out
	if err := d.lease.Begin(terms, entry, d.be, &out); err != nil {
		t.Fatal(err)
	}
	d.sent(&out)
	d.pump()
	if !d.lease.Entered() {
		t.Fatal("the context was not entered")
	}
	return d
}

// sent takes what a step of the lease sends.
func (d *dialog) sent(out *Out) {
	for _, p := range out.Server {
		d.toPG = append(d.toPG, p...)
	}
	for _, p := range out.Client {
		d.raw = append(d.raw, p...)
	}
	for b := d.raw[d.seen():]; ; {
		f, ok := new(wire.Scanner).Next(b)
		if !ok || !f.Whole() {
			return
		}
		d.got = append(d.got, said{f.Type, string(f.Body)})
		b = b[wire.HeaderSize+f.Size():]
	}
}

// seen is how many bytes the whole messages in got are.
func (d *dialog) seen() (n int) {
	for _, m := range d.got {
		n += wire.HeaderSize + len(m.body)
	}
	return n
}

// piece is how many of n bytes move at once.
func (d *dialog) piece(n int) int {
	if d.size == 0 {
		return n
	}
	return min(n, d.size)
}

// say sends messages of the client, and lets everything happen that follows.
func (d *dialog) say(messages ...[]byte) {
	d.t.Helper()
	for b := bytes.Join(messages, nil); len(b) > 0 && d.err == nil; {
		n := d.piece(len(b))
		d.rest = append(bytes.Clone(d.rest), b[:n]...)
		b = b[n:]
		d.take()
		if d.size > 0 {
			d.pump()
		}
	}
	d.pump()
}

// take gives the lease what it has not consumed.
func (d *dialog) take() {
	var out Out
	n, err := d.lease.FromClient(bytes.Clone(d.rest), &out)
	d.rest, d.err = d.rest[n:], err
	d.sent(&out)
}

// pump lets the backend and the lease go on until nothing moves.
func (d *dialog) pump() {
	for d.err == nil {
		moved := len(d.toPG) > 0
		d.pg.in = append(d.pg.in, d.toPG...)
		d.toPG = nil
		for d.pg.step() {
			moved = true
		}
		if len(d.pg.sent) > 0 {
			n := d.piece(len(d.pg.sent))
			d.answer(d.pg.sent[:n])
			d.pg.sent = d.pg.sent[n:]
			continue
		}
		if before := len(d.rest); before > 0 && !d.lease.Holding() && d.err == nil {
			d.take()
			moved = moved || len(d.rest) < before
		}
		if !moved {
			return
		}
	}
}

// answer gives the lease bytes of the backend.
func (d *dialog) answer(p []byte) {
	var out Out
	d.tail = append(bytes.Clone(d.tail), p...)
	n, err := d.lease.FromServer(bytes.Clone(d.tail), &out)
	d.tail, d.err = d.tail[n:], err
	d.sent(&out)
}

// types are the types of the messages that the client got.
func (d *dialog) types() string {
	var b strings.Builder
	for _, m := range d.got {
		if m.typ != 'S' && m.typ != 'N' && m.typ != 'A' {
			b.WriteByte(m.typ)
		}
	}
	return b.String()
}

// query, run, sync and so on are messages of a client.
func query(text string) []byte { return message('Q', text, "\x00") }

func run(portal, name string) []byte { return append(bindTo(portal, name), execute(portal, 0)...) }

func prepare(name, text string) []byte { return append(parse(name, text), message('S')...) }

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

// FuzzLease holds that neither direction depends on how its bytes are split, and that nothing panics.
func FuzzLease(f *testing.F) {
	f.Add(bytes.Join([][]byte{query("select 1 1"), query("reset all"), query("select 2 1")}, nil), []byte("1\x00\x00\x00\x04"), []byte{1, 2, 3})
	f.Add(bytes.Join([][]byte{batchOf("discard all", "select 1 1"), message('F', "xxxx"), query("set app.user_id = 'x'")}, nil),
		bytes.Join([][]byte{message('1'), message('2'), message('C', "DISCARD ALL\x00")}, nil), []byte{5, 1, 1, 1})
	f.Add(bytes.Join([][]byte{query("copy 1 in"), copyRow("x"), message('c'), message('S')}, nil),
		bytes.Join([][]byte{message('G', "\x00\x00\x00"), message('E', "SERROR\x00C22P04\x00Mx\x00\x00"), message('Z', "I")}, nil), []byte{7})
	f.Add(query("/*"+strings.Repeat("x", 900)+"*/ reset all"), message('Z', "T"), []byte{200, 200, 200, 200})
	f.Add(append(query("select 1 1"), 'X', 0, 0, 0, 4), message('S', "client_encoding\x00SJIS\x00"), []byte{0, 3})
	f.Fuzz(func(t *testing.T, client, server, cuts []byte) {
		whole := fuzzLease(t, client, server, nil)
		pieces := fuzzLease(t, client, server, cuts)
		if whole != pieces {
			t.Fatalf("at once:  %+v\nin pieces: %+v", whole, pieces)
		}
	})
}

// outcome is what a lease made of two streams.
type leaseOutcome struct {
	toServer, toClient   string
	left                 int
	clientErr, serverErr string
}

// fuzzLease gives a lease the client's bytes and then the server's, split at cuts.
func fuzzLease(t *testing.T, client, server, cuts []byte) (o leaseOutcome) {
	d := newDialog(t, 0)
	d.lease.terms = &Terms{StatementBuffer: 400, Refusal: d.lease.terms.Refusal} // what is refused late depends on the pieces
	d.pg.dead = true
	for _, piece := range chunks(client, cuts) {
		d.rest = append(bytes.Clone(d.rest), piece...)
		if d.take(); d.err != nil {
			o.clientErr = d.err.Error()
			return o // how much of what stands before passed depends on the pieces
		}
	}
	o.left = len(d.rest)
	for _, piece := range chunks(server, cuts) {
		if d.answer(piece); d.err != nil {
			o.serverErr = d.err.Error()
			return o
		}
	}
	o.toServer, o.toClient = string(d.toPG), string(d.raw)
	return o
}

// chunks splits b at cuts, which are lengths.
func chunks(b, cuts []byte) (pieces [][]byte) {
	for _, c := range cuts {
		n := min(int(c), len(b))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return append(pieces, b)
}
