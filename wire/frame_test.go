package wire

import (
	"encoding/binary"
	"fmt"
	"testing"
	"unsafe"
)

// message is one whole message as a scanner or the reference decoder sees it.
type message struct {
	typ    byte
	length uint32
	body   string
}

// wholeBuffer is the reference: it decodes b with the entire stream in sight, up to the first header
// that check refuses, and returns the complete messages and the offset behind the last of them.
func wholeBuffer(b []byte, check func(byte, uint32) error) (messages []message, end int, refused bool) {
	for len(b)-end >= HeaderSize {
		typ, length := b[end], binary.BigEndian.Uint32(b[end+1:])
		if check(typ, length) != nil {
			return messages, end, true
		}
		if uint64(len(b)-end) < uint64(length)+1 {
			break
		}
		next := end + 1 + int(length)
		messages = append(messages, message{typ, length, string(b[end+HeaderSize : next])})
		end = next
	}
	return messages, end, false
}

// relay decodes chunks with one Scanner as its callers do: what was not taken is given again with the
// next chunk behind it. patient callers take a message only once it is whole. It checks on the way
// everything that a caller relies on at each call.
type relay struct {
	t       *testing.T
	check   func(byte, uint32) error
	patient bool

	scan     Scanner
	messages []message
	open     message // taken, but its body is not whole
	refused  bool
	kept     []byte // what was not taken
	taken    int    // bytes in all
}

// take gives the next chunk and keeps what is left of it. It returns false when a header was refused.
func (r *relay) take(chunk []byte) bool {
	p := append(r.kept, chunk...)
	p = p[:len(p):len(p)]
	for !r.refused {
		n, ok := r.step(p)
		p, r.taken = p[n:], r.taken+n
		if !ok {
			break
		}
	}
	r.kept = append([]byte(nil), p...)
	return !r.refused
}

// step takes a piece of a body or one frame from p. ok is false when there is nothing more to take.
func (r *relay) step(p []byte) (n int, ok bool) {
	if r.scan.Inside() {
		n := r.scan.Skip(p)
		if n > len(p) || len(r.open.body)+n > int(r.open.length)-4 {
			r.t.Fatalf("Skip took %d of %d bytes with %d of %d there", n, len(p), len(r.open.body), r.open.length-4)
		}
		r.open.body += string(p[:n])
		r.closeWhole()
		return n, n > 0
	}
	if r.scan.Skip(p) != 0 {
		r.t.Fatal("Skip took bytes at a boundary")
	}
	f, ok := r.scan.Next(p)
	if ok != (len(p) >= HeaderSize) {
		r.t.Fatalf("Next says %v to %d bytes", ok, len(p))
	}
	if !ok {
		return 0, false
	}
	if r.refused = r.check(f.Type, f.Length) != nil; r.refused {
		return 0, false
	}
	if again, _ := r.scan.Next(p); again.Type != f.Type || again.Length != f.Length || len(again.Body) != len(f.Body) {
		r.t.Fatal("Next is not the same when it is asked again")
	}
	if f.Size() != int(f.Length)-4 || len(f.Body) > f.Size() || HeaderSize+len(f.Body) > len(p) {
		r.t.Fatalf("Next cut %d body bytes for length %d out of %d", len(f.Body), f.Length, len(p))
	}
	if f.Whole() != (len(f.Body) == f.Size()) {
		r.t.Fatalf("Whole is %v with %d of %d bytes", f.Whole(), len(f.Body), f.Size())
	}
	if r.patient && !f.Whole() {
		return 0, false
	}
	r.open = message{f.Type, f.Length, string(f.Body)}
	n = r.scan.Take(f)
	if n != HeaderSize+len(f.Body) || r.scan.Inside() == f.Whole() {
		r.t.Fatalf("Take took %d bytes of a header and %d, and is inside: %v", n, len(f.Body), r.scan.Inside())
	}
	r.closeWhole()
	return n, true
}

