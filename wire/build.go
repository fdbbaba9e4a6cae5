package wire

import (
	"encoding/binary"
	"errors"
	"strings"
)

// Errors of the builders of messages to a backend.
var (
	// ErrEmbeddedNUL refuses a string that would end early and put its tail where the next field is read.
	ErrEmbeddedNUL = errors.New("string holds a NUL byte")
	// ErrEmptyName refuses a startup parameter without a name.
	ErrEmptyName = errors.New("startup parameter has no name")
	// ErrTooLong refuses a message that PostgreSQL would not read, and more than 65535 parameters.
	ErrTooLong = errors.New("message is too long")
)

// begin appends the header of a message whose length is not known yet; start is where that length goes.
func begin(dst []byte, typ byte) (out []byte, start int) {
	return append(dst, typ, 0, 0, 0, 0), len(dst) + 1
}

// finish writes the length of the message that begin started.
func finish(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}

// size returns the length that a message to a backend will announce: fixed bytes, the strings with
// their terminators, and the length itself. A NUL in a string or a length that CheckClient refuses is
// an error.
func size(typ byte, fixed int, texts ...string) (int, error) {
	n := 4 + fixed
	for _, s := range texts {
		if strings.IndexByte(s, 0) >= 0 {
			return 0, ErrEmbeddedNUL
		}
		n += len(s) + 1
	}
	return n, checkSize(typ, n)
}

// checkSize refuses a message to a backend that would not be read there.
func checkSize(typ byte, length int) error {
	if uint64(length) > 0xffffffff || CheckClient(typ, uint32(length)) != nil {
		return ErrTooLong
	}
	return nil
}

// appendString appends s, which holds no NUL, and its terminator.
func appendString(dst []byte, s string) []byte {
	return append(append(dst, s...), 0)
}

// appendCut appends s up to its first NUL, and its terminator.
func appendCut(dst []byte, s string) []byte {
	s, _, _ = strings.Cut(s, "\x00")
	return appendString(dst, s)
}

// AppendQuery appends a Query, whose text may come in pieces.
func AppendQuery(dst []byte, sql ...string) ([]byte, error) {
	if _, err := size('Q', 1-len(sql), sql...); err != nil { // one terminator for all
		return dst, err
	}
	dst, start := begin(dst, 'Q')
	for _, piece := range sql {
		dst = append(dst, piece...)
	}
	return finish(append(dst, 0), start), nil
}

// AppendParse appends a Parse of sql as the prepared statement name ("" for the unnamed one), with the
// types of its first parameters; 0 leaves one to be inferred.
func AppendParse(dst []byte, name, sql string, oids ...uint32) ([]byte, error) {
	if len(oids) > 0xffff {
		return dst, ErrTooLong
	}
	if _, err := size('P', 2+4*len(oids), name, sql); err != nil {
		return dst, err
	}
	dst, start := begin(dst, 'P')
	dst = appendString(appendString(dst, name), sql)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(oids)))
	for _, oid := range oids {
		dst = binary.BigEndian.AppendUint32(dst, oid)
	}
	return finish(dst, start), nil
}

// AppendBind appends a Bind of the prepared statement to the portal. paramFormat is the format of all
// params and resultFormat that of all results, 0 for text and 1 for binary; a nil param is NULL.
// Parameters are counted bytes and may hold NULs.
func AppendBind(dst []byte, portal, statement string, paramFormat int16, params [][]byte, resultFormat int16) ([]byte, error) {
	if len(params) > 0xffff {
		return dst, ErrTooLong
	}
	n, err := size('B', 2+2+2+4*len(params)+2+2, portal, statement)
	if err != nil {
		return dst, err
	}
	for _, p := range params {
		n += len(p)
	}
	if err := checkSize('B', n); err != nil {
		return dst, err
	}
	dst, start := begin(dst, 'B')
	dst = appendString(appendString(dst, portal), statement)
	dst = binary.BigEndian.AppendUint16(dst, 1)
	dst = binary.BigEndian.AppendUint16(dst, uint16(paramFormat))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(params)))
	for _, p := range params {
		if p == nil {
			dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
			continue
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(p)))
		dst = append(dst, p...)
	}
	dst = binary.BigEndian.AppendUint16(dst, 1)
	dst = binary.BigEndian.AppendUint16(dst, uint16(resultFormat))
	return finish(dst, start), nil
}

// AppendExecute appends an Execute of the portal for all of its rows.
func AppendExecute(dst []byte, portal string) ([]byte, error) {
	if _, err := size('E', 4, portal); err != nil {
		return dst, err
	}
	dst, start := begin(dst, 'E')
	return finish(append(appendString(dst, portal), 0, 0, 0, 0), start), nil
}

// AppendClose appends a Close of a prepared statement (kind 'S') or a portal ('P').
func AppendClose(dst []byte, kind byte, name string) ([]byte, error) {
	return appendNamed(dst, 'C', kind, name)
}

// AppendDescribe appends a Describe of a prepared statement (kind 'S') or a portal ('P').
func AppendDescribe(dst []byte, kind byte, name string) ([]byte, error) {
	return appendNamed(dst, 'D', kind, name)
}

// appendNamed appends the message typ whose body is a kind and a name.
func appendNamed(dst []byte, typ, kind byte, name string) ([]byte, error) {
	if _, err := size(typ, 1, name); err != nil {
		return dst, err
	}
	dst, start := begin(dst, typ)
	return finish(appendString(append(dst, kind), name), start), nil
}

// AppendSync appends a Sync.
func AppendSync(dst []byte) []byte { return append(dst, 'S', 0, 0, 0, 4) }

// AppendFlush appends a Flush.
func AppendFlush(dst []byte) []byte { return append(dst, 'H', 0, 0, 0, 4) }

// AppendTerminate appends a Terminate.
func AppendTerminate(dst []byte) []byte { return append(dst, 'X', 0, 0, 0, 4) }

// AppendStartup appends a StartupMessage. An empty name would end the list early and is refused.
func AppendStartup(dst []byte, version uint32, params []Param) ([]byte, error) {
	n := 8 + 1
	for _, p := range params {
		if p.Name == "" {
			return dst, ErrEmptyName
		}
		if strings.IndexByte(p.Name, 0) >= 0 || strings.IndexByte(p.Value, 0) >= 0 {
			return dst, ErrEmbeddedNUL
		}
		n += len(p.Name) + len(p.Value) + 2
	}
	if n > 4+MaxStartupPacket {
		return dst, ErrTooLong
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	dst = binary.BigEndian.AppendUint32(dst, version)
	for _, p := range params {
		dst = appendString(appendString(dst, p.Name), p.Value)
	}
	return append(dst, 0), nil
}

// AppendCancelRequest appends a CancelRequest, which goes alone over a connection of its own.
func AppendCancelRequest(dst []byte, pid uint32, key []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(12+len(key)))
	dst = binary.BigEndian.AppendUint32(dst, CodeCancel)
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return append(dst, key...)
}

// AppendSSLRequest appends an SSLRequest, the first packet of a connection that is to be encrypted.
func AppendSSLRequest(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 8)
	return binary.BigEndian.AppendUint32(dst, CodeSSLRequest)
}
