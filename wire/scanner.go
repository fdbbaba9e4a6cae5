package wire

import "encoding/binary"

// headerSize is the length of a message header after login: the type byte and the Int32 length.
const headerSize = 5

// Scanner follows the message boundaries of one direction of a connection over arbitrary chunks. The
// zero value is ready and stands at a boundary. It holds no bytes of any body: callers alternate
//
//	for len(p) > 0 {
//		n, typ, length, ok := s.Header(p) // at a boundary or inside a header
//		p = p[n:]
//		if !ok {
//			break // the header goes on in the next chunk
//		}
//		if err := CheckClient(typ, length); err != nil { … close }
//		n, done := s.Body(p) // also for an empty body or an empty p
//		p = p[n:]
//		…
//	}
//
// and call Body first when the last chunk ended inside a body (Remaining() > 0). A Scanner is not
// safe for concurrent use.
type Scanner struct {
	length uint32 // announced by the last header; the bytes so far while a header is incomplete
	left   uint32 // body bytes still to come
	typ    byte
	have   uint8 // header bytes seen of an incomplete header, 0 to 4
}

// Header consumes up to five header bytes from p and continues over chunks: n is how many bytes of p
// it took, and ok tells that the header is complete. Then typ is its type and length the announced
// Int32, which counts itself but not the type; it is unchecked and unsigned, so a negative one is
// huge. The scanner then stands before a body of length-4 bytes. A header that the caller's check
// refuses leaves a scanner that must not be used again (its Boundary is false for a length below 4).
//
// It must not be called while body bytes are outstanding.
func (s *Scanner) Header(p []byte) (n int, typ byte, length uint32, ok bool) {
	if len(p) < headerSize || s.have != 0 {
		return s.split(p)
	}
	s.typ, s.length = p[0], binary.BigEndian.Uint32(p[1:])
	s.left = s.length - 4
	return headerSize, s.typ, s.length, true
}

// split is Header for a header that p does not hold whole. It is kept out of Header to keep
// the path of every other header short.
//
//go:noinline
func (s *Scanner) split(p []byte) (n int, typ byte, length uint32, ok bool) {
	for n < len(p) {
		if s.have == 0 {
			s.typ = p[n]
		} else {
			s.length = s.length<<8 | uint32(p[n])
		}
		n++
		s.have++
		if s.have == headerSize {
			s.have, s.left = 0, s.length-4
			return n, s.typ, s.length, true
		}
	}
	return n, 0, 0, false
}

// Body consumes up to len(p) bytes of the current body: n is how many of p belong to it, and done
// tells that it is complete. An empty body is done at once with n = 0, whatever p is.
func (s *Scanner) Body(p []byte) (n int, done bool) {
	n = min(len(p), int(s.left))
	s.left -= uint32(n)
	return n, s.left == 0
}

// Boundary reports whether the scanner stands between two messages: neither a header byte nor a body
// byte of a message that has begun is outstanding.
func (s *Scanner) Boundary() bool { return s.left == 0 && s.have == 0 }

// Remaining returns how many bytes of the current body are still to come.
func (s *Scanner) Remaining() uint32 { return s.left }

// HeaderBytes returns the last complete header as it came, so that one that arrived split over chunks
// can be sent on. It is valid from the Header call that completed it until the first byte of the next.
func (s *Scanner) HeaderBytes() [headerSize]byte {
	var h [headerSize]byte
	h[0] = s.typ
	binary.BigEndian.PutUint32(h[1:], s.length)
	return h
}
