package session

import (
	"maps"
	"slices"
)

// tokKind is what the lexer tells of a token.
type tokKind uint8

const (
	tokWord   tokKind = iota // key word or identifier without quotes
	tokName                  // "…"
	tokUni                   // U&"…"
	tokNumber                // digits
	tokLit                   // a literal that is what it says; text only where wantsLiteral
	tokOther                 // a literal with escapes, a bit string
	tokSym                   // one character of punctuation or of an operator; $ for $1
	tokEnd                   // the end of a statement
)

// token is one token of a statement. text is folded to lower case for a word,
// cut at maxIdent, and valid until the next token.
type token struct {
	kind  tokKind
	sym   byte  // of a tokSym
	param uint8 // the n of $n, a tokSym, up to maxParam; else 0
	long  bool  // the text is longer than what is held
	wild  bool  // a word with bytes of 0x80 and up, each run of which is an i in the text
	text  []byte
}

// is reports whether the token is that key word.
func (t token) is(word string) bool { return t.kind == tokWord && !t.wild && string(t.text) == word }

// isSym reports whether the token is that character.
func (t token) isSym(c byte) bool { return t.kind == tokSym && t.sym == c }

// stage is how far a statement is understood. Only its first words and SET are
// read closely; all else is a body, in which only calls matter.
type stage uint8

const (
	stageBody  stage = iota
	stageNames       // names of functions are no calls here: GRANT, COMMENT, DROP
	stageStart
	stageCreate      // behind CREATE
	stageAlter       // behind ALTER
	stageDrop        // behind DROP
	stageReassign    // behind REASSIGN
	stageUser        // behind CREATE, ALTER, DROP and USER: MAPPING is no role
	stageMapping     // if FOR or IF follows
	stageDiscard     // behind DISCARD
	stageDeallocate  // behind DEALLOCATE
	stageUnlisten    // behind UNLISTEN
	stagePrepare     // behind PREPARE
	stagePrepareTx   // behind PREPARE TRANSACTION
	stagePrepared    // behind COMMIT and ROLLBACK
	stageSetName     // a setting's name is next
	stageSetNext     // behind a part of it
	stageSetPart     // behind a dot in it
	stageSetValue    // a value is next
	stageSetValueEnd // behind the value
)

// wordMask tells by the first byte of a word, and a bit made of its length and
// its last byte, which words may matter in a body. Few others share a bit.
var wordMask = makeWordMask()

// wordBit returns the bit of a word of n bytes that ends in last, in either case.
func wordBit(n int, last byte) uint64 {
	return 1 << (uint(n+int(last&0x1f)) & 63)
}

// bodyWords returns the words that may matter in a body.
func bodyWords() []string {
	words := slices.AppendSeq([]string{"update", "into", "treat", "notify", settingsView, sealSchema}, maps.Keys(callees))
	return slices.AppendSeq(words, maps.Keys(pinWords))
}

// makeWordMask fills wordMask with bodyWords and the letters that open literals.
func makeWordMask() (t [256]uint64) {
	for _, w := range append(bodyWords(), "e", "b", "x", "u") {
		bit := wordBit(len(w), w[len(w)-1])
		t[w[0]] |= bit
		t[w[0]&^0x20] |= bit
	}
	return t
}

// wantsLiteral reports whether the text of a literal beginning here can matter.
func (j *Judge) wantsLiteral() bool {
	return j.pending == pendName || j.pending == pendValue || j.pending == pendDump || j.stage == stageSetNext || j.stage == stageSetValue
}

// onWord takes a word of n bytes, of which b holds at least the first maxIdent.
func (j *Judge) onWord(b []byte, n int, kind tokKind) {
	long := n > maxIdent
	b = b[:min(n, maxIdent)]
	wild := false
	if kind == tokWord {
		b, wild = foldWord(&j.fold, b)
	}
	j.token(token{kind: kind, text: b, long: long, wild: wild})
}

