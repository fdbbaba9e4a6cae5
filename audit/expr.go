package audit

import (
	"slices"
	"strings"
)

// token is one word, constant, operator or bracket of an expression.
type token struct {
	text   string // as it stands
	word   string // identifiers and keywords: folded and without quotes; else empty
	quoted bool   // an identifier in double quotes
	mate   int    // brackets: the index of the other one; its own for everything else
}

// expr is an expression or a part of one, as the server prints it: without
// comments, every name that is not in pg_catalog qualified, string constants in
// the plain form unless they hold a backslash.
type expr struct {
	source string
	tokens []token
	starts []int // byte offset of every token, and of the end
	lo, hi int   // the part that is meant
}

// parseExpr cuts what pg_get_expr printed into tokens.
func parseExpr(text string) expr {
	e := expr{source: text}
	var open []int
	for i := 0; i < len(text); {
		if strings.IndexByte(" \t\r\n", text[i]) >= 0 {
			i++
			continue
		}
		n := tokenLength(text[i:])
		t := makeToken(text[i : i+n])
		at := len(e.tokens)
		t.mate = at
		switch t.text {
		case "(", "[":
			open = append(open, at)
		case ")", "]":
			if len(open) > 0 {
				t.mate, open = open[len(open)-1], open[:len(open)-1]
			}
		}
		e.tokens, e.starts = append(e.tokens, t), append(e.starts, i)
		if (t.text == ")" || t.text == "]") && t.mate != at {
			e.tokens[t.mate].mate = at
		}
		i += n
	}
	for _, at := range open { // the server closes its brackets; whatever this is ends with it
		e.tokens[at].mate = len(e.tokens) - 1
	}
	e.starts = append(e.starts, len(text))
	e.hi = len(e.tokens)
	return e
}

// makeToken classifies a token.
func makeToken(text string) token {
	t := token{text: text}
	switch {
	case text[0] == '"' && len(text) > 1:
		t.word, t.quoted = strings.ReplaceAll(text[1:len(text)-1], `""`, `"`), true
	case isWordByte(text[0]) && (text[0] < '0' || text[0] > '9') && !strings.HasSuffix(text, "'"):
		t.word = strings.ToLower(text)
	}
	return t
}

// tokenLength is the length of the token that text begins with, in bytes.
func tokenLength(text string) int {
	switch c := text[0]; {
	case c == '\'' || (c == 'E' || c == 'B' || c == 'X') && len(text) > 1 && text[1] == '\'':
		return stringLength(text, c == 'E')
	case c == '"':
		return stringLength(text, false)
	case isWordByte(c):
		n := 1
		for n < len(text) && (isWordByte(text[n]) || text[n] == '$') {
			n++
		}
		return n
	case strings.IndexByte("+-*/<>=~!@#%^&|`?:", c) >= 0:
		n := 1
		for n < len(text) && strings.IndexByte("+-*/<>=~!@#%^&|`?:", text[n]) >= 0 {
			n++
		}
		return n
	}
	return 1
}

