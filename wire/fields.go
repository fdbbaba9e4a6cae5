package wire

import (
	"bytes"
	"encoding/binary"
)

// CString cuts the NUL-terminated string off b: s is without its NUL, rest is behind it, and both are
// slices of b. ok is false, and both are nil, when b holds no NUL.
func CString(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i:i], b[i+1:], true
}

// lone reads a body that is one NUL-terminated string and nothing behind it.
func lone(body []byte) ([]byte, bool) {
	s, rest, ok := CString(body)
	if !ok || len(rest) != 0 {
		return nil, false
	}
	return s, true
}

// QueryText reads the body of a Query; sql is a slice of it. When ok is false PostgreSQL answers with
// an ERROR and runs nothing.
func QueryText(body []byte) (sql []byte, ok bool) { return lone(body) }

// ParseText reads the body of a Parse by PostgreSQL's rule: two strings, a count, as many type OIDs,
// and nothing behind. name and sql are slices of body. When ok is false PostgreSQL answers with an
// ERROR and prepares nothing.
func ParseText(body []byte) (name, sql []byte, ok bool) {
	name, rest, ok := CString(body)
	if !ok {
		return nil, nil, false
	}
	sql, rest, ok = CString(rest)
	if !ok || len(rest) < 2 || len(rest) != 2+4*int(binary.BigEndian.Uint16(rest)) {
		return nil, nil, false
	}
	return name, sql, true
}

// BindNames reads the names at the front of the body of a Bind, which are slices of it. The parameters
// behind them are not looked at: PostgreSQL may still refuse the message.
func BindNames(body []byte) (portal, statement []byte, ok bool) {
	portal, rest, ok := CString(body)
	if !ok {
		return nil, nil, false
	}
	statement, _, ok = CString(rest)
	if !ok {
		return nil, nil, false
	}
	return portal, statement, true
}

// ParseType returns the OID of the type that the body of a Parse, one that ParseText reads, gives to
// parameter n, counted from 1: 0 when it leaves that to PostgreSQL.
func ParseType(body []byte, n int) uint32 {
	for range 2 {
		_, body, _ = CString(body)
	}
	if len(body) < 2 || n < 1 || n > int(binary.BigEndian.Uint16(body)) {
		return 0
	}
	return binary.BigEndian.Uint32(body[2+4*(n-1):])
}

// BindValues reads the whole body of a Bind and appends its parameters' values to dst: slices of body,
// nil for NULL and not nil for an empty value. Which of them are text and which binary is not told. ok is
// false, and dst is returned as it was, when a count, a length or a format code lies or bytes are left
// over.
func BindValues(body []byte, dst [][]byte) (values [][]byte, ok bool) {
	for range 2 {
		if _, body, ok = CString(body); !ok {
			return dst, false
		}
	}
	formats, rest, ok := formatCodes(body)
	if !ok || len(rest) < 2 {
		return dst, false
	}
	count, rest := int(binary.BigEndian.Uint16(rest)), rest[2:]
	if formats > 1 && formats != count {
		return dst, false
	}
	if values, rest, ok = cells(rest, count, dst); !ok {
		return dst, false
	}
	if _, rest, ok = formatCodes(rest); !ok || len(rest) != 0 {
		return dst, false
	}
	return values, true
}

// cells cuts count values with their lengths off b and appends them to dst.
func cells(b []byte, count int, dst [][]byte) (values [][]byte, rest []byte, ok bool) {
	for range count {
		var value []byte
		if value, b, ok = cell(b); !ok {
			return dst, nil, false
		}
		dst = append(dst, value)
	}
	return dst, b, true
}

// formatCodes cuts a counted list of format codes off b and returns how many they are.
func formatCodes(b []byte) (count int, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, false
	}
	count, rest = int(binary.BigEndian.Uint16(b)), b[2:]
	if len(rest) < 2*count {
		return 0, nil, false
	}
	for i := range count {
		if binary.BigEndian.Uint16(rest[2*i:]) > 1 {
			return 0, nil, false
		}
	}
	return count, rest[2*count:], true
}

// cell cuts a value with its length off b: nil for NULL.
func cell(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n, rest := binary.BigEndian.Uint32(b), b[4:]
	switch {
	case n == 0xffffffff:
		return nil, rest, true
	case uint64(n) > uint64(len(rest)):
		return nil, nil, false
	}
	return rest[:n:n], rest[n:], true
}

// ExecutePortal reads the body of an Execute; portal is a slice of it.
func ExecutePortal(body []byte) (portal []byte, ok bool) {
	portal, rest, ok := CString(body)
	if !ok || len(rest) != 4 {
		return nil, false
	}
	return portal, true
}

// CloseOrDescribe reads the body of a Close or a Describe: kind is 'S' for a prepared statement or 'P'
// for a portal, and name is a slice of body.
func CloseOrDescribe(body []byte) (kind byte, name []byte, ok bool) {
	if len(body) == 0 || body[0] != 'S' && body[0] != 'P' {
		return 0, nil, false
	}
	name, ok = lone(body[1:])
	if !ok {
		return 0, nil, false
	}
	return body[0], name, true
}

// CommandTag reads the body of a CommandComplete.
func CommandTag(body []byte) (string, bool) {
	tag, ok := lone(body)
	return string(tag), ok
}

// ParameterStatus reads the body of a ParameterStatus.
func ParameterStatus(body []byte) (name, value string, ok bool) {
	// No more than this, to be inlined: for a caller that keeps neither, none is allocated.
	n, v, ok := nameAndValue(body)
	return string(n), string(v), ok
}

// nameAndValue reads a body that is two NUL-terminated strings and nothing behind them.
func nameAndValue(body []byte) (name, value []byte, ok bool) {
	name, rest, ok := CString(body)
	if !ok {
		return nil, nil, false
	}
	if value, ok = lone(rest); !ok {
		return nil, nil, false
	}
	return name, value, true
}

// ErrorFields reads the body of an ErrorResponse or NoticeResponse: the severity (the one that is never
// translated, when there is one), the SQLSTATE and the message. A field that is not there is empty, and
// of one that comes twice the last counts. ok is false when body is not a list of fields with its
// terminator as the last byte.
func ErrorFields(body []byte) (severity, code, message string, ok bool) {
	var localized, plain []byte
	for len(body) > 0 {
		field := body[0]
		if field == 0 {
			if len(body) != 1 {
				break
			}
			if plain == nil {
				plain = localized
			}
			return string(plain), code, message, true
		}
		var value []byte
		if value, body, ok = CString(body[1:]); !ok {
			break
		}
		switch field {
		case 'S':
			localized = value
		case 'V':
			plain = value
		case 'C':
			code = string(value)
		case 'M':
			message = string(value)
		}
	}
	return "", "", "", false
}

// DataRow reads the body of a DataRow and appends its values to dst: slices of body, nil for NULL and
// not nil for an empty value. ok is false, and dst is returned as it was, when the count or a length
// lies or bytes are left over.
func DataRow(body []byte, dst [][]byte) (values [][]byte, ok bool) {
	if len(body) < 2 {
		return dst, false
	}
	count, rest := int(binary.BigEndian.Uint16(body)), body[2:]
	if count > 0x7fff || len(rest) < 4*count {
		return dst, false
	}
	if values, rest, ok = cells(rest, count, dst); !ok {
		return dst, false
	}
	if len(rest) != 0 {
		return dst, false
	}
	return values, true
}
