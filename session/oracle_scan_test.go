//go:build oracle

package session

import (
	"strings"
	"testing"
)

// What a byte of a statement is of: a mark for each.
const (
	markSpace   = ' '
	markWord    = 'w'
	markNumber  = 'n'
	markParam   = 'p'
	markQuoted  = 'q' // "…", U&"…"
	markLiteral = 'l'
	markOpening = 'L' // the first byte of a literal
	markComment = 'c'
	markSymbol  = 's'
	markOpen    = '?' // the beginning of what may become a dollar quote
)

// marks reads the states through which the lexer goes byte by byte. gap says that a comment stands
// between two parts of a literal, which libpg_query's scanner, changed to return comments, does not
// take for one literal as PostgreSQL's does.
func marks(sql string) (m []byte, gap bool) {
	var j Judge
	j.Begin(nil, true, nil)
	m = make([]byte, len(sql))
	back := func(i int, from, to byte) {
		for ; i >= 0 && m[i] == from; i-- {
			m[i] = to
		}
	}
	commented := false
	for i := range len(sql) {
		before, newline, doubled := j.state, j.newline, j.doubled
		j.Feed([]byte{sql[i]})
		if before == lexTag && j.state != lexTag && j.state != lexDollarBody {
			back(i-1, markOpen, markWord) // no tag after all, but a stray $
			m[strings.LastIndexByte(sql[:i], '$')] = markSymbol
		}
		if before == lexDollar && j.state != lexTag && j.state != lexParam && j.state != lexDollarBody {
			m[i-1] = markSymbol
		}
		m[i] = markOf(before, j.state, sql[i])
		switch {
		case j.state == lexLit && before != lexLit && before != lexLitEscape && (before != lexLitQuote || !doubled) && (before != lexLitGap || !newline):
			if before == lexU {
				m[i-1], m[i-2] = markLiteral, markOpening
			} else if j.slash || !j.doubled {
				m[i-1] = markOpening
			} else {
				m[i] = markOpening
			}
		case j.state == lexQuoted && before == lexU:
			m[i-1], m[i-2] = markQuoted, markQuoted
		case j.state == lexParam && before == lexDollar:
			m[i-1] = markParam
		case j.state == lexDollarBody && before != lexDollarBody:
			back(i-1, markOpen, markLiteral)
			m[strings.LastIndexByte(sql[:i], '$')] = markOpening
		case (j.state == lexLine && before == lexDash) || (j.state == lexBlock && before == lexSlash) || (j.state == lexLitLine && before == lexLitDash):
			m[i-1] = markComment
		}
		commented = commented && (j.state == lexLitGap || j.state == lexLitLine || j.state == lexLit) || j.state == lexLitLine
		gap = gap || commented && j.state == lexLit
		commented = commented && j.state != lexLit
	}
	if j.state == lexTag || j.state == lexDollar {
		back(len(m)-1, markOpen, markWord)
		m[strings.LastIndexByte(sql, '$')] = markSymbol
	}
	return m, gap
}

// markOf is the mark of the byte c that took the lexer from one state to the next, as far as it shows.
func markOf(before, after lexState, c byte) byte {
	switch after {
	case lexIdent:
		return markWord
	case lexNumber:
		return markNumber
	case lexParam:
		return markParam
	case lexU, lexDash, lexSlash, lexLitDash:
		return markSymbol
	case lexLine, lexBlock, lexLitLine:
		return markComment
	case lexQuoted, lexQuotedEnd:
		return markQuoted
	case lexLit, lexLitEscape, lexLitQuote, lexDollarBody:
		return markLiteral
	case lexDollar, lexTag:
		return markOpen
	}
	switch {
	case before == lexBlock:
		return markComment
	case before == lexDollarBody:
		return markLiteral
	case before == lexQuoted:
		return markQuoted
	case isSpace(c):
		return markSpace
	}
	return markSymbol
}

// oracleMark is the mark of a token of PostgreSQL's.
func oracleMark(sql string, t oracleToken) byte {
	switch t.Name {
	case "SQL_COMMENT", "C_COMMENT":
		return markComment
	case "SCONST", "USCONST", "BCONST", "XCONST":
		return markLiteral
	case "PARAM":
		return markParam
	case "ICONST", "FCONST":
		return markNumber
	case "UIDENT":
		return markQuoted
	case "IDENT":
		if sql[t.Start] == '"' {
			return markQuoted
		}
		return markWord
	}
	if t.Keyword {
		return markWord
	}
	return markSymbol
}

// compareMarks returns where the lexer and PostgreSQL differ, -1 when they do not.
func compareMarks(sql string, m []byte, tokens []oracleToken) int {
	at := 0
	for _, t := range tokens {
		for ; at < t.Start; at++ {
			if m[at] != markSpace {
				return at
			}
		}
		want := oracleMark(sql, t)
		for ; at < t.End; at++ {
			got := m[at]
			switch {
			case want == markLiteral && at == t.Start:
				if got != markOpening {
					return at
				}
			case got == want:
			case want == markNumber && (got == markSymbol || got == markWord): // 1.5e3, 0xff, 1_000
			case want == markLiteral && got == markSpace && at > t.Start: // 'a' and, a line further, 'b'
			default:
				return at
			}
		}
		if want == markWord && (t.End < len(m) && m[t.End] == markWord || t.Start > 0 && m[t.Start-1] == markWord) {
			return t.Start // where one ends the next begins: to the guard it would be one
		}
	}
	for ; at < len(m); at++ {
		if m[at] != markSpace {
			return at
		}
	}
	return -1
}

// TestLexerReadsWhatPostgreSQLReads compares token by token, and where statements end.
func TestLexerReadsWhatPostgreSQLReads(t *testing.T) {
	o := newOracle(t)
	corpus := oracleCorpus(t)
	all := append(append(corpus, mutants(corpus, 200_000)...), spellings(50_000)...)
	compared, statements := 0, 0
	o.ask(all, func(sql string, a *oracleAnswer) {
		if a.ScanError != "" {
			return // PostgreSQL refuses all of the string
		}
		m, gap := marks(sql)
		if gap {
			return
		}
		compared++
		if at := compareMarks(sql, m, a.Tokens); at >= 0 {
			t.Errorf("%q differs at byte %d: %q\n%s", sql, at, sql[at:min(len(sql), at+20)], m)
		}
		for _, s := range a.Tree.Stmts {
			for _, at := range []int{s.Location - 1, s.Location + s.Len} {
				if at > 0 && at < len(sql) && s.Len > 0 && at >= s.Location+s.Len && (sql[at] != ';' || m[at] != markSymbol) {
					t.Errorf("%q: a statement ends at byte %d, where the guard sees none", sql, at)
				}
			}
			statements++
		}
	})
	t.Logf("%d of %d strings have tokens to compare, %d parsed statements", compared, len(all), statements)
	if compared < len(all)/4 {
		t.Error("too few strings can be compared")
	}
}
