package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noise is n bytes that tell at once where some are missing.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], uint64(i)*0x9e3779b97f4a7c15)
	}
	return b
}

// both runs f on a plain connection and on an encrypted one.
func both(t *testing.T, f func(t *testing.T, r *running, p *probe, peer net.Conn)) {
	t.Run("plain", func(t *testing.T) {
		r := startLoop(t)
		p, peer := r.plain()
		f(t, r, p, peer)
	})
	t.Run("TLS", func(t *testing.T) {
		r := startLoop(t)
		p, peer := r.encrypted(func(conn net.Conn, config *tls.Config) net.Conn {
			c := tls.Client(conn, config)
			if err := c.Handshake(); err != nil {
				t.Error(err)
			}
			return c
		})
		f(t, r, p, peer)
	})
}

func TestASlowReaderGetsEverythingInOrder(t *testing.T) {
	both(t, func(t *testing.T, r *running, p *probe, peer net.Conn) {
		want := noise(12 << 20)
		drains := 0
		r.do(func() {
			rng := rand.New(rand.NewPCG(3, 4))
			rest := want
			cut := func(most int) []byte {
				b := rest[:min(len(rest), rng.IntN(most))]
				rest = rest[len(b):]
				return b
			}
			p.taken = func() {
				drains++
				if len(p.s.out) != 0 {
					t.Errorf("drained with %d bytes left", len(p.s.out))
				}
				for len(rest) > 0 && len(p.s.out) == 0 {
					p.s.send(cut(100), cut(40<<10), cut(300<<10))
				}
				p.s.send(cut(1000)) // behind what waits
			}
			p.taken()
			drains = 0
			if len(p.s.out) == 0 {
				t.Error("the peer took everything at once: nothing was slow")
			}
		})
		_ = peer.SetDeadline(time.Now().Add(longest))
		got := make([]byte, len(want))
		for n := 0; n < len(got); {
			m, err := peer.Read(got[n:min(len(got), n+(50<<10))])
			if err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
			n += m
		}
		if !bytes.Equal(got, want) {
			t.Error("the bytes are not those that were sent")
		}
		r.do(func() {
			if drains == 0 || len(p.s.out) != 0 || p.s.events&wantWrite != 0 {
				t.Errorf("drained %d times, %d bytes left, events %x", drains, len(p.s.out), p.s.events)
			}
		})
	})
}

func TestTheRestComesBackInFrontOfTheNextBytes(t *testing.T) {
	for _, rest := range []int{1, smallRest - 1, smallRest, smallRest + 1, 3 * smallRest, readBuffer} {
		t.Run(fmt.Sprint(rest), func(t *testing.T) {
			both(t, func(t *testing.T, r *running, p *probe, peer net.Conn) {
				want := noise(rest + 5000)
				had := make(chan int, 1000)
				var last []byte
				r.do(func() {
					p.read = func() {
						b, err := p.s.fill()
						if err == nil {
							if !bytes.HasPrefix(b, last) || !bytes.Equal(b, want[:len(b)]) {
								t.Errorf("%d bytes, %d of them kept: not those that were sent", len(b), len(last))
							}
							if len(b) != len(last)+int(p.s.got) {
								t.Errorf("%d bytes of %d kept and %d read", len(b), len(last), int(p.s.got))
							}
							p.s.keep(b)
							last = bytes.Clone(b)
							had <- len(b)
						}
						if p.s.more {
							r.resume(p.s)
						}
					}
					p.s.reading(true)
				})
				sent := 0
				for _, until := range []int{rest, len(want)} {
					if _, err := peer.Write(want[sent:until]); err != nil {
						t.Fatal(err)
					}
					sent = until
					for n := 0; n < until; {
						n = soon(t, had)
					}
				}
			})
		})
	}
}

