package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// password returns a password message with this body.
func password(body string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'p'}, uint32(4+len(body)))
	return append(b, body...)
}

func TestPasswordIsReadExactly(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 300, passwordChunk - 2, passwordChunk - 1, passwordChunk, 2*passwordChunk - 1, 2 * passwordChunk, MaxPassword - 5} {
		want := strings.Repeat("t", n)
		r := bytes.NewReader(append(password(want+"\x00"), "Q\x00"...))
		for name, reader := range map[string]io.Reader{"whole": r, "bytewise": iotest.OneByteReader(r)} {
			if _, err := r.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if got, err := ReadPassword(reader); err != nil || got != want {
				t.Errorf("%s: a password of %d bytes gives %d bytes, %v", name, n, len(got), err)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "Q\x00" {
				t.Errorf("%s: %q is left behind a password of %d bytes", name, rest, n)
			}
		}
	}
}

func TestAnythingButOnePasswordIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("t", 2*passwordChunk)
	for _, c := range []struct {
		name, sent, text string
		read             int
	}{
		{"query", "Q\x00\x00\x00\x0dselect 1\x00", "expected password response, got message type 81", 5},
		{"startup", "\x00\x00\x00\x09\x00\x03\x00\x00\x00", "expected password response, got message type 0", 5},
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
		{"NUL at a chunk's end", string(password(long[:passwordChunk-1] + "\x00tail\x00")), "invalid password packet size", 5 + passwordChunk},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := strings.NewReader(c.sent)
			got, err := ReadPassword(r)
			wantViolation(t, err, c.text, false)
			if read := len(c.sent) - r.Len(); got != "" || read != c.read {
				t.Errorf("%d bytes returned and %d read, want 0 and %d", len(got), read, c.read)
			}
		})
	}
}

func TestPasswordCutShort(t *testing.T) {
	t.Parallel()
	b := password(strings.Repeat("t", passwordChunk) + "\x00")
	for _, i := range []int{0, 1, 4, 5, 6, 5 + passwordChunk} {
		want := io.ErrUnexpectedEOF
		if i == 0 {
			want = io.EOF
		}
		if got, err := ReadPassword(bytes.NewReader(b[:i])); !errors.Is(err, want) || got != "" {
			t.Errorf("after %d bytes: %d bytes, %v; want %v", i, len(got), err, want)
		}
	}
}

// Not parallel: it reads the allocation counter of the process.
func TestAnAnnouncedPasswordIsNotMemory(t *testing.T) {
	const each = 100
	allocated := func(sent []byte) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range each {
			_, _ = ReadPassword(bytes.NewReader(sent))
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / each
	}
	full := password(strings.Repeat("t", MaxPassword-5) + "\x00")
	if n := allocated(full[:passwordChunk]); n > passwordChunk+1024 {
		t.Errorf("a length of 64 KiB and less than one chunk allocate %d bytes", n)
	}
	if n := allocated(full); n > MaxPassword+passwordChunk+1024 {
		t.Errorf("the longest password allocates %d bytes", n)
	}
}

func FuzzReadPassword(f *testing.F) {
	f.Add(password("token\x00"))
	f.Add(password("good\x00tail"))
	f.Add(password(strings.Repeat("t", 5000) + "\x00"))
	f.Add([]byte("p\x00\x01\x00\x01"))
	f.Add([]byte("Q\x00\x00\x00\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		got, err := ReadPassword(r)
		read := len(b) - r.Len()
		if read > 1+MaxPassword {
			t.Fatalf("%d bytes were read", read)
		}
		if err != nil {
			if got != "" {
				t.Fatalf("%d bytes of a refused password", len(got))
			}
			return
		}
		if want := password(got + "\x00"); !bytes.Equal(want, b[:read]) || strings.ContainsRune(got, 0) {
			t.Fatalf("%q is not what was sent", got)
		}
	})
}
