package session

import (
	"bytes"
	"testing"
)

// TestWhoSendsMuchHasABackend: what a client has sent without one is held in memory, and
// there are more clients than backends.
func TestWhoSendsMuchHasABackend(t *testing.T) {
	for _, typ := range []byte("QPBd") {
		l := Lease{terms: &Terms{Transaction: true, StatementBuffer: 1 << 20}}
		message := append(appendHeader(nil, typ, 1<<19), bytes.Repeat([]byte("x"), 1<<19)...)
		for n, want := range map[int]bool{4: false, 5: false, 1 << 10: false, gatherLimit + 5: true, len(message): true} {
			if got, err := l.Wants(message[:n]); got != want || err != nil {
				t.Errorf("%q, %d bytes: %v, %v, want %v", typ, n, got, err, want)
			}
		}
	}
}
