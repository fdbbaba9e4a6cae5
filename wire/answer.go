package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// maxText bounds each string of an ErrorResponse or NoticeResponse built here, in bytes.
const maxText = 8192

// AppendError appends an ErrorResponse. severity is ERROR, FATAL or PANIC and code a SQLSTATE; an empty
// hint is left out. Every string is cut at its first NUL and at 8 KiB.
func AppendError(dst []byte, severity, code, message, hint string) []byte {
	return appendReport(dst, 'E', severity, code, message, hint, "")
}

// AppendRoutineError appends an ERROR as the routine of PostgreSQL's reports it: some drivers go by its name.
func AppendRoutineError(dst []byte, code, message, routine string) []byte {
	return appendReport(dst, 'E', "ERROR", code, message, "", routine)
}

// AppendNotice appends a NoticeResponse. severity is WARNING, NOTICE, INFO, LOG or DEBUG; the rest is
// as for [AppendError].
func AppendNotice(dst []byte, severity, code, message, hint string) []byte {
	return appendReport(dst, 'N', severity, code, message, hint, "")
}

// appendReport appends the fields of an ErrorResponse or NoticeResponse (PostgreSQL docs, "Error and
// Notice Message Fields").
func appendReport(dst []byte, typ byte, severity, code, message, hint, routine string) []byte {
	dst, start := begin(dst, typ)
	dst = appendField(dst, 'S', severity)
	dst = appendField(dst, 'V', severity)
	dst = appendField(dst, 'C', code)
	dst = appendField(dst, 'M', message)
	if hint != "" {
		dst = appendField(dst, 'H', hint)
	}
	if routine != "" {
		dst = appendField(dst, 'R', routine)
	}
	return finish(append(dst, 0), start)
}

// appendField appends one field of a report, without the half of a character where it cuts.
func appendField(dst []byte, field byte, value string) []byte {
	if len(value) > maxText {
		n := maxText
		for n > maxText-utf8.UTFMax && !utf8.RuneStart(value[n]) {
			n--
		}
		value = value[:n]
	}
	return appendCut(append(dst, field), value)
}

// AppendReadyForQuery appends a ReadyForQuery; status is 'I' idle, 'T' in a transaction or 'E' in a
// failed one.
func AppendReadyForQuery(dst []byte, status byte) []byte {
	return append(dst, 'Z', 0, 0, 0, 5, status)
}

// AppendParameterStatus appends a ParameterStatus. Both strings are cut at their first NUL.
func AppendParameterStatus(dst []byte, name, value string) []byte {
	dst, start := begin(dst, 'S')
	return finish(appendCut(appendCut(dst, name), value), start)
}

// AppendBackendKeyData appends a BackendKeyData. The key is exactly 4 bytes under protocol 3.0 and 4 to
// 256 under 3.2.
func AppendBackendKeyData(dst []byte, pid uint32, key []byte) []byte {
	dst, start := begin(dst, 'K')
	dst = binary.BigEndian.AppendUint32(dst, pid)
	return finish(append(dst, key...), start)
}

// AppendAuthOK appends an AuthenticationOk.
func AppendAuthOK(dst []byte) []byte { return append(dst, 'R', 0, 0, 0, 8, 0, 0, 0, 0) }

// AppendAuthCleartext appends an AuthenticationCleartextPassword.
func AppendAuthCleartext(dst []byte) []byte { return append(dst, 'R', 0, 0, 0, 8, 0, 0, 0, 3) }
