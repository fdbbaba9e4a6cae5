package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// password returns a password message with this body.
func password(body string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'p'}, uint32(4+len(body)))
	return append(b, body...)
}

func TestPasswordIsReadExactly(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 300, 4096, MaxPassword - 5} {
		want := strings.Repeat("t", n)
		sent := password(want + "\x00")
		got, size, err := Password(append(sent, "Q\x00"...))
		if err != nil || string(got) != want || size != len(sent) {
			t.Errorf("a password of %d bytes gives %d bytes, %d of %d, %v", n, len(got), size, len(sent), err)
		}
		for _, i := range []int{0, 1, 4, 5, 6, len(sent) - 1} {
			if i >= len(sent) {
				continue
			}
			if got, size, err := Password(sent[:i]); err != nil || got != nil || size <= i || size > len(sent) {
				t.Errorf("after %d of %d bytes: %d bytes, %d, %v", i, len(sent), len(got), size, err)
			}
		}
	}
}

func TestAnythingButOnePasswordIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("t", 8192)
	for _, c := range []struct {
		name, sent, text string
		early            int // how much of it is enough to tell
	}{
		{"query", "Q\x00\x00\x00\x0dselect 1\x00", "expected password response, got message type 81", 1},
		{"startup", "\x00\x00\x00\x09\x00\x03\x00\x00\x00", "expected password response, got message type 0", 1},
		{"a type alone", "S", "expected password response, got message type 83", 1},
		{"too long", "p\x00\x01\x00\x01" + long, "invalid message length", 5},
		{"negative", "p\xff\xff\xff\xff" + long, "invalid message length", 5},
		{"length zero", "p\x00\x00\x00\x00" + long, "invalid message length", 5},
		{"length three", "p\x00\x00\x00\x03" + long, "invalid message length", 5},
		{"no body", "p\x00\x00\x00\x04" + long, "invalid password packet size", 5},
		{"no NUL", string(password("good")), "invalid password packet size", 9},
		{"no NUL, long", string(password(long)), "invalid password packet size", 5 + len(long)},
		{"embedded NUL", string(password("good\x00tail")), "invalid password packet size", 14},
		{"two NULs", string(password("good\x00\x00")), "invalid password packet size", 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{c.early, len(c.sent)} {
				got, _, err := Password([]byte(c.sent[:n]))
				wantViolation(t, err, c.text, false)
				if got != nil {
					t.Errorf("%d bytes were returned", len(got))
				}
			}
		})
	}
}

func FuzzPassword(f *testing.F) {
	f.Add(password("token\x00"))
	f.Add(password("good\x00tail"))
	f.Add(password(strings.Repeat("t", 5000) + "\x00"))
	f.Add([]byte("p\x00\x01\x00\x01"))
	f.Add([]byte("Q\x00\x00\x00\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, size, err := Password(b)
		if size > 1+MaxPassword {
			t.Fatalf("%d bytes are asked for", size)
		}
		if err != nil || len(b) < size {
			if got != nil {
				t.Fatalf("%d bytes of a password that is refused or not whole", len(got))
			}
			return
		}
		if want := password(string(got) + "\x00"); !bytes.Equal(want, b[:size]) || bytes.IndexByte(got, 0) >= 0 {
			t.Fatalf("%q is not what was sent", got)
		}
	})
}
