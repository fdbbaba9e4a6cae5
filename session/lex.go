package session

import "bytes"

// Bounds of what is held of one token. Everything else streams through.
const (
	// maxIdent is NAMEDATALEN-1: PostgreSQL cuts identifiers there.
	maxIdent = 63
	// maxLiteral is the longest literal, in bytes, that can matter: the name or
	// the value of a setting. A longer one is as good as a computed one.
	maxLiteral = 256
	// maxTag is the longest dollar-quote tag that is followed. PostgreSQL knows
	// no limit; a statement with a longer one counts as unreadable.
	maxTag = 256
)

// lexState is where the lexer stands between two bytes.
type lexState uint8

const (
	lexBase       lexState = iota // between tokens
	lexIdent                      // in an identifier or key word
	lexNumber                     // in a run of digits
	lexParam                      // in the digits of $1
	lexU                          // behind U&
	lexDash                       // behind one -
	lexSlash                      // behind one /
	lexLine                       // in a -- comment
	lexBlock                      // in a /* comment
	lexQuoted                     // in a "quoted" identifier
	lexQuotedEnd                  // behind a " in one
	lexLit                        // in a '…' literal of any kind
	lexLitEscape                  // behind a backslash in one
	lexLitQuote                   // behind a ' in one
	lexLitGap                     // behind a literal that the next line may continue
	lexLitDash                    // there, behind one -
	lexLitLine                    // there, in a -- comment
	lexDollar                     // behind a $
	lexTag                        // in the tag that opens a dollar quote
	lexDollarBody                 // in a dollar-quoted literal
	lexDone                       // behind the statement's NUL, or given up
)

// Byte classes of the state between tokens.
const (
	classOther uint8 = iota // operators, punctuation, and what begins no token
	classSpace
	classIdent
	classDigit
	classQuote
	classDouble
	classDollar
	classDash
	classSlash
)

// byteClass maps a byte to its class between tokens.
var byteClass = makeByteClass()

// identCont tells the bytes that continue an identifier.
var identCont = makeIdentCont()

// isIdentStart reports whether c may begin an identifier. Every byte of a
// multi-byte character may.
func isIdentStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

// isDigit reports whether c is a decimal digit.
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isSpace reports whether c separates tokens. The vertical tab does so from
// PostgreSQL 16 on; before, it is a syntax error.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// makeByteClass fills byteClass.
func makeByteClass() (t [256]uint8) {
	for i := range t {
		switch c := byte(i); {
		case isIdentStart(c):
			t[i] = classIdent
		case isDigit(c):
			t[i] = classDigit
		case isSpace(c):
			t[i] = classSpace
		}
	}
	t['\''], t['"'], t['$'] = classQuote, classDouble, classDollar
	t['-'], t['/'] = classDash, classSlash
	return t
}

// makeIdentCont fills identCont.
func makeIdentCont() (t [256]bool) {
	for i := range t {
		c := byte(i)
		t[i] = isIdentStart(c) || isDigit(c) || c == '$'
	}
	return t
}

// lexer is the state of the scanner between two bytes of a statement: what
// scan.l holds, with bounds. The scanner refuses nothing: where PostgreSQL ends
// the whole string with a lexical error, it goes on and the guard only sees more.
type lexer struct {
	state   lexState
	escapes bool   // standard_conforming_strings is off: '…' takes backslashes
	capture bool   // the literal at hand may matter: keep its text
	plain   bool   // and its text is what stands there, no escapes
	slash   bool   // a backslash escapes in the literal at hand
	doubled bool   // '' stands for ' in it
	newline bool   // a line end was seen behind it
	uni     bool   // the quoted identifier at hand is U&"…"
	last    byte   // in a block comment: the byte before, when it was * or /
	nested  uint32 // depth of block comments, less one
	word    [maxIdent]byte
	wordLen int // bytes of the token so far, however many are kept
	lit     [maxLiteral]byte
	litLen  int // likewise
	tag     [maxTag]byte
	tagLen  int
	match   int // bytes of the closing tag matched
}

