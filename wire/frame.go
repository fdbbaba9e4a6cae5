package wire

import "encoding/binary"

// HeaderSize is the length of a message header after login: the type byte and the Int32 length.
const HeaderSize = 5

// Frame is the beginning of one message: its header, and as much of its body as has arrived. Body
// aliases the bytes it was cut from.
type Frame struct {
	Type   byte
	Length uint32 // as announced: it counts itself but not the type, and is unchecked
	Body   []byte
}

// Scanner cuts the stream of one direction into frames, over arbitrary chunks and without a copy. It
// holds no bytes: its caller keeps what was not taken and gives it again with more behind it.
//
//	for {
//		if n := s.Skip(p); n > 0 { … the next n bytes of p belong to the frame taken last … }
//		f, ok := s.Next(p)
//		if !ok { break } // a header is not whole yet
//		if err := CheckClient(f.Type, f.Length); err != nil { … close }
//		if !f.Whole() && wanted whole { break } // ask again once there is more
//		p = p[s.Take(f):]
//	}
//
// The zero value is ready and stands at a boundary. A Scanner is not safe for concurrent use.
type Scanner struct {
	left uint32 // body bytes still to come of the frame taken last
}

// Next cuts the frame at the beginning of p without taking it. ok is false when p does not hold a
// whole header. It must not be called inside a body.
func (s *Scanner) Next(p []byte) (f Frame, ok bool) {
	if len(p) < HeaderSize {
		return Frame{}, false
	}
	f = Frame{Type: p[0], Length: binary.BigEndian.Uint32(p[1:])}
	f.Body = p[HeaderSize:min(len(p), HeaderSize+f.Size())]
	return f, true
}

// Take takes f, which Next has cut and whose length was checked, and returns how many bytes of the
// chunk that is. What its body lacks will come, and is passed with Skip.
func (s *Scanner) Take(f Frame) int {
	s.left = uint32(f.Size() - len(f.Body))
	return HeaderSize + len(f.Body)
}

// Skip takes the bytes of p that belong to the body of the frame taken last, and returns how many.
func (s *Scanner) Skip(p []byte) int {
	n := min(int(s.left), len(p))
	s.left -= uint32(n)
	return n
}

// Inside tells that body bytes of the frame taken last are still to come.
func (s *Scanner) Inside() bool { return s.left > 0 }

// Size is the length of the whole body by what the header announced, in bytes.
func (f Frame) Size() int { return max(0, int(f.Length)-4) }

// Whole tells that all of the body has arrived.
func (f Frame) Whole() bool { return len(f.Body) == f.Size() }

// Run returns how many bytes at the beginning of p are whole frames of type typ: rows of a result or
// of a COPY come in thousands, and each answers the same as the one before it.
func Run(typ byte, p []byte) int {
	n := 0
	for len(p)-n >= HeaderSize && p[n] == typ {
		length := uint64(binary.BigEndian.Uint32(p[n+1:]))
		if length < 4 || length+1 > uint64(len(p)-n) {
			break
		}
		n += int(length) + 1
	}
	return n
}
