package session

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tenantgate/tenantgate/wire"
)

// proof is what a clean backend answers to a reset with this nonce.
func proof(nonce string) [][]byte {
	return [][]byte{
		message('C', "DISCARD ALL\x00"), message('Z', "I"),
		message('T', string(rowDescription)), message('D', string(dataRow(nonce, ""))), message('C', "SELECT 1\x00"), message('Z', "I"),
	}
}

// resetting begins a reset.
func resetting(t *testing.T) (*Reset, *Backend) {
	t.Helper()
	b := &Backend{}
	r := &Reset{}
	msg, err := r.Begin(b, modelSpec, &Random{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, rest := msg[:1+16], msg[1+16:]
	if string(first) != string(query("DISCARD ALL")) {
		t.Errorf("a reset begins with %q", first)
	}
	if f, ok := new(wire.Scanner).Next(rest); !ok || f.Type != 'Q' || !f.Whole() || !strings.Contains(string(f.Body), string(r.nonce[:])) {
		t.Errorf("a reset goes on with %q", rest)
	}
	return r, b
}

func TestResetIsProvenByTheWholeAnswerAtEverySplit(t *testing.T) {
	var all []byte
	r, _ := resetting(t)
	for _, m := range proof(string(r.nonce[:])) {
		all = append(append(all, message('S', "TimeZone\x00UTC\x00")...), m...)
	}
	for cut := 1; cut < len(all); cut++ {
		r.step = 0
		n, done, err := r.FromServer(all[:cut])
		if done || err != nil {
			t.Fatalf("%d of %d bytes: done %v, error %v", cut, len(all), done, err)
		}
		if m, done, err := r.FromServer(all[n:]); !done || err != nil || n+m != len(all) {
			t.Fatalf("split at %d: done %v, error %v, %d bytes taken", cut, done, err, n+m)
		}
	}
	if r.backend.Params.Value("TimeZone") != "UTC" {
		t.Error("a parameter that was reported is not known")
	}
}

func TestResetIsNotProvenByAnyOtherAnswer(t *testing.T) {
	failure := wire.AppendError(nil, "ERROR", "57014", "canceling statement due to user request", "")
	for name, spoil := range map[string]func(nonce string, m [][]byte) [][]byte{
		"an answer to someone else": func(_ string, m [][]byte) [][]byte { return append([][]byte{message('D', string(dataRow("1")))}, m...) },
		"a ReadyForQuery too many":  func(_ string, m [][]byte) [][]byte { return append([][]byte{message('Z', "I")}, m...) },
		"another tag":               func(_ string, m [][]byte) [][]byte { m[0] = message('C', "DISCARD TEMP\x00"); return m },
		"a tag that does not end":   func(_ string, m [][]byte) [][]byte { m[0] = message('C', "DISCARD ALL"); return m },
		"in a transaction":          func(_ string, m [][]byte) [][]byte { m[1] = message('Z', "T"); return m },
		"in a failed one":           func(_ string, m [][]byte) [][]byte { m[5] = message('Z', "E"); return m },
		"an error":                  func(_ string, m [][]byte) [][]byte { m[0] = failure; return m },
		"an error of the read-back": func(_ string, m [][]byte) [][]byte { m[2] = failure; return m },
		"another nonce":             func(n string, m [][]byte) [][]byte { m[3] = message('D', string(dataRow(n+"x", ""))); return m },
		"no nonce":                  func(_ string, m [][]byte) [][]byte { m[3] = message('D', string(dataRow("", ""))); return m },
		"a tenant":                  func(n string, m [][]byte) [][]byte { m[3] = message('D', string(dataRow(n, "a"))); return m },
		"a column too few":          func(n string, m [][]byte) [][]byte { m[3] = message('D', string(dataRow(n))); return m },
		"a column too many":         func(n string, m [][]byte) [][]byte { m[3] = message('D', string(dataRow(n, "", ""))); return m },
		"a row that lies":           func(_ string, m [][]byte) [][]byte { m[3] = message('D', "\x00\x02\x00\x00\x00\xff"); return m },
		"no row":                    func(_ string, m [][]byte) [][]byte { return append(m[:3:3], m[4:]...) },
		"two rows":                  func(_ string, m [][]byte) [][]byte { return append(m[:4:4], m[3:]...) },
		"more behind it":            func(_ string, m [][]byte) [][]byte { return append(m, message('N', "\x00")) },
		"half of it behind it":      func(_ string, m [][]byte) [][]byte { return append(m, []byte("Z")) },
		"an unknown type":           func(_ string, m [][]byte) [][]byte { m[2] = message('W', "xxx"); return m },
		"an impossible length":      func(_ string, m [][]byte) [][]byte { m[2] = []byte("Z\x00\x00\x00\x02"); return m },
		"a huge message":            func(_ string, m [][]byte) [][]byte { m[3] = []byte("D\x00\xff\xff\xff"); return m },
		"an unsafe encoding": func(_ string, m [][]byte) [][]byte {
			return append([][]byte{message('S', "client_encoding\x00SJIS\x00")}, m...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := resetting(t)
			var all []byte
			for _, m := range spoil(string(r.nonce[:]), proof(string(r.nonce[:]))) {
				all = append(all, m...)
			}
			if _, done, err := r.FromServer(all); done || err == nil {
				t.Errorf("done %v, error %v", done, err)
			}
		})
	}
}

func TestResetTakesATenantThatWasNeverSet(t *testing.T) {
	r, _ := resetting(t)
	m := proof(string(r.nonce[:]))
	null := append([]byte{0, 2, 0, 0, 0, byte(len(r.nonce))}, string(r.nonce[:])+"\xff\xff\xff\xff"...)
	m[3] = message('D', string(null))
	var all []byte
	for _, p := range m {
		all = append(all, p...)
	}
	if _, done, err := r.FromServer(all); !done || err != nil {
		t.Errorf("done %v, error %v", done, err)
	}
}

func TestResetNeverUsesANonceTwice(t *testing.T) {
	seen := map[[nonceSize]byte]bool{}
	for range 100 {
		r, _ := resetting(t)
		if seen[r.nonce] || slices.Contains(r.nonce[:], 0) {
			t.Fatalf("nonce %q", r.nonce)
		}
		seen[r.nonce] = true
	}
}

func TestWatchTakesOnlyWhatMayComeUnasked(t *testing.T) {
	b := &Backend{}
	p := append(wire.AppendNotice(nil, "NOTICE", "00000", "x", ""), wire.AppendParameterStatus(nil, "TimeZone", "UTC")...)
	if n, err := b.Watch(append(p, 'S', 0)); err != nil || n != len(p) || b.Params.Value("TimeZone") != "UTC" {
		t.Errorf("%d bytes taken, error %v", n, err)
	}
	for _, typ := range []byte("ZCDT123") {
		body := map[byte]string{'Z': "I"}[typ]
		if _, err := b.Watch(message(typ, body)); !errors.Is(err, errDesync) {
			t.Errorf("%q: error %v", typ, err)
		}
	}
	if _, err := b.Watch(wire.AppendError(nil, "FATAL", "57P01", "going away", "")); err == nil || !strings.Contains(err.Error(), "57P01") {
		t.Errorf("error %v", err)
	}
}
