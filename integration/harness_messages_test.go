package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// join glues messages together for one write.
func join(messages ...[]byte) []byte {
	return bytes.Join(messages, nil)
}

// message frames a body.
func message(typ byte, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(body)+4))
	return append(b, body...)
}

// cstrings renders strings with their terminators.
func cstrings(s ...string) []byte {
	var b []byte
	for _, x := range s {
		b = append(append(b, x...), 0)
	}
	return b
}

// untyped frames a startup-phase packet: a length, a code, a body.
func untyped(code uint32, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)+8))
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

// The codes of the startup phase.
const (
	protocol30  = 3 << 16
	codeCancel  = 1234<<16 | 5678
	codeSSL     = 1234<<16 | 5679
	codeGSS     = 1234<<16 | 5680
	protocolTop = 3<<16 | 9999
)

// startup is a StartupMessage of protocol 3.0 with names and values in turn.
func startup(params ...string) []byte {
	return untyped(protocol30, append(cstrings(params...), 0)...)
}

// password is a PasswordMessage.
func password(s string) []byte { return message('p', cstrings(s)...) }

// cancelRequest is the packet that asks to cancel a statement.
func cancelRequest(pid uint32, key []byte) []byte {
	return untyped(codeCancel, append(binary.BigEndian.AppendUint32(nil, pid), key...)...)
}

// simple is a Query.
func simple(sql string) []byte { return message('Q', cstrings(sql)...) }

// parse is a Parse without parameter types.
func parse(name, sql string) []byte {
	return message('P', append(cstrings(name, sql), 0, 0)...)
}

// bind is a Bind with text parameters and text results.
func bind(portal, statement string, params ...string) []byte {
	b := append(cstrings(portal, statement), 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(params)))
	for _, p := range params {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return message('B', append(b, 0, 0)...)
}

// describe is a Describe of a statement ('S') or portal ('P').
func describe(kind byte, name string) []byte {
	return message('D', append([]byte{kind}, cstrings(name)...)...)
}

// closeOf is a Close of a statement ('S') or portal ('P').
func closeOf(kind byte, name string) []byte {
	return message('C', append([]byte{kind}, cstrings(name)...)...)
}

// execute is an Execute with a row limit, 0 for none.
func execute(portal string, rows uint32) []byte {
	return message('E', binary.BigEndian.AppendUint32(cstrings(portal), rows)...)
}

// The messages without a body, and the ones of COPY.
var (
	syncMessage = message('S')
	flush       = message('H')
	terminate   = message('X')
	copyDone    = message('c')
)

// copyData is a CopyData.
func copyData(s string) []byte { return message('d', []byte(s)...) }

// copyFail is a CopyFail.
func copyFail(reason string) []byte { return message('f', cstrings(reason)...) }

// extended is a whole extended query: Parse, Bind, Describe, Execute, without Sync.
func extended(sql string, params ...string) []byte {
	return join(parse("", sql), bind("", "", params...), describe('P', ""), execute("", 0))
}

// cells decodes the columns of a DataRow.
func (f frame) cells() []string {
	n := int(binary.BigEndian.Uint16(f.body))
	out, b := make([]string, 0, n), f.body[2:]
	for range n {
		size := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		if size < 0 {
			out = append(out, "NULL")
			continue
		}
		out = append(out, string(b[:size]))
		b = b[size:]
	}
	return out
}

// columns renders a RowDescription. The id of a table that was made later than
// the catalogue differs from run to run, so it is only told apart from none.
func (f frame) columns() []string {
	var out []string
	b := f.body[2:]
	for range binary.BigEndian.Uint16(f.body) {
		name, rest, _ := bytes.Cut(b, []byte{0})
		table := binary.BigEndian.Uint32(rest)
		if table >= 16384 {
			table = 16384
		}
		out = append(out, fmt.Sprintf("%s:%d:%x", name, table, rest[4:18]))
		b = rest[18:]
	}
	return out
}

// field returns one field of an ErrorResponse or NoticeResponse, such as 'C'.
func (f frame) field(code byte) string {
	for b := f.body; len(b) > 1; {
		end := bytes.IndexByte(b, 0)
		if end < 0 {
			break
		}
		if b[0] == code {
			return string(b[1:end])
		}
		b = b[end+1:]
	}
	return ""
}

// String renders a frame so that two servers' answers can be compared.
func (f frame) String() string {
	switch f.typ {
	case 'D':
		return "D[" + strings.Join(f.cells(), "|") + "]"
	case 'T':
		return "T[" + strings.Join(f.columns(), "|") + "]"
	case 'E', 'N':
		var parts []string
		for _, c := range []byte("VCMDHPpqWstcdn") {
			if v := f.field(c); v != "" {
				parts = append(parts, string(c)+"="+v)
			}
		}
		return string(f.typ) + "[" + strings.Join(parts, " ") + "]"
	case 'K':
		return fmt.Sprintf("K[%d]", len(f.body))
	case 'A':
		return fmt.Sprintf("A[%q]", f.body[4:]) // without the pid of the sender
	case 'S', 'C', 'Z', 'd':
		return fmt.Sprintf("%c[%q]", f.typ, f.body)
	}
	return fmt.Sprintf("%c[%x]", f.typ, f.body)
}

// show renders frames one a line.
func show(frames []frame) string {
	var b strings.Builder
	for _, f := range frames {
		b.WriteString(f.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// lastError is the SQLSTATE of the last ErrorResponse, and its severity.
func lastError(frames []frame) (severity, code string) {
	for _, f := range frames {
		if f.typ == 'E' {
			severity, code = f.field('V'), f.field('C')
		}
	}
	return severity, code
}