// hold keeps the beginning of a word that does not end in this chunk.
func (x *lexer) hold(b []byte) {
	if x.wordLen < maxIdent {
		copy(x.word[x.wordLen:], b)
	}
	x.wordLen += len(b)
}

// keep appends to the literal at hand when it may matter.
func (x *lexer) keep(b []byte) {
	if !x.capture {
		return
	}
	if x.litLen < maxLiteral {
		copy(x.lit[x.litLen:], b)
	}
	x.litLen += len(b)
}

// held returns the word kept by hold.
func (x *lexer) held() []byte { return x.word[:min(x.wordLen, maxIdent)] }

// Feed judges the next bytes of the statement, in pieces of any size. A NUL ends
// the statement; what follows it is not looked at. p is not kept.
func (j *Judge) Feed(p []byte) {
	nul := bytes.IndexByte(p, 0)
	if nul >= 0 {
		p = p[:nul]
	}
	for i := 0; i < len(p); {
		switch j.state {
		case lexBase:
			i = j.feedBase(p, i)
		case lexIdent, lexNumber, lexParam, lexU, lexDash, lexSlash, lexDollar, lexTag:
			i = j.feedShort(p, i)
		case lexLine:
			i = j.feedLine(p, i)
		case lexBlock:
			i = j.feedBlock(p, i)
		case lexQuoted, lexQuotedEnd:
			i = j.feedQuoted(p, i)
		case lexLit, lexLitEscape:
			i = j.feedLiteral(p, i)
		case lexLitQuote, lexLitGap, lexLitDash, lexLitLine:
			i = j.feedGap(p, i)
		case lexDollarBody:
			i = j.feedDollar(p, i)
		case lexDone:
			return
		}
	}
	if nul >= 0 {
		j.finish()
		j.state = lexDone
	}
}

// feedBase reads tokens from p[i:] until one begins that has a state of its own.
// Words and punctuation of a body that the guard does not listen to are passed
// over here, at a few nanoseconds each.
func (j *Judge) feedBase(p []byte, i int) int {
	for i < len(p) {
		c := p[i]
		class := byteClass[c]
		if class == classSpace {
			i++
			continue
		}
		if class == classIdent {
			if j.listening == 0 && len(p)-i >= skimBlock+skimAhead {
				if k := j.skim(p, i); k != i {
					i = k
					continue
				}
			}
			start, high := i, c
			for i++; i < len(p) && identCont[p[i]]; i++ {
				high |= p[i]
			}
			if i == len(p) {
				j.wordLen = 0
				j.hold(p[start:])
				j.state = lexIdent
				return i
			}
			n := i - start
			if high < 0x80 && (wordMask[c]|j.listening)&wordBit(n, p[i-1]) == 0 {
				j.prev = 'a'
			} else if n == 1 && j.prefix(c, p[i]) {
				return i + 1
			} else {
				j.onWord(p[start:i], n, tokWord)
			}
			continue
		}
		if class == classOther {
			i++
			if j.listening != 0 || c == ';' {
				j.onSymbol(c)
			} else {
				j.prev = c
			}
			continue
		}
		if i = j.feedOpening(p, i, class); j.state != lexBase {
			return i
		}
	}
	return i
}

// feedOpening takes the first byte of a token of the rarer classes and enters its
// state, unless the token can be passed over at once.
func (j *Judge) feedOpening(p []byte, i int, class uint8) int {
	c := p[i]
	i++
	switch class {
	case classDigit:
		j.wordLen, j.state = 0, lexNumber
		return j.feedShort(p, i-1)
	case classQuote:
		if j.listening == 0 && !j.escapes {
			n := i + bytes.IndexByte(p[i:], c) + 1
			if n > i && n < len(p) && p[n] != c && p[n] != '-' && !isSpace(p[n]) {
				j.prev = c
				return n
			}
		}
		j.openLiteral(c)
		if i < len(p) {
			return j.feedLiteral(p, i)
		}
	case classDouble:
		j.wordLen, j.uni, j.state = 0, false, lexQuoted
		if i < len(p) {
			return j.feedQuoted(p, i)
		}
	case classDollar:
		j.state = lexDollar
	case classDash:
		j.state = lexDash
	case classSlash:
		j.state = lexSlash
	}
	return i
}

