package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantgate/tenantgate/wire"
)

// dialog is one client that talks to one simulated backend through a lease. Everything moves at once,
// in pieces of size bytes.
type dialog struct {
	t     testing.TB
	lease *Lease
	pg    *postgres
	be    *Backend
	size  int // 0: all that is there
	toPG  []byte
	rest  []byte   // of the client
	tail  []byte   // of the backend
	got   []said   // by the client
	raw   []byte   // by the client, in all
	ran   []string // statements with an id, see dialogHost.ran
	slow  bool     // statements that wait are not ended
	err   error
}

// dialogHost makes a dialog the host of its backend.
type dialogHost struct{ d *dialog }

// ran notes the id and the tenant, - for none where the Query itself undid it.
func (dialogHost) rejects() bool { return false }

func (dialogHost) recalls() ([]byte, bool) { return nil, false }

func (h dialogHost) ran(p *postgres, id int) {
	tenant := p.settings.get("app.current_tenant_id")
	if p.undid && tenant == "" {
		tenant = "-"
	}
	h.d.ran = append(h.d.ran, fmt.Sprintf("%d:%s", id, tenant))
}

func (h dialogHost) refuses(*postgres, string) ([]byte, bool) { return nil, false }
func (h dialogHost) lazy(*postgres, string) bool              { return false }
func (h dialogHost) outcome(_ *postgres, w *waiting) verdict {
	if h.d.slow && !w.copying {
		return remain
	}
	return proceed
}

// newDialog enters the context of tenant a.
func newDialog(t testing.TB, size int, params ...wire.Param) *dialog {
	t.Helper()
	id := identities(t, "a")[0]
	entry, err := modelSpec.NewEntry(1, id, params, false)
	if err != nil {
		t.Fatal(err)
	}
	d := &dialog{t: t, lease: &Lease{}, be: &Backend{}, size: size}
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
			moved = moved || len(d.rest) < before || len(d.toPG) > 0
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
