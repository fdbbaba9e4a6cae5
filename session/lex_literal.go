package session

import "bytes"

// openLiteral begins a literal of the kind c: ' for '…', e, b, x, or u for U&'…'.
func (j *Judge) openLiteral(c byte) {
	j.state, j.litLen = lexLit, 0
	j.capture = j.wantsLiteral()
	j.plain = c == '\''
	j.slash = c == 'e' || c == '\'' && j.escapes
	j.doubled = c != 'b' && c != 'x'
}

// feedQuoted reads a quoted identifier, "" standing for one ".
func (j *Judge) feedQuoted(p []byte, i int) int {
	if j.state == lexQuotedEnd {
		if p[i] != '"' {
			j.flush()
			return i
		}
		j.hold(p[i : i+1])
		j.state = lexQuoted
		return i + 1
	}
	start := i
	for ; i < len(p); i++ {
		if p[i] == '"' {
			if i+1 < len(p) && p[i+1] != '"' && j.wordLen == 0 && !j.uni {
				j.state = lexBase
				j.onQuoted(p[start:i])
				return i + 1
			}
			j.hold(p[start:i])
			j.state = lexQuotedEnd
			return i + 1
		}
	}
	j.hold(p[start:])
	return i
}

// feedLiteral reads on in a quoted literal.
func (j *Judge) feedLiteral(p []byte, i int) int {
	if j.state == lexLitEscape {
		j.state = lexLit
		return i + 1
	}
	start := i
	if j.slash {
		for i < len(p) && p[i] != '\'' && p[i] != '\\' {
			i++
		}
	} else if n := bytes.IndexByte(p[i:], '\''); n >= 0 {
		i += n
	} else {
		i = len(p)
	}
	j.keep(p[start:i])
	switch {
	case i == len(p):
		return i
	case p[i] == '\\':
		j.plain, j.state = false, lexLitEscape
	default:
		j.state = lexLitQuote
	}
	return i + 1
}

// feedGap reads behind a literal's quote: a second quote may double it, and
// after a line end, with nothing but space and -- comments around, another quote
// continues the literal.
func (j *Judge) feedGap(p []byte, i int) int {
	c := p[i]
	switch j.state {
	case lexLitQuote:
		if c == '\'' && j.doubled {
			j.keep(p[i : i+1])
			j.state = lexLit
			return i + 1
		}
		j.state, j.newline = lexLitGap, false
	case lexLitGap:
		switch {
		case c == '\n' || c == '\r':
			j.newline = true
		case isSpace(c):
		case c == '-':
			j.state = lexLitDash
		case c == '\'' && j.newline:
			j.state = lexLit
		default:
			j.flush()
			return i
		}
		return i + 1
	case lexLitDash:
		if c == '-' {
			j.state = lexLitLine
			return i + 1
		}
		j.flush()
	case lexLitLine:
		for ; i < len(p); i++ {
			if p[i] == '\n' || p[i] == '\r' {
				j.state = lexLitGap
				break
			}
		}
	}
	return i
}

// feedDollar looks for the tag that closes a dollar quote. A tag holds no $, so
// a failed match can begin anew only at a $.
func (j *Judge) feedDollar(p []byte, i int) int {
	start := i
	for ; i < len(p); i++ {
		if j.match == 0 && !j.capture {
			n := bytes.IndexByte(p[i:], '$')
			if n < 0 {
				break
			}
			i += n
		}
		switch c := p[i]; {
		case c == '$' && j.match == j.tagLen+1:
			j.keep(p[start:i])
			j.litLen = max(0, j.litLen-j.match)
			j.state = lexBase
			j.onLiteral()
			return i + 1
		case c == '$':
			j.match = 1
		case j.match > 0 && j.match <= j.tagLen && c == j.tag[j.match-1]:
			j.match++
		default:
			j.match = 0
		}
	}
	j.keep(p[start:])
	return len(p)
}

// feedDollarStart tells a parameter from a dollar quote. It consumes nothing of
// the byte behind the $.
func (j *Judge) feedDollarStart(c byte) {
	switch {
	case isDigit(c):
		j.wordLen, j.state = 0, lexParam
	case c == '$' || isIdentStart(c):
		j.tagLen, j.state = 0, lexTag
	default:
		j.flush()
	}
}

// feedTag reads the tag of an opening dollar quote, an identifier without $.
func (j *Judge) feedTag(p []byte, i int) int {
	for ; i < len(p); i++ {
		c := p[i]
		switch {
		case c == '$':
			j.state, j.match, j.litLen = lexDollarBody, 0, 0
			j.capture, j.plain = j.wantsLiteral(), true
			return i + 1
		case !isIdentStart(c) && !isDigit(c):
			j.flush()
			return i
		case j.tagLen == maxTag:
			j.unreadable()
			return len(p)
		}
		j.tag[j.tagLen] = c
		j.tagLen++
	}
	return i
}