// prefix opens the literal that a one-letter word makes with the byte next
// behind it: E'…', B'…', X'…', U&'…', U&"…". N'…' is the key word NCHAR and a
// plain literal to PostgreSQL, and two tokens here.
func (j *Judge) prefix(c, next byte) bool {
	switch c | 0x20 {
	case 'e', 'b', 'x':
		if next != '\'' {
			return false
		}
		j.openLiteral(c | 0x20)
		return true
	case 'u':
		if next != '&' {
			return false
		}
		j.state = lexU
		return true
	}
	return false
}

// feedShort reads on in one of the tokens that end at the first foreign byte.
func (j *Judge) feedShort(p []byte, i int) int {
	start, c := i, p[i]
	switch j.state {
	case lexIdent:
		for i < len(p) && identCont[p[i]] {
			i++
		}
		j.hold(p[start:i])
		if i == len(p) {
			return i
		}
		if j.wordLen == 1 && j.prefix(j.word[0], p[i]) {
			return i + 1
		}
		j.flush()
	case lexNumber, lexParam:
		for i < len(p) && isDigit(p[i]) {
			i++
		}
		j.hold(p[start:i])
		if i < len(p) {
			j.flush()
		}
	case lexU:
		switch c {
		case '\'':
			j.openLiteral('u')
			return i + 1
		case '"':
			j.wordLen, j.uni, j.state = 0, true, lexQuoted
			return i + 1
		}
		j.flush()
	case lexDash:
		if c == '-' {
			j.state = lexLine
			return i + 1
		}
		j.flush()
	case lexSlash:
		if c == '*' {
			j.state, j.nested, j.last = lexBlock, 0, 0
			return i + 1
		}
		j.flush()
	case lexDollar:
		j.feedDollarStart(c)
	case lexTag:
		return j.feedTag(p, i)
	}
	return i
}

// feedLine skips a -- comment. A carriage return ends it as a line feed does.
func (j *Judge) feedLine(p []byte, i int) int {
	for ; i < len(p); i++ {
		if p[i] == '\n' || p[i] == '\r' {
			j.state = lexBase
			return i
		}
	}
	return i
}

// feedBlock skips a block comment; such comments nest.
func (j *Judge) feedBlock(p []byte, i int) int {
	last := j.last
	for ; i < len(p); i++ {
		c := p[i]
		switch {
		case c == '*' && last == '/':
			j.nested++
			last = 0
		case c == '/' && last == '*':
			if j.nested == 0 {
				j.state = lexBase
				return i + 1
			}
			j.nested--
			last = 0
		default:
			last = c
		}
	}
	j.last = last
	return i
}

// flush ends the token at hand, where its first foreign byte or the end of the
// statement shows that it is complete, and goes back between tokens.
func (j *Judge) flush() {
	state := j.state
	j.state = lexBase
	switch state {
	case lexIdent:
		j.onWord(j.held(), j.wordLen, tokWord)
	case lexNumber:
		if j.prev = '0'; j.listening != 0 {
			j.onWord(j.held(), j.wordLen, tokNumber)
		}
	case lexParam:
		j.onParam(j.held())
	case lexDollar:
		j.onSymbol('$')
	case lexU:
		j.onWord(append(j.word[:0], 'u'), 1, tokWord)
		j.onSymbol('&')
	case lexDash:
		j.onSymbol('-')
	case lexSlash:
		j.onSymbol('/')
	case lexQuotedEnd:
		kind := tokName
		if j.uni {
			kind = tokUni
		}
		j.onWord(j.held(), j.wordLen, kind)
	case lexLitQuote, lexLitGap, lexLitLine:
		j.onLiteral()
	case lexLitDash:
		j.onLiteral()
		j.state = lexDash
	case lexTag:
		// No dollar quote after all: a stray $ and a word. The word may yet
		// turn out to be the letter of E'…'.
		j.onSymbol('$')
		j.wordLen = 0
		j.hold(j.tag[:j.tagLen])
		j.state = lexIdent
	}
}
