package session

import (
	"bytes"
	"slices"
	"strings"
)

// setKind says what is special about a setting.
type setKind uint8

const (
	setFree        setKind = iota
	setContext             // a setting of the context: to the session's own value only
	setSeal                // tenantgate.…: never
	setRole                // role, session_authorization: only back
	setReplication         // session_replication_role: only back
	setEncoding            // client_encoding: only one in which the lexer reads what the server reads
	setStrings             // standard_conforming_strings: only on
)

// safeEncodings holds the names of the client encodings whose multi-byte
// characters have no byte below 0x80, as PostgreSQL compares them: lower case,
// letters and digits only. In any other the server, which converts before it
// scans, may see quotes that are not in the bytes or miss some that are.
var safeEncodings = makeSafeEncodings()

// makeSafeEncodings fills safeEncodings.
func makeSafeEncodings() map[string]bool {
	m := make(map[string]bool)
	for _, n := range []string{
		"abc", "alt", "euccn", "eucjis2004", "eucjp", "euckr", "euctw",
		"iso88591", "iso885910", "iso885913", "iso885914", "iso885915", "iso885916", "iso88592",
		"iso88593", "iso88594", "iso88595", "iso88596", "iso88597", "iso88598", "iso88599",
		"koi8", "koi8r", "koi8u", "latin1", "latin10", "latin2", "latin3", "latin4", "latin5",
		"latin6", "latin7", "latin8", "latin9", "muleinternal", "sqlascii", "tcvn", "tcvn5712",
		"unicode", "utf8", "vscii", "win", "win1250", "win1251", "win1252", "win1253", "win1254",
		"win1255", "win1256", "win1257", "win1258", "win866", "win874", "windows1250", "windows1251",
		"windows1252", "windows1253", "windows1254", "windows1255", "windows1256", "windows1257",
		"windows1258", "windows866", "windows874",
	} {
		m[n] = true
	}
	return m
}

// safeEncoding reports whether PostgreSQL takes name for one of safeEncodings.
func safeEncoding(name []byte) bool {
	var clean [maxIdent]byte
	n := 0
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		switch {
		case c >= 0x80 || n == len(clean):
			return false
		case isDigit(c) || c >= 'a' && c <= 'z':
			clean[n] = c
			n++
		}
	}
	return safeEncodings[string(clean[:n])]
}

// foldName folds the ASCII letters of a setting's name to lower case in place,
// as PostgreSQL compares such names, quoted or not.
func foldName(b []byte) []byte {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return b
}

// setKind looks a folded name up.
func (g *Guard) setKind(name []byte) setKind {
	switch string(name) {
	case "role", "session_authorization":
		return setRole
	case "session_replication_role":
		return setReplication
	case "client_encoding":
		return setEncoding
	case "standard_conforming_strings":
		return setStrings
	}
	if bytes.HasPrefix(name, []byte("tenantgate.")) {
		return setSeal
	}
	if g == nil {
		return setFree
	}
	for _, r := range g.reserved {
		if r == string(name) {
			return setContext
		}
	}
	return setFree
}

// parameterRule returns the rule that setting a name of kind k to value violates,
// or "". The own value of a session is the caller's matter.
func parameterRule(k setKind, value []byte) Rule {
	switch k {
	case setContext, setSeal:
		return RuleContextSet
	case setRole:
		if string(value) != "none" {
			return RuleRoleSet
		}
	case setReplication:
		return RuleRoleReplication
	case setEncoding:
		if !safeEncoding(value) {
			return RuleHiddenEncoding
		}
	case setStrings:
		if !isOn(value) {
			return RuleHiddenStrings
		}
	}
	return ""
}

// isOn reads a boolean as PostgreSQL's parse_bool does, as far as true goes: on, 1
// and the prefixes of true and yes, in any case.
func isOn(value []byte) bool {
	switch strings.ToLower(string(value)) {
	case "on", "1", "t", "tr", "tru", "true", "y", "ye", "yes":
		return true
	}
	return false
}

// isOwn reports whether value is what the session itself has given to the named
// setting.
func (j *Judge) isOwn(name, value []byte) bool {
	if j.own == nil {
		return false
	}
	i := j.reservedIndex(name)
	return i >= 0 && isOwnValue(j.own, j.guard.reserved[i], value)
}

// reservedIndex returns the index of the named setting in the guard's list.
func (j *Judge) reservedIndex(name []byte) int {
	return slices.IndexFunc(j.guard.reserved, func(r string) bool { return r == string(name) })
}

// isOwnValue reports whether value is just what own says of the setting. Bytes of
// multi-byte characters never count: the server may read them in another encoding
// than the one in which the own value stands.
func isOwnValue(own func(setting string) string, setting string, value []byte) bool {
	for _, c := range value {
		if c >= 0x80 {
			return false
		}
	}
	return own(setting) == string(value)
}

// beginSet starts to read a SET or RESET statement.
func (j *Judge) beginSet(resetting bool) {
	j.stage, j.resetting, j.scoped, j.wild = stageSetName, resetting, false, false
}

// stepSet takes a token of SET or RESET, or of a SET clause.
func (j *Judge) stepSet(t token) {
	switch j.stage {
	case stageSetName:
		j.nameLen = 0
		j.single = t.kind == tokWord
		j.setPart(t)
	case stageSetPart:
		j.single = false
		j.setPart(t)
	case stageSetNext:
		j.setNext(t)
	case stageSetValue:
		j.setValue(t)
	case stageSetValueEnd:
		// A list of values, or what is no SET: not the value that was read.
		j.stage = stageBody
		j.judgeSet(nil, false)
	}
}