// stringLength is the length of a constant or a quoted name with its quotes.
func stringLength(text string, escapes bool) int {
	quote := text[strings.IndexAny(text, `'"`)]
	for i := strings.IndexByte(text, quote) + 1; i < len(text); i++ {
		switch {
		case escapes && text[i] == '\\':
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}

// isWordByte tells whether a byte can stand in a name or a number.
func isWordByte(c byte) bool {
	return c == '_' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// String returns the text of the part.
func (e expr) String() string {
	if e.lo >= e.hi {
		return ""
	}
	last := e.hi - 1
	return e.source[e.starts[e.lo] : e.starts[last]+len(e.tokens[last].text)]
}

// at returns a token of the expression; outside of it the zero token.
func (e expr) at(i int) token {
	if i < 0 || i >= len(e.tokens) {
		return token{}
	}
	return e.tokens[i]
}

// slice returns a part of the expression.
func (e expr) slice(lo, hi int) expr {
	e.lo, e.hi = min(lo, len(e.tokens)), min(hi, len(e.tokens))
	return e
}

// bare takes away the brackets around all of the part.
func (e expr) bare() expr {
	for e.hi-e.lo >= 2 && e.at(e.lo).text == "(" && e.at(e.lo).mate == e.hi-1 {
		e.lo, e.hi = e.lo+1, e.hi-1
	}
	return e
}

// split cuts the part at a connective that stands outside of brackets and CASE.
func (e expr) split(connective string) []expr {
	e = e.bare()
	if e.at(e.lo).word == "select" {
		return []expr{e}
	}
	var parts []expr
	from, cases, between := e.lo, 0, false
	for i := e.lo; i < e.hi; i++ {
		t := e.at(i)
		if t.text == "(" || t.text == "[" {
			i = max(i, t.mate)
			continue
		}
		switch {
		case t.quoted:
		case t.word == "case":
			cases++
		case t.word == "end":
			cases--
		case t.word == "between":
			between = true
		case t.word == "and" && between:
			between = false
		case t.word == connective && cases == 0:
			parts, from = append(parts, e.slice(from, i)), i+1
		}
	}
	return append(parts, e.slice(from, e.hi))
}

// terms are the alternatives that the part is made of: it holds when one does.
func (e expr) terms() []expr {
	parts := e.split("or")
	if len(parts) == 1 {
		return []expr{parts[0].bare()}
	}
	var all []expr
	for _, p := range parts {
		all = append(all, p.terms()...)
	}
	return all
}

// factors are the conditions that the part is made of: it holds when all do.
func (e expr) factors() []expr {
	parts := e.split("and")
	if len(parts) == 1 {
		return []expr{parts[0].bare()}
	}
	var all []expr
	for _, p := range parts {
		all = append(all, p.factors()...)
	}
	return all
}

// mentions tells whether the part names a column, qualified or not.
func (e expr) mentions(column string) bool {
	if column == "" {
		return false
	}
	for i := e.lo; i < e.hi; i++ {
		t := e.at(i)
		if t.word == column && (t.quoted || !keywords[t.word]) && e.at(i+1).text != "(" && e.at(i+1).text != "." {
			return true
		}
	}
	return false
}

// sessionWords are what depends on who asks, beside settings and functions.
var sessionWords = []string{"current_user", "session_user", "current_role", "user", "current_setting", "pg_has_role", "system_user"}

// asksSession tells whether the part depends on the session: a setting, the
// role, a function of the application's, or other rows.
func (e expr) asksSession() bool {
	for i := e.lo; i < e.hi; i++ {
		t := e.at(i)
		if t.word == "" {
			continue
		}
		if !t.quoted && (slices.Contains(sessionWords, t.word) || t.word == "from" && e.selects()) {
			return true
		}
		if e.isCall(i) {
			return true
		}
	}
	return false
}

// isCall tells whether a call of a function outside of pg_catalog begins with
// this token: the server qualifies its name.
func (e expr) isCall(i int) bool {
	return e.at(i).word != "" && e.at(i+1).text == "." && e.at(i+2).word != "" && e.at(i+3).text == "(" && e.at(e.at(i+3).mate).text == ")"
}

// calls tells whether the part calls a function outside of pg_catalog.
func (e expr) calls() bool {
	for i := e.lo; i < e.hi; i++ {
		if e.isCall(i) {
			return true
		}
	}
	return false
}

// selects tells whether the part holds a sub-select.
func (e expr) selects() bool {
	for i := e.lo; i < e.hi; i++ {
		if t := e.at(i); t.word == "select" && !t.quoted {
			return true
		}
	}
	return false
}

// constantTrue tells whether the part is the constant true.
func (e expr) constantTrue() bool {
	e = e.bare()
	return e.hi-e.lo == 1 && e.at(e.lo).word == "true" && !e.at(e.lo).quoted
}

// columns tells whether the part reads any column at all: a name that is not a
// keyword, a function, a type or a setting.
func (e expr) columns() bool {
	for i := e.lo; i < e.hi; i++ {
		t := e.at(i)
		if t.word == "" || e.at(i+1).text == "(" || e.at(i-1).text == "::" || e.at(i+1).text == "." && e.at(i+3).text == "(" ||
			e.at(i-1).text == "." && e.at(i+1).text == "(" || e.at(i-1).word == "as" {
			continue
		}
		if t.quoted || !keywords[t.word] {
			return true
		}
	}
	return false
}
