package auth

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and arrays of a token may nest.
const maxDepth = 32

// What checkJSON finds wrong beyond the grammar.
var (
	errSyntax    = errors.New("not one JSON object")
	errDuplicate = errors.New("a name occurs twice in one object")
	errDepth     = errors.New("nested too deep")
	errText      = errors.New("a string holds NUL, an unpaired surrogate or invalid UTF-8")
)

// container is one object or array that checkJSON is inside of.
type container struct {
	names    map[string]struct{} // names seen; nil for an array
	wantName bool                // the next string of this object is a name
}

// checkJSON accepts exactly one JSON object, without trailing data, in which no
// object has a name twice (RFC 8259 leaves that open, RFC 7519 §4 lets us
// refuse) and every string decodes to valid UTF-8 without NUL and without the
// replacement character that encoding/json puts for an unpaired surrogate: two
// different texts must never become one.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errText
	}
	if !json.Valid(data) {
		return errSyntax
	}
	var stack []container
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			stack = append(stack, container{names: make(map[string]struct{}), wantName: true})
		case '[':
			stack = append(stack, container{})
		case '}', ']':
			stack = stack[:len(stack)-1]
		case ',':
			top := &stack[len(stack)-1]
			top.wantName = top.names != nil
		case '"':
			end := stringEnd(data, i)
			if err := checkEscapes(data[i+1 : end]); err != nil {
				return err
			}
			if len(stack) == 0 {
				return errSyntax
			}
			if err := stack[len(stack)-1].name(data[i : end+1]); err != nil {
				return err
			}
			i = end
		case ' ', '\t', '\r', '\n':
			continue
		default:
			if len(stack) == 0 {
				return errSyntax
			}
		}
		if len(stack) > maxDepth {
			return errDepth
		}
		if len(stack) > 0 && stack[0].names == nil {
			return errSyntax
		}
	}
	return nil
}

// name notes a string with its quotes when it stands where a name does.
func (c *container) name(quoted []byte) error {
	if !c.wantName {
		return nil
	}
	c.wantName = false
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return errSyntax
	}
	if _, dup := c.names[text]; dup {
		return errDuplicate
	}
	c.names[text] = struct{}{}
	return nil
}

// stringEnd returns the index of the quote that closes the string opened at
// start. The data is valid JSON, so there is one.
func stringEnd(data []byte, start int) int {
	for i := start + 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(data) - 1
}

// checkEscapes refuses \u0000 and unpaired surrogates in the inside of a string.
func checkEscapes(s []byte) error {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		if s[i] != 'u' {
			continue
		}
		r := hex4(s[i+1:])
		i += 4
		switch {
		case r == 0, r >= 0xdc00 && r <= 0xdfff:
			return errText
		case r >= 0xd800 && r <= 0xdbff:
			if len(s)-i-1 < 6 || s[i+1] != '\\' || s[i+2] != 'u' {
				return errText
			}
			if low := hex4(s[i+3:]); low < 0xdc00 || low > 0xdfff {
				return errText
			}
			i += 6
		}
	}
	return nil
}

// hex4 reads the four hexadecimal digits of a \u escape.
func hex4(s []byte) uint64 {
	n, err := strconv.ParseUint(string(s[:4]), 16, 32)
	if err != nil {
		return 0
	}
	return n
}