func (r *relay) closeWhole() {
	if whole := len(r.open.body) == int(r.open.length)-4; whole == r.scan.Inside() {
		r.t.Fatalf("Inside is %v with %d of %d bytes there", r.scan.Inside(), len(r.open.body), r.open.length-4)
	} else if whole {
		r.messages = append(r.messages, r.open)
	}
}

// split cuts b into chunks whose lengths are taken in turn from cuts; what is left comes whole.
func split(b, cuts []byte) (chunks [][]byte) {
	for _, c := range cuts {
		n := min(int(c), len(b))
		chunks = append(chunks, b[:n:n])
		b = b[n:]
	}
	return append(chunks, b)
}

// scanned runs the chunks through a relay and holds it against the reference.
func scanned(t *testing.T, chunks [][]byte, check func(byte, uint32) error, patient bool) *relay {
	t.Helper()
	r := &relay{t: t, check: check, patient: patient}
	var stream []byte
	for _, c := range chunks {
		stream = append(stream, c...)
		if !r.take(c) {
			break
		}
	}
	want, end, refused := wholeBuffer(stream, check)
	if err := sameMessages(r.messages, want); err != nil || r.refused != refused {
		t.Fatalf("%v; refused %v, want %v", err, r.refused, refused)
	}
	if r.taken+len(r.kept) != len(stream) {
		t.Fatalf("%d bytes taken and %d kept of %d", r.taken, len(r.kept), len(stream))
	}
	boundary := !r.scan.Inside() && len(r.kept) == 0
	if !refused && boundary != (end == len(stream)) {
		t.Fatalf("stands at a boundary: %v, with %d bytes behind the last message", boundary, len(stream)-end)
	}
	return r
}

func sameMessages(got, want []message) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d messages, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("message %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	return nil
}

func TestScannerIsSmall(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(Scanner{}); n > 4 {
		t.Errorf("a Scanner takes %d bytes, want at most 4", n)
	}
}

func TestScannerFindsTheSameMessagesAtEverySplit(t *testing.T) {
	t.Parallel()
	stream := []byte("Q\x00\x00\x00\x0dselect 1\x00" + "S\x00\x00\x00\x04" + "H\x00\x00\x00\x04" + "d\x00\x00\x00\x07abc" + "X\x00\x00\x00\x04")
	for i := 0; i <= len(stream); i++ {
		for j := i; j <= len(stream); j++ {
			for _, patient := range []bool{false, true} {
				r := scanned(t, [][]byte{stream[:i], stream[i:j], stream[j:]}, CheckClient, patient)
				if len(r.messages) != 5 {
					t.Fatalf("split at %d and %d: %d messages", i, j, len(r.messages))
				}
			}
		}
	}
}

func TestScannerFindsTheSameMessagesByteByByte(t *testing.T) {
	t.Parallel()
	stream := []byte("D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x011C\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I")
	for _, patient := range []bool{false, true} {
		var chunks [][]byte
		for i := range stream {
			chunks = append(chunks, stream[i:i+1])
		}
		if r := scanned(t, chunks, CheckServer, patient); len(r.messages) != 3 {
			t.Errorf("patient %v: %d messages", patient, len(r.messages))
		}
	}
}

func TestScannerNeverCutsPastTheAnnouncedLength(t *testing.T) {
	t.Parallel()
	for size := range 20 {
		p := append([]byte{'d', 0, 0, 0, byte(4 + size)}, make([]byte, 40)...)
		for have := HeaderSize; have <= len(p); have++ {
			var s Scanner
			f, ok := s.Next(p[:have])
			if want := min(size, have-HeaderSize); !ok || len(f.Body) != want || f.Whole() != (want == size) {
				t.Fatalf("body of %d with %d bytes there: cut %d, whole %v", size, have-HeaderSize, len(f.Body), f.Whole())
			}
			n := s.Take(f)
			if rest := s.Skip(p[n:]); n+rest != HeaderSize+size || s.Inside() {
				t.Fatalf("body of %d: %d bytes taken and %d skipped", size, n, rest)
			}
		}
	}
}