func TestNothingIsLostWhateverIsConsumed(t *testing.T) {
	both(t, func(t *testing.T, r *running, p *probe, peer net.Conn) {
		want := noise(4 << 20)
		var got []byte
		done := make(chan error, 1)
		rng := rand.New(rand.NewPCG(5, 6))
		r.do(func() {
			p.read = func() {
				b, err := p.s.fill()
				switch {
				case errors.Is(err, io.EOF):
					r.close(p.s)
					got = append(got, b...)
					done <- nil
					return
				case err == nil:
					n := len(b)
					if len(b) < 100<<10 {
						n = rng.IntN(len(b) + 1)
					}
					got = append(got, b[:n]...)
					p.s.keep(b[n:])
				}
				if p.s.more {
					r.resume(p.s)
				}
			}
			p.s.reading(true)
		})
		sizes := rand.New(rand.NewPCG(7, 8)) // the loop has the other one
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+sizes.IntN(20<<10))
			if _, err := peer.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		_ = peer.(interface{ CloseWrite() error }).CloseWrite()
		if err := soon(t, done); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes came, %d were sent, the same: %v", len(got), len(want), bytes.HasPrefix(want, got))
		}
	})
}

func TestAKeyUpdateBehindDataChangesNothing(t *testing.T) {
	r := startLoop(t)
	p, f := r.forging()
	r.echo(p)
	f.flush(f.updateKeys(f.out.append(nil, recordData, []byte("in front"))))
	f.expect("in front")
	f.flush(f.out.append(nil, recordData, []byte("behind")))
	f.expect("behind")
	if f.answered != 1 {
		t.Errorf("%d key updates came as the answer to one", f.answered)
	}
	r.do(func() { p.s.send([]byte("unasked")) })
	f.expect("unasked")

	b := f.updateKeys(f.out.append(nil, recordData, []byte("one")))
	b = f.updateKeys(f.out.append(b, recordData, []byte("two")))
	f.flush(f.out.append(b, recordData, []byte("three")))
	f.expect("onetwothree")
}

func TestAKeyUpdateAloneIsAnswered(t *testing.T) {
	r := startLoop(t)
	p, f := r.forging()
	r.echo(p)
	f.flush(f.updateKeys(nil))
	f.flush(f.out.append(nil, recordData, []byte("on")))
	f.expect("on")
	if f.answered != 1 {
		t.Errorf("%d key updates came as the answer to one", f.answered)
	}
}

func TestAllRecordsOfASegmentAreDelivered(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "of a KiB": 1 << 10, "full": 16 << 10} {
		t.Run(name, func(t *testing.T) {
			r := startLoop(t)
			p, f := r.forging()
			r.echo(p)
			var b []byte
			var want strings.Builder
			for i := range 100 {
				content := fmt.Appendf(nil, "%*d", size, i)
				b = f.out.append(b, recordData, content)
				want.Write(content)
			}
			f.flush(b)
			f.expect(want.String())
		})
	}
}

func TestARecordInPiecesIsPutTogether(t *testing.T) {
	r := startLoop(t)
	p, f := r.forging()
	r.echo(p)
	for range 5 {
		b := f.out.append(nil, recordData, []byte("piecemeal"))
		for len(b) > 0 {
			n := min(len(b), 3)
			f.flush(b[:n])
			b = b[n:]
			r.do(func() {})
		}
		f.expect("piecemeal")
	}
}

func TestCloseNotifyEndsTheStream(t *testing.T) {
	r := startLoop(t)
	p, f := r.forging()
	var got []byte
	end := make(chan error, 1)
	r.do(func() {
		p.read = func() {
			b, err := p.s.fill()
			if err != nil && !errors.Is(err, errEmpty) {
				p.s.reading(false)
				end <- err
				return
			}
			got = append(got, b...)
			if p.s.more {
				r.resume(p.s)
			}
		}
		p.s.reading(true)
	})
	b := f.out.append(nil, recordData, []byte("the last"))
	b = f.out.append(b, recordAlert, []byte{1, 0})
	f.flush(f.out.append(b, recordData, []byte("too late"))) // the TCP connection stays open
	if err := soon(t, end); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	r.do(func() {
		if string(got) != "the last" {
			t.Errorf("%q was read", got)
		}
		if _, err := p.s.fill(); !errors.Is(err, io.EOF) {
			t.Errorf("behind the end: %v", err)
		}
	})
}