// foldWord folds a word to lower case as PostgreSQL does. With a single-byte
// encoding on the server it folds other letters as the locale says, and the one
// that becomes an ASCII letter is the capital dotted i of Turkish: any run of
// bytes that are not ASCII may be it, and becomes an i.
func foldWord(to *[maxIdent]byte, b []byte) (folded []byte, wild bool) {
	n := 0
	for i, c := range b {
		if c >= 0x80 {
			wild = true
			if i > 0 && b[i-1] >= 0x80 {
				continue
			}
			c = 'i'
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		to[n] = c
		n++
	}
	return to[:n], wild
}

// onQuoted takes a quoted identifier that lies in one chunk.
func (j *Judge) onQuoted(b []byte) {
	n := len(b)
	if j.listening == 0 && (n == 0 || wordMask[b[0]]&wordBit(n, b[n-1]) == 0) {
		j.prev = 'a'
		return
	}
	j.onWord(b, n, tokName)
}

// onSymbol takes a character that is a token of its own here.
func (j *Judge) onSymbol(c byte) {
	switch {
	case c == ';':
		j.token(token{kind: tokEnd})
	case j.listening != 0:
		j.token(token{kind: tokSym, sym: c})
	default:
		j.prev = c
	}
}

// onParam takes $n, of whose digits b holds the first maxIdent.
func (j *Judge) onParam(b []byte) {
	param := 0
	for _, c := range b {
		param = min(param*10+int(c-'0'), maxParam+1)
	}
	if param == 0 || param > maxParam || len(b) == maxIdent {
		param, j.oddParam = 0, true
	} else {
		bit := uint64(1) << param
		j.repeated |= j.params & bit
		j.params |= bit
	}
	if j.listening == 0 {
		j.prev = '$'
		return
	}
	j.token(token{kind: tokSym, sym: '$', param: uint8(param)})
}

// onLiteral takes the literal that the lexer has read.
func (j *Judge) onLiteral() {
	if j.listening == 0 {
		j.prev = '\''
		return
	}
	t := token{kind: tokOther}
	if j.plain {
		t.kind, t.text, t.long = tokLit, j.lit[:min(j.litLen, maxLiteral)], j.litLen > maxLiteral
	}
	j.token(t)
}

// restart makes ready for the next statement of the string.
func (j *Judge) restart() {
	j.stage, j.listening = stageStart, ^uint64(0)
	j.clauses, j.viewing, j.creating, j.treating, j.storing, j.first = false, false, false, false, false, false
	j.scope, j.declaring, j.with, j.inserting = setNothing, false, false, false
	j.follows = settingSet{}
}

// token takes every token where the guard listens.
func (j *Judge) token(t token) {
	if j.pending != pendNone {
		j.await(t)
	}
	if j.calls > 0 {
		j.count(t)
	}
	j.followPins(t)
	if t.kind == tokEnd {
		j.endStatement()
		j.prev = ';'
		return
	}
	if j.stage != stageBody {
		j.step(t)
	}
	if j.stage == stageBody && t.kind <= tokUni {
		j.bodyWord(t)
	}
	switch t.kind {
	case tokSym:
		j.prev = t.sym
	case tokLit, tokOther:
		j.prev = '\''
	default:
		j.prev = 'a'
		if j.first && t.is("select") {
			j.prev, j.selecting = 'S', true
		}
	}
	j.first = false
	j.listen()
}

// listen sets listening by what the next token may mean.
func (j *Judge) listen() {
	j.listening = 0
	if j.stage != stageBody || j.pending != pendNone || j.calls > 0 || j.clauses || j.creating || j.ruling || j.config.on || j.declaring || j.storing {
		j.listening = ^uint64(0)
	}
}

// endStatement closes the statement at hand. Only the one in which a ; stands
// inside parentheses, CREATE RULE, is cut by this where PostgreSQL does not, and
// what may stand there is no SET.
func (j *Judge) endStatement() {
	switch j.stage {
	case stageSetNext, stageSetValueEnd:
		j.endSet()
	case stageUnlisten:
		j.violate(RuleChannelsListen)
	case stageMapping:
		j.role()
	}
	j.pending, j.calls, j.depth, j.selecting = pendNone, 0, 0, false
	j.restart()
}

// step takes a token where a statement's first words are read.
func (j *Judge) step(t token) {
	switch j.stage {
	case stageStart:
		j.stage = stageBody
		if j.alone {
			j.violate(RuleHiddenName)
		}
		if t.kind == tokWord {
			j.start(t)
		}
		j.effects.Stirs = j.effects.Stirs || !leavesNothing(t)
	case stageCreate:
		j.create(t)
	case stageAlter:
		j.alter(t)
	case stageDrop, stageReassign:
		j.drop(t)
	case stageUser:
		j.stage = stageMapping
		if !t.is("mapping") {
			j.role()
		}
	case stageMapping:
		j.stage = stageBody
		if !t.is("for") && !t.is("if") {
			j.role()
		}
	case stageDiscard:
		j.stage = stageBody
		if t.is("all") {
			j.effects.ResetAll, j.effects.Discard, j.effects.DeallocateAll = true, true, true
		}
		if t.is("sequences") {
			j.effects.add([]byte(latchSetting)) // the latch of a sealed context is one
		}
	case stageDeallocate:
		if !t.is("prepare") {
			j.stage = stageBody
			j.effects.DeallocateAll = j.effects.DeallocateAll || t.is("all")
		}
	case stageUnlisten:
		j.stage = stageBody
		if !t.isSym('*') {
			j.violate(RuleChannelsListen)
		}
	case stagePrepare:
		j.stage = stageBody
		if t.is("transaction") {
			j.stage = stagePrepareTx
		}
		j.pin(PinPrepare) // TRANSACTION may be a name
	case stagePrepareTx:
		j.stage = stageBody
		if t.kind == tokLit || t.kind == tokOther {
			j.violate(RuleRoleTwoPhase)
		}
	case stagePrepared:
		j.stage = stageBody
		if t.is("prepared") {
			j.violate(RuleRoleTwoPhase)
		}
	case stageSetName, stageSetNext, stageSetPart, stageSetValue, stageSetValueEnd:
		j.stepSet(t)
	}
}

// role notes that a statement is about a role.
func (j *Judge) role() {
	j.violate(j.rolled)
	j.stage, j.clauses = stageBody, true
}

// start takes the first word of a statement.
func (j *Judge) start(t token) {
	switch string(t.text) {
	case "delete":
		j.pending = pendTarget
	case "execute":
		j.effects.Execute = true
	case "explain":
		j.creating, j.effects.Execute = true, true
	case "set":
		j.beginSet(false)
		j.scope, j.set = setFirst, setFree
	case "reset":
		j.beginSet(true)
	case "discard":
		j.stage = stageDiscard
	case "deallocate":
		j.stage = stageDeallocate
	case "declare":
		j.declaring = true
	case "insert", "merge":
		j.inserting = true
	case "do":
		j.violate(RuleHiddenDo)
	case "create":
		j.stage, j.storing, j.effects.Execute = stageCreate, true, true
	case "alter":
		j.stage, j.storing = stageAlter, true
	case "drop":
		j.stage = stageDrop
	case "reassign":
		j.stage = stageReassign
	case "grant", "revoke", "comment", "security":
		j.stage = stageNames
	case "prepare":
		j.stage = stagePrepare
	case "commit", "rollback":
		j.stage = stagePrepared
	case "listen":
		j.violate(RuleChannelsListen)
		j.pin(PinListen)
	case "notify":
		j.violate(RuleChannelsNotify)
	case "unlisten":
		j.stage = stageUnlisten
	case "load":
		j.pin(PinLoad)
		j.violate(RuleHiddenLoad)
	}
}

// create takes a word behind CREATE.
func (j *Judge) create(t token) {
	if t.kind != tokWord {
		j.stage = stageBody
		return
	}
	switch string(t.text) {
	case "temp", "temporary":
		j.pin(PinTemp)
		return
	case "or", "replace", "trusted", "procedural", "recursive",
		"local", "global", "unlogged", "materialized", "foreign":
		return
	case "view":
		j.viewing = true
	case "rule":
		j.viewing, j.ruling = true, true
	case "schema":
		j.creating = true
	case "table", "sequence":
		j.pending = pendTarget
	case "function", "procedure":
		j.violate(RuleHiddenFunction)
		j.clauses = true
	case "aggregate", "operator", "cast":
		// They call the function that they name, without parentheses.
		j.violate(RuleHiddenFunction)
	case "extension", "language":
		j.violate(RuleHiddenExtension)
	case "role", "group":
		j.violate(RuleRoleCreate)
		j.clauses = true
	case "user":
		j.rolled, j.stage = RuleRoleCreate, stageUser
		return
	}
	j.stage = stageBody
}

// alter takes the word behind ALTER.
func (j *Judge) alter(t token) {
	j.stage, j.viewing = stageBody, true
	if t.kind != tokWord {
		return
	}
	switch string(t.text) {
	case "role", "group":
		j.violate(RuleRoleAlter)
	case "user":
		j.rolled, j.stage = RuleRoleAlter, stageUser
		return
	case "database":
		j.violate(RuleRoleDatabase)
	case "system":
		j.violate(RuleRoleSystem)
	case "function", "procedure", "routine":
	default:
		return
	}
	j.clauses = true
}

// drop takes the word behind DROP or REASSIGN.
func (j *Judge) drop(t token) {
	dropping := j.stage == stageDrop
	j.stage = stageNames
	switch {
	case t.is("owned"), dropping && (t.is("role") || t.is("group")):
		j.violate(RuleRoleDrop)
	case dropping && t.is("user"):
		j.rolled, j.stage = RuleRoleDrop, stageUser
	}
}
