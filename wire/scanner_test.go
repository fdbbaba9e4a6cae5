package wire

import (
	"encoding/binary"
	"fmt"
	"testing"
	"unsafe"
)

// frame is one message as a scanner or a reference decoder sees it.
type frame struct {
	typ    byte
	length uint32
	body   string
}

// wholeBuffer is the reference: it decodes b with the entire stream in sight, up to the first header
// that check refuses, and returns the complete frames and the offset behind the last of them.
func wholeBuffer(b []byte, check func(byte, uint32) error) (frames []frame, end int, refused bool) {
	for len(b)-end >= headerSize {
		typ, length := b[end], binary.BigEndian.Uint32(b[end+1:])
		if check(typ, length) != nil {
			return frames, end, true
		}
		if uint64(len(b)-end) < uint64(length)+1 {
			break
		}
		next := end + 1 + int(length)
		frames = append(frames, frame{typ, length, string(b[end+headerSize : next])})
		end = next
	}
	return frames, end, false
}

// scan decodes chunks with one Scanner as a relay would, checking on the way everything that a caller
// relies on at each call.
func scan(t *testing.T, chunks [][]byte, check func(byte, uint32) error) (frames []frame, s Scanner, refused bool) {
	t.Helper()
	var cur frame
	for _, p := range chunks {
		for len(p) > 0 || s.Remaining() > 0 {
			if s.Remaining() == 0 {
				n, typ, length, ok := s.Header(p)
				if n > len(p) || n > headerSize {
					t.Fatalf("Header took %d of %d bytes", n, len(p))
				}
				p = p[n:]
				if !ok {
					if len(p) != 0 {
						t.Fatalf("Header left %d bytes without a complete header", len(p))
					}
					if n > 0 && s.Boundary() {
						t.Fatal("Boundary inside a header")
					}
					break
				}
				var want [headerSize]byte
				want[0] = typ
				binary.BigEndian.PutUint32(want[1:], length)
				if got := s.HeaderBytes(); got != want {
					t.Fatalf("HeaderBytes = %x, want %x", got, want)
				}
				if check(typ, length) != nil {
					return frames, s, true
				}
				if s.Remaining() != length-4 {
					t.Fatalf("Remaining = %d after a header of length %d", s.Remaining(), length)
				}
				cur = frame{typ: typ, length: length}
			}
			before := s.Remaining()
			n, done := s.Body(p)
			if n > len(p) || uint32(n) > before || s.Remaining() != before-uint32(n) {
				t.Fatalf("Body took %d of %d bytes with %d outstanding", n, len(p), before)
			}
			if done != (s.Remaining() == 0) || done != s.Boundary() {
				t.Fatalf("done %v, Boundary %v, Remaining %d", done, s.Boundary(), s.Remaining())
			}
			cur.body += string(p[:n])
			p = p[n:]
			if !done {
				if len(p) != 0 {
					t.Fatalf("Body left %d bytes of an incomplete body", len(p))
				}
				break
			}
			frames = append(frames, cur)
		}
	}
	return frames, s, false
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

func sameFrames(a, b []frame) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d frames, want %d", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			return fmt.Errorf("frame %d is %+v, want %+v", i, a[i], b[i])
		}
	}
	return nil
}

func TestScannerIsSmall(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(Scanner{}); n > 16 {
		t.Errorf("a Scanner takes %d bytes, want at most 16", n)
	}
}

func TestScannerFindsTheSameFramesAtEverySplit(t *testing.T) {
	t.Parallel()
	stream := []byte("Q\x00\x00\x00\x0dselect 1\x00" + "S\x00\x00\x00\x04" + "H\x00\x00\x00\x04" + "d\x00\x00\x00\x07abc" + "X\x00\x00\x00\x04")
	want, end, _ := wholeBuffer(stream, CheckClient)
	if len(want) != 5 || end != len(stream) {
		t.Fatalf("the reference decodes %d frames to offset %d", len(want), end)
	}
	for i := 0; i <= len(stream); i++ {
		for j := i; j <= len(stream); j++ {
			got, s, refused := scan(t, [][]byte{stream[:i], stream[i:j], stream[j:]}, CheckClient)
			if err := sameFrames(got, want); err != nil || refused || !s.Boundary() {
				t.Fatalf("split at %d and %d: %v, refused %v, boundary %v", i, j, err, refused, s.Boundary())
			}
		}
	}
}

func TestScannerIsAtNoBoundaryInsideAMessage(t *testing.T) {
	t.Parallel()
	stream := []byte("d\x00\x00\x00\x07abcS\x00\x00\x00\x04")
	boundaries := map[int]bool{0: true, 8: true, 13: true}
	for i := range len(stream) + 1 {
		_, s, _ := scan(t, [][]byte{stream[:i]}, CheckClient)
		if s.Boundary() != boundaries[i] {
			t.Errorf("after %d bytes: Boundary %v, want %v", i, s.Boundary(), boundaries[i])
		}
	}
}

func TestScannerDoesNotMistakeAnImpossibleLengthForABoundary(t *testing.T) {
	t.Parallel()
	for _, length := range []uint32{0, 1, 2, 3, 0x80000000, 0xffffffff} {
		var s Scanner
		h := binary.BigEndian.AppendUint32([]byte{'Q'}, length)
		if _, _, got, ok := s.Header(h); !ok || got != length || s.Boundary() {
			t.Errorf("length %d: got %d, ok %v, boundary %v", length, got, ok, s.Boundary())
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
		want, end, wantRefused := wholeBuffer(stream, check)
		got, s, refused := scan(t, split(stream, cuts), check)
		if err := sameFrames(got, want); err != nil || refused != wantRefused {
			t.Fatalf("%v, refused %v, want %v", err, refused, wantRefused)
		}
		if !refused && s.Boundary() != (end == len(stream)) {
			t.Fatalf("Boundary %v with %d bytes behind the last frame", s.Boundary(), len(stream)-end)
		}
	})
}

// BenchmarkScanner scans 64 KiB of small DataRows; the metric to watch is ns/frame, one Header and one
// Body call with the check between them.
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
			n, typ, length, ok := s.Header(p)
			if !ok || CheckServer(typ, length) != nil {
				b.Fatal("a DataRow was refused")
			}
			p = p[n:]
			n, _ = s.Body(p)
			p = p[n:]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*frames), "ns/frame")
}