func TestWhatIsNotTLSEndsTheStream(t *testing.T) {
	r := startLoop(t)
	p, f := r.forging()
	r.echo(p)
	f.flush([]byte("\x17\x03\x03\x00\x20not what a record looks like inside"))
	_, err := io.Copy(io.Discard, f)
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		t.Error("the connection goes on")
	}
}

func TestAHangUpWhilePausedIsToldOnceAndCostsNothing(t *testing.T) {
	r := startLoop(t)
	p, peer := r.plain()
	told := make(chan struct{}, 1000)
	var got []byte
	end := make(chan struct{})
	r.do(func() {
		p.hangUp = func() {
			told <- struct{}{}
			p.s.park()
			p.s.park() // once more changes nothing
		}
		p.read = func() {
			b, err := p.s.fill()
			if errors.Is(err, io.EOF) {
				r.close(p.s)
				close(end)
				return
			}
			got = append(got, b...)
		}
	})
	if _, err := peer.Write([]byte("the last words")); err != nil {
		t.Fatal(err)
	}
	_ = peer.Close()
	soon(t, told)
	for range 50 {
		r.do(func() {}) // a turn each
	}
	if len(told) != 0 {
		t.Errorf("told %d times more", len(told))
	}
	r.do(func() {
		events := r.poll.wait(0)
		for _, e := range events {
			if int(e.Fd) == p.s.fd {
				t.Errorf("the poller still reports %x", e.Events)
			}
		}
		p.s.reading(true)
	})
	soon(t, end)
	r.do(func() {
		if string(got) != "the last words" {
			t.Errorf("%q was read", got)
		}
	})
}

func TestWhoLetsKeyUpdatesPileUpUnreadIsEnded(t *testing.T) {
	r := startLoop(t)
	p, f := r.forging()
	_ = unix.SetsockoptInt(p.s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	unread := make(chan int, 1)
	r.do(func() {
		p.read = func() {
			_, err := p.s.fill()
			if err != nil && !errors.Is(err, errEmpty) {
				unread <- len(p.s.out)
				r.close(p.s)
				return
			}
			if p.s.more {
				r.resume(p.s)
			}
		}
		p.taken = func() {}
		p.s.reading(true)
	})
	_ = f.SetDeadline(time.Now().Add(longest))
	for range 2000 { // some 27 bytes each, so ten times what is suffered
		var b []byte
		for range 50 {
			b = f.updateKeys(f.out.append(b, recordData, []byte("x")))
		}
		if _, err := f.Write(b); err != nil {
			break
		}
	}
	if n := soon(t, unread); n <= maxUnread || n > maxUnread+cipherBuffer {
		t.Errorf("ended with %d bytes unread, the bound is %d", n, maxUnread)
	}
}

func TestShutdownTellsThePeerBehindAllBytes(t *testing.T) {
	both(t, func(t *testing.T, r *running, p *probe, peer net.Conn) {
		want := noise(1 << 20)
		r.do(func() {
			p.taken = func() { p.s.shutdown() }
			for len(p.s.out) == 0 {
				p.s.send(want)
			}
		})
		_ = peer.SetDeadline(time.Now().Add(longest))
		got, err := io.ReadAll(peer)
		if err != nil || len(got)%len(want) != 0 || len(got) == 0 || !bytes.Equal(got[len(got)-len(want):], want) {
			t.Errorf("%d bytes came (%v), want a multiple of %d", len(got), err, len(want))
		}
	})
}
