package session

import "crypto/rand"

// Random hands out bytes of crypto/rand from a stock: a login needs few of them four
// times, and each time to go there would cost more than all of the bytes. What was
// handed out is wiped. It belongs to one event loop; the zero value is ready.
type Random struct {
	stock [256]byte
	left  int // of stock, at its end
}

// Read fills b.
func (r *Random) Read(b []byte) {
	for len(b) > 0 {
		if r.left == 0 {
			_, _ = rand.Read(r.stock[:]) // never fails: crypto/rand
			r.left = len(r.stock)
		}
		next := r.stock[len(r.stock)-r.left:]
		n := copy(b, next)
		clear(next[:n])
		b, r.left = b[n:], r.left-n
	}
}
