package session

import (
	"bytes"
	"crypto/rand"
	"testing"
	"testing/cryptotest"
)

// TestRandomBytesAreThoseOfTheSystemOnceEach draws pieces of every length, some longer
// than the stock.
func TestRandomBytesAreThoseOfTheSystemOnceEach(t *testing.T) {
	var want, got []byte
	cryptotest.SetGlobalRandom(t, 1)
	for range 200 {
		var block [len(Random{}.stock)]byte
		_, _ = rand.Read(block[:])
		want = append(want, block[:]...)
	}
	cryptotest.SetGlobalRandom(t, 1)
	var r Random
	for n := range 300 {
		b := make([]byte, n)
		r.Read(b)
		got = append(got, b...)
		if given := r.stock[:len(r.stock)-r.left]; bytes.Count(given, []byte{0}) != len(given) {
			t.Fatalf("what was handed out is still there: %x", given)
		}
	}
	if !bytes.Equal(got, want[:len(got)]) {
		t.Error("what was handed out is not what was drawn, each byte once")
	}
}
