package session

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// Reset proves that a backend is clean: DISCARD ALL alone in one Query, then in
// a second one a nonce that no earlier answer can contain and the tenant setting
// as it is now. Everything must come back in exactly this order; notices,
// parameter reports and notifications may stand between. It belongs to one
// backend whose last lease ended Poolable.
type Reset struct {
	backend *Backend
	nonce   [nonceSize]byte
	step    int // index into resetAnswers of what must come next
}

// nonceSize is the length of a nonce, which has 130 random bits.
const nonceSize = 26

// errUnproven means that the backend answered a reset otherwise than a clean one
// would: it is closed.
var errUnproven = errors.New("reset was not proven")

// resetAnswers are the messages that prove a reset.
const resetAnswers = "CZTDCZ"

// Begin starts the reset of b and appends to dst what to send.
func (r *Reset) Begin(b *Backend, spec *ContextSpec, random *Random, dst []byte) ([]byte, error) {
	*r = Reset{backend: b}
	random.Read(r.nonce[:])
	for i, b := range r.nonce {
		r.nonce[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[b%32] // as rand.Text, without making a string of it
	}
	msg, err := wire.AppendQuery(dst, "DISCARD ALL")
	if err != nil {
		return nil, err
	}
	// Names of settings are checked when the configuration is read; quoting keeps
	// this safe on its own.
	name := strings.ReplaceAll(spec.TenantSetting, "'", "''")
	latched := ""
	if b.seal != nil {
		latched = ", tenantgate.latched()"
	}
	return wire.AppendQuery(msg, "SELECT '", string(r.nonce[:]), "', pg_catalog.current_setting('", name, "', true)", latched)
}

// FromServer takes what the backend answers and returns how much of it was
// consumed; the caller keeps the rest. done means that the backend is proven
// clean; an error, that it must be closed.
func (r *Reset) FromServer(p []byte) (n int, done bool, err error) {
	for {
		m, ok, err := r.backend.next(p[n:])
		if err != nil || !ok {
			return n, false, err
		}
		n += wire.HeaderSize + len(m.Body)
		if async(m) {
			continue
		}
		if err := r.expect(m); err != nil {
			return n, false, err
		}
		if r.step == len(resetAnswers) {
			if n != len(p) {
				return n, false, fmt.Errorf("%w: more came behind it", errUnproven)
			}
			r.backend.shelf.clear()
			r.backend.shelf.drop(&r.backend.shelf.unnamed)
			r.backend.left, r.backend.carried, r.backend.stirred = r.backend.carried, nil, false
			clear(r.backend.moved)
			return n, true, nil
		}
	}
}

func (r *Reset) expect(m wire.Frame) error {
	if m.Type == 'E' {
		e := readError(m.Body)
		return fmt.Errorf("%w: %s (SQLSTATE %s)", errUnproven, e.message, e.code)
	}
	if m.Type != resetAnswers[r.step] {
		return fmt.Errorf("%w: message %q in the place of %q", errUnproven, m.Type, resetAnswers[r.step])
	}
	r.step++
	switch r.step {
	case 1:
		if tag, ok := wire.CommandTag(m.Body); !ok || tag != "DISCARD ALL" {
			return fmt.Errorf("%w: command tag %q", errUnproven, strings.Clone(tag)) // a copy: for its sake tag need not be one each time
		}
	case 2, len(resetAnswers):
		if m.Body[0] != 'I' {
			return fmt.Errorf("%w: transaction status %q", errUnproven, m.Body[0])
		}
	case 4:
		return r.readBack(m.Body)
	}
	return nil
}

// readBack checks the nonce and that neither a tenant is set nor, where contexts
// are sealed, a latch. A placeholder that was
// once set is empty after DISCARD ALL, one that never was is null.
func (r *Reset) readBack(row []byte) error {
	var room [3][]byte
	columns, ok := wire.DataRow(row, room[:0])
	want := 2
	if r.backend.seal != nil {
		want = 3
	}
	if !ok || len(columns) != want || string(columns[0]) != string(r.nonce[:]) {
		return fmt.Errorf("%w: the nonce did not come back", errUnproven)
	}
	if len(columns[1]) != 0 {
		return fmt.Errorf("%w: a tenant is still set", errUnproven)
	}
	if want == 3 && string(columns[2]) != "f" {
		return fmt.Errorf("%w: a sealed context is left", errUnproven)
	}
	return nil
}

// Watch takes what an idle backend sends unasked. A change of a reported
// parameter is noted and a notice dropped; anything else means that it can not
// be handed out any more.
func (b *Backend) Watch(p []byte) (n int, err error) {
	for {
		m, ok, err := b.next(p[n:])
		if err != nil || !ok {
			return n, err
		}
		if !async(m) {
			if m.Type == 'E' {
				e := readError(m.Body)
				return n, fmt.Errorf("%s (SQLSTATE %s)", e.message, e.code)
			}
			return n, errDesync
		}
		n += wire.HeaderSize + len(m.Body)
	}
}

// next reads one whole message of a backend that serves no client. ok is false
// while p does not hold it whole.
func (b *Backend) next(p []byte) (m wire.Frame, ok bool, err error) {
	var scan wire.Scanner
	if m, ok = scan.Next(p); !ok {
		return m, false, nil
	}
	if err := wire.CheckServer(m.Type, m.Length); err != nil {
		return m, false, err
	}
	if m.Size() > gatherLimit {
		return m, false, errOversized
	}
	if !m.Whole() {
		return m, false, nil
	}
	if m.Type == 'S' {
		return m, true, b.Report(m.Body)
	}
	return m, true, nil
}

// async says that a message may come at any time and answers nothing.
func async(m wire.Frame) bool { return m.Type == 'N' || m.Type == 'S' || m.Type == 'A' }