func TestScannerAsksBeforeItTakesAnImpossibleLength(t *testing.T) {
	t.Parallel()
	for _, length := range []uint32{0, 1, 2, 3, 0x80000000, 0xffffffff} {
		var s Scanner
		h := append(binary.BigEndian.AppendUint32([]byte{'Q'}, length), "abcdefgh"...)
		f, ok := s.Next(h)
		if !ok || f.Length != length || CheckClient(f.Type, f.Length) == nil || s.Inside() {
			t.Errorf("length %d: got %d, ok %v, inside %v", length, f.Length, ok, s.Inside())
		}
		if len(f.Body) > len(h)-HeaderSize || length < 4 && len(f.Body) != 0 {
			t.Errorf("length %d: a body of %d bytes", length, len(f.Body))
		}
	}
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x0dselect 1\x00S\x00\x00\x00\x04"), []byte{1, 3, 0, 2}, false)
	f.Add([]byte("P\x00\x00\x00\x08\x00\x00\x00\x00B\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00"), []byte{5, 5, 5}, false)
	f.Add([]byte("d\x00\x00\x00\x04d\x00\x00\x00\x05xc\x00\x00\x00\x04"), []byte{4, 1, 4, 1}, false)
	f.Add([]byte("Q\xff\xff\xff\xff"), []byte{2}, false)
	f.Add([]byte("Q\x00\x00\x00\x03abcdefgh"), []byte{}, false)
	f.Add([]byte("p\x00\x00\x00\x09tokenX\x00"), []byte{}, false)
	f.Add([]byte("\x00\x00\x00\x08\x04\xd2\x16\x2f"), []byte{3}, false)
	f.Add([]byte("D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x011C\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I"), []byte{6, 1, 9}, true)
	f.Add([]byte("1\x00\x00\x00\x042\x00\x00\x00\x04n\x00\x00\x00\x04Z\x00\x00\x00\x06II"), []byte{1, 1, 1}, true)
	f.Add([]byte("W\x00\x00\x00\x07\x00\x00\x00"), []byte{}, true)
	f.Fuzz(func(t *testing.T, stream, cuts []byte, server bool) {
		check := CheckClient
		if server {
			check = CheckServer
		}
		scanned(t, split(stream, cuts), check, false)
		scanned(t, split(stream, cuts), check, true)
	})
}

// BenchmarkScanner scans 64 KiB of small DataRows; the metric to watch is ns/frame, one Next and one
// Take call with the check between them.
func BenchmarkScanner(b *testing.B) {
	row := []byte("D\x00\x00\x00\x18\x00\x02\x00\x00\x00\x0212\x00\x00\x00\x08tenant_a")
	var buf []byte
	for len(buf)+len(row) <= 64<<10 {
		buf = append(buf, row...)
	}
	frames := len(buf) / len(row)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		var s Scanner
		for p := buf; len(p) > 0; {
			f, ok := s.Next(p)
			if !ok || CheckServer(f.Type, f.Length) != nil {
				b.Fatal("a DataRow was refused")
			}
			p = p[s.Take(f):]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*frames), "ns/frame")
}

// TestARunEndsWhereItsFramesDo: only whole frames of the type are in it, whatever
// a length announces.
func TestARunEndsWhereItsFramesDo(t *testing.T) {
	row := []byte{'d', 0, 0, 0, 6, 'a', 'b'}
	for _, c := range []struct {
		name string
		p    []byte
		want int
	}{
		{"nothing", nil, 0},
		{"another type", []byte{'c', 0, 0, 0, 4}, 0},
		{"two rows and a header", append(append(append([]byte{}, row...), row...), 'd', 0, 0), 14},
		{"a row and a part of one", append(append([]byte{}, row...), row[:6]...), 7},
		{"an empty row", []byte{'d', 0, 0, 0, 4, 'c', 0, 0, 0, 4}, 5},
		{"a length below four", []byte{'d', 0, 0, 0, 3, 0, 0}, 0},
		{"a negative length", []byte{'d', 0xff, 0xff, 0xff, 0xff, 0}, 0},
		{"one byte too few", []byte{'d', 0, 0, 0, 5}, 0},
	} {
		if got := Run('d', c.p); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