// setPart takes a part of the setting's name. A name that cannot be read may be
// any, and may be reset.
func (j *Judge) setPart(t token) {
	j.stage = stageBody
	if t.kind > tokUni {
		return
	}
	if t.kind == tokUni || t.long || j.nameLen+1+len(t.text) > len(j.name) {
		if j.clauses {
			j.violate(RuleContextClause)
			return
		}
		j.violate(RuleContextUnicode)
		j.effects.ResetUnknown = true
		return
	}
	if t.wild { // the name that is compared may not be the one that is reset
		j.effects.ResetUnknown, j.wild = true, true
	}
	j.stage = stageSetNext
	if !j.single && j.nameLen > 0 {
		j.name[j.nameLen] = '.'
		j.nameLen++
	}
	j.nameLen += copy(j.name[j.nameLen:], t.text)
}

// setting returns the name that was read, folded.
func (j *Judge) setting() []byte { return foldName(j.name[:j.nameLen]) }

// rename makes s the name that was read.
func (j *Judge) rename(s string) {
	j.nameLen, j.single = copy(j.name[:], s), false
}

// setNext takes the token behind a name or a part of one. The words that are
// grammar rather than names stand here: TIME ZONE, SESSION AUTHORIZATION, ROLE,
// NAMES, and SESSION or LOCAL in front of the name.
func (j *Judge) setNext(t token) {
	switch {
	case t.isSym('.'):
		j.stage = stageSetPart
		return
	case t.isSym('='), t.is("to"):
		j.openValue()
		return
	case t.is("from"): // CURRENT: to the value that it has
		j.openValue()
		j.stage = stageBody
		return
	}
	word := ""
	if j.single {
		word = grammarWord(j.setting())
	}
	switch {
	case word == "time" && t.is("zone"):
		j.rename("timezone")
		if !j.resetting {
			j.openValue()
		}
	case word == "session" && t.is("authorization"):
		j.rename("session_authorization")
		if !j.resetting {
			j.openValue()
		}
	case word == "transaction" && j.resetting && t.is("isolation"):
		j.rename("transaction_isolation")
	case word == "role" && !j.resetting:
		j.openValue()
		j.setValue(t)
	case word == "names" && !j.resetting:
		j.rename("client_encoding")
		j.openValue()
		j.setValue(t)
	case (word == "session" || word == "local") && !j.resetting && !j.scoped && t.kind <= tokUni:
		j.scoped = true
		j.stage = stageSetName
		j.stepSet(t)
	case string(j.setting()) == "transaction_isolation" && t.is("level"):
	case j.scoped && j.single && string(j.setting()) == "characteristics" && t.is("as"):
		j.followName([]byte("default_transaction_isolation"))
		j.followName([]byte("default_transaction_read_only"))
		j.stage = stageBody
	case j.single && string(j.setting()) == "schema" && (t.kind == tokLit || t.kind == tokOther):
		j.leaves(j.setting())
		j.followName([]byte("search_path"))
		j.madeThere(t)
		j.stage = stageBody
	default:
		j.leaves(j.setting()) // SET LOCAL SCHEMA '…'
		j.stage = stageBody
	}
}

// grammarWord returns name when PostgreSQL's grammar may read it as a key word of
// SET and RESET, else "".
func grammarWord(name []byte) string {
	for _, w := range [...]string{"time", "session", "local", "role", "names", "transaction"} {
		if w == string(name) {
			return w
		}
	}
	return ""
}

// openValue looks the name up when it is complete and a value is to follow. In a
// SET clause, which outlives the session, no value of a protected setting is
// looked at.
func (j *Judge) openValue() {
	j.stage = stageSetValue
	j.set = j.guard.setKind(j.setting())
	j.leaves(j.setting())
	j.followName(j.setting())
	if j.clauses {
		j.stage = stageBody
		switch j.set {
		case setContext, setSeal:
			j.violate(RuleContextClause)
		case setRole:
			j.violate(RuleRoleSet)
		case setReplication:
			j.violate(RuleRoleReplication)
		case setEncoding:
			j.violate(RuleHiddenEncoding)
		case setStrings:
			j.violate(RuleHiddenStrings)
		}
	}
}

// setValue takes the first token of a setting's value.
func (j *Judge) setValue(t token) {
	if j.stage != stageSetValue {
		return
	}
	j.stage = stageBody
	if t.is("default") || t.is("local") && string(j.setting()) == "timezone" {
		j.effects.add(j.setting())
		return
	}
	if j.set == setFree {
		j.madeThere(t)
		return
	}
	switch {
	case t.kind == tokLit && !t.long:
		j.litLen = len(t.text)
	case (t.kind == tokWord || t.kind == tokName) && !t.long && !t.wild,
		t.kind == tokNumber && !t.long && (t.text[0] != '0' || len(t.text) == 1):
		j.litLen = copy(j.lit[:], t.text)
	default:
		j.judgeSet(nil, false)
		return
	}
	j.stage = stageSetValueEnd
}

// endSet closes a SET or RESET whose statement ends.
func (j *Judge) endSet() {
	switch {
	case j.stage == stageSetValueEnd:
		j.judgeSet(j.lit[:j.litLen], true)
	case j.clauses:
	case j.resetting && j.single && string(j.setting()) == "all":
		j.effects.ResetAll = true
	case j.resetting:
		j.effects.add(j.setting())
	case j.single && string(j.setting()) == "names":
		j.rename("client_encoding")
		j.effects.add(j.setting())
	}
}

// judgeSet judges a SET of a protected setting to value; known is false when the
// value cannot be told.
func (j *Judge) judgeSet(value []byte, known bool) {
	if !known {
		value = nil
	}
	if j.set == setContext && known && j.isOwn(j.setting(), value) {
		return
	}
	if r := parameterRule(j.set, value); r != "" {
		j.violate(r)
	}
}
