package session

import (
	"crypto/rand"
	"encoding/binary"
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
	nonce   string
	step    int // index into resetAnswers of what must come next
}

// errUnproven means that the backend answered a reset otherwise than a clean one
// would: it is closed.
var errUnproven = errors.New("reset was not proven")

// resetAnswers are the messages that prove a reset.
const resetAnswers = "CZTDCZ"

// Begin starts the reset of b and returns what to send.
func (r *Reset) Begin(b *Backend, spec *ContextSpec) ([]byte, error) {
	*r = Reset{backend: b, nonce: rand.Text()}
	msg, err := wire.AppendQuery(nil, "DISCARD ALL")
	if err != nil {
		return nil, err
	}
	// Names of settings are checked when the configuration is read; quoting keeps
	// this safe on its own.
	name := strings.ReplaceAll(spec.TenantSetting, "'", "''")
	return wire.AppendQuery(msg, "SELECT '"+r.nonce+"', pg_catalog.current_setting('"+name+"', true)")
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
		n += header + len(m.body)
		if m.async() {
			continue
		}
		if err := r.expect(m); err != nil {
			return n, false, err
		}
		if r.step == len(resetAnswers) {
			if n != len(p) {
				return n, false, fmt.Errorf("%w: more came behind it", errUnproven)
			}
			return n, true, nil
		}
	}
}

func (r *Reset) expect(m message) error {
	if m.typ == 'E' {
		e := readError(m.body)
		return fmt.Errorf("%w: %s (SQLSTATE %s)", errUnproven, e.message, e.code)
	}
	if m.typ != resetAnswers[r.step] {
		return fmt.Errorf("%w: message %q in the place of %q", errUnproven, m.typ, resetAnswers[r.step])
	}
	r.step++
	switch r.step {
	case 1:
		if tag, ok := wire.CommandTag(m.body); !ok || tag != "DISCARD ALL" {
			return fmt.Errorf("%w: command tag %q", errUnproven, tag)
		}
	case 2, len(resetAnswers):
		if m.body[0] != 'I' {
			return fmt.Errorf("%w: transaction status %q", errUnproven, m.body[0])
		}
	case 4:
		return r.readBack(m.body)
	}
	return nil
}

// readBack checks the nonce and that no tenant is set. A placeholder that was
// once set is empty after DISCARD ALL, one that never was is null.
func (r *Reset) readBack(row []byte) error {
	columns, ok := wire.DataRow(row, nil)
	if !ok || len(columns) != 2 || string(columns[0]) != r.nonce {
		return fmt.Errorf("%w: the nonce did not come back", errUnproven)
	}
	if len(columns[1]) != 0 {
		return fmt.Errorf("%w: a tenant is still set", errUnproven)
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
		if !m.async() {
			if m.typ == 'E' {
				e := readError(m.body)
				return n, fmt.Errorf("%s (SQLSTATE %s)", e.message, e.code)
			}
			return n, errDesync
		}
		n += header + len(m.body)
	}
}

// next reads one whole message of a backend that serves no client. ok is false
// while p does not hold it whole.
func (b *Backend) next(p []byte) (m message, ok bool, err error) {
	if len(p) < header {
		return m, false, nil
	}
	m = message{typ: p[0], length: binary.BigEndian.Uint32(p[1:])}
	if err := wire.CheckServer(m.typ, m.length); err != nil {
		return m, false, err
	}
	if m.size() > gatherLimit {
		return m, false, errOversized
	}
	m.body = p[header:min(len(p), header+m.size())]
	if !m.whole() {
		return m, false, nil
	}
	if m.typ == 'S' {
		return m, true, b.Report(m.body)
	}
	return m, true, nil
}

// async says that a message may come at any time and answers nothing.
func (m message) async() bool { return m.typ == 'N' || m.typ == 'S' || m.typ == 'A' }
