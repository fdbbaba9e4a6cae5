package wire

import (
	"encoding/binary"
	"strings"
)

// MaxStartupPacket is the most bytes that a packet of the startup phase may hold behind its length
// word: MAX_STARTUP_PACKET_LENGTH (libpq/pqcomm.h).
const MaxStartupPacket = 10000

// maxParams bounds the parameters of one startup packet. PostgreSQL has no such bound; drivers send
// about ten.
const maxParams = 256

// Codes that a packet of the startup phase can begin with: requests in the place of a version, and the
// versions spoken here (PostgreSQL docs, "Message Formats").
const (
	CodeCancel        uint32 = 80877102
	CodeSSLRequest    uint32 = 80877103
	CodeGSSENCRequest uint32 = 80877104
	Version30         uint32 = 3 << 16
	Version32         uint32 = 3<<16 | 2
)

// Major returns the major part of a protocol version.
func Major(version uint32) uint32 { return version >> 16 }

// Minor returns the minor part of a protocol version.
func Minor(version uint32) uint32 { return version & 0xffff }

// Kind tells what a packet of the startup phase asks for.
type Kind uint8

// The kinds of startup packet.
const (
	// KindUnsupported is a protocol version other than 3.x, or a request nobody knows.
	KindUnsupported Kind = iota
	// KindStartup is a StartupMessage of protocol 3.x, whatever its minor version.
	KindStartup
	// KindSSL is an SSLRequest.
	KindSSL
	// KindGSSENC is a GSSENCRequest.
	KindGSSENC
	// KindCancel is a CancelRequest.
	KindCancel
)

// Packet is one packet of the startup phase, which has no type byte.
type Packet struct {
	Code uint32 // the protocol version, or one of the Code constants
	Body []byte // what follows the code
}

// Kind tells what the packet asks for.
func (p Packet) Kind() Kind {
	switch {
	case p.Code == CodeSSLRequest:
		return KindSSL
	case p.Code == CodeGSSENCRequest:
		return KindGSSENC
	case p.Code == CodeCancel:
		return KindCancel
	case Major(p.Code) == 3:
		return KindStartup
	default:
		return KindUnsupported
	}
}

// minStartupPacket is the size of a packet of nothing but its length and code.
const minStartupPacket = 8

// StartupPacket looks at a packet of the startup phase of which p is what has arrived. It has size
// bytes in all, as far as that can be told: the packet is returned once p holds them, and its Body
// aliases p. Read no more than size bytes, so that what stands behind the packet is still in the
// socket: after an SSLRequest nothing may.
//
// The length is compared as an unsigned number as soon as it is there, and an SSLRequest or
// GSSENCRequest is exactly its code. A packet that breaks this is a silent *Violation.
func StartupPacket(p []byte) (packet Packet, size int, err error) {
	if len(p) < 4 {
		return Packet{}, minStartupPacket, nil
	}
	length := binary.BigEndian.Uint32(p)
	if length < minStartupPacket || length > 4+MaxStartupPacket {
		return Packet{}, 0, badPacketLength()
	}
	size = int(length)
	if len(p) < size {
		return Packet{}, size, nil
	}
	packet = Packet{Code: binary.BigEndian.Uint32(p[4:]), Body: p[8:size]}
	if k := packet.Kind(); (k == KindSSL || k == KindGSSENC) && len(packet.Body) != 0 {
		return Packet{}, 0, badPacketLength()
	}
	return packet, size, nil
}

// badPacketLength is the violation of a startup packet's length.
func badPacketLength() *Violation {
	return &Violation{Text: "invalid length of startup packet", Silent: true}
}

// Param is one name and value of a startup packet or of its options. Neither holds a NUL.
type Param struct{ Name, Value string }

// ParseParams reads the body of a StartupMessage: pairs of NUL-terminated strings and one more NUL as
// the very last byte. The order is kept. As in PostgreSQL (ProcessStartupPacket) a name without value,
// a list that ends early at an empty name, a missing terminator and trailing bytes are a *Violation.
// So is a name that occurs twice, also in another case: PostgreSQL lets the last one win, but names of
// settings fold case there, and what was checked must be what is used.
//
// The parameters share one copy of body, and stand in room where they fit.
func ParseParams(body []byte, room []Param) ([]Param, error) {
	rest := string(body)
	params := room[:0]
	for {
		name, after, ok := strings.Cut(rest, "\x00")
		if !ok {
			return nil, badLayout()
		}
		if name == "" {
			if after != "" {
				return nil, badLayout()
			}
			return params, nil
		}
		value, after, ok := strings.Cut(after, "\x00")
		if !ok {
			return nil, badLayout()
		}
		if len(params) == maxParams {
			return nil, &Violation{Text: "too many parameters in startup packet"}
		}
		for _, p := range params { // they are few, maxParams at most
			if sameName(p.Name, name) {
				return nil, &Violation{Text: "duplicate parameter in startup packet"}
			}
		}
		params = append(params, Param{Name: name, Value: value})
		rest = after
	}
}

// badLayout is the violation of a startup packet that is not a list of pairs and a terminator.
func badLayout() *Violation {
	return &Violation{Text: "invalid startup packet layout: expected terminator as last byte"}
}

// sameName compares names of settings as PostgreSQL does (guc_name_compare): A to Z
// fold to lower case, and nothing else does.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Bounds of a cancel key in bytes (protocol 3.2; a 3.0 key is always minCancelKey).
const (
	minCancelKey = 4
	maxCancelKey = 256
)

// ParseCancel reads the body of a CancelRequest. The key is a slice of body, 4 to 256 bytes long;
// compare it in constant time. Anything else is a silent *Violation.
func ParseCancel(body []byte) (pid uint32, key []byte, err error) {
	if len(body) < 4+minCancelKey || len(body) > 4+maxCancelKey {
		return 0, nil, badPacketLength()
	}
	return binary.BigEndian.Uint32(body), body[4:], nil
}

// NegotiateVersion appends a NegotiateProtocolVersion to dst: version is the newest protocol
// version spoken here that is not newer than the client asked for, whole and not only its minor part,
// and unknown names the protocol options ("_pq_.…") that were not understood. It stands before the
// authentication request. A name is cut at a NUL, which one out of [ParseParams] never holds.
func NegotiateVersion(dst []byte, version uint32, unknown []string) []byte {
	dst, start := begin(dst, 'v')
	dst = binary.BigEndian.AppendUint32(dst, version)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unknown)))
	for _, name := range unknown {
		dst = appendCut(dst, name)
	}
	return finish(dst, start)
}
