package session

// settingsView is the view whose rows can be updated to set what they show.
const settingsView = "pg_settings"

// awaitTarget looks for the view that sets what its rows show, behind UPDATE,
// INTO and what creates a relation, with any number of name parts.
func (j *Judge) awaitTarget(p pending, t token) {
	switch {
	case p == pendTargetDot:
		if t.isSym('.') {
			j.pending = pendTarget
		}
	case t.kind == tokUni, t.kind <= tokName && string(t.text) == settingsView:
		j.pin(PinSet)
		j.violate(RuleHiddenSettings)
	case t.isSym('('), t.isSym('.'), t.kind == tokWord && beforeTarget(string(t.text)):
		j.pending = pendTarget
		if t.is("temp") || t.is("temporary") { // SELECT INTO TEMP
			j.pin(PinTemp)
		}
	case t.kind <= tokName:
		j.pending = pendTargetDot
	}
}

// resumeTarget reads on in a target's name behind a part of it that is also the
// name of a function, or TREAT.
func (j *Judge) resumeTarget(t token) {
	if j.targeting && t.isSym('.') {
		j.pending = pendTarget
	}
}

// beforeTarget tells the key words that may stand in front of a target's name.
func beforeTarget(word string) bool {
	switch word {
	case "only", "into", "from", "table", "temp", "temporary", "unlogged", "local", "global", "if", "not", "exists":
		return true
	}
	return false
}

// dumpTokens are what follows SELECT set_config(name in a statement of pg_dump:
// the one use of a column as the name that is allowed, and only as the whole of a
// string. The literals of both ends are pg_dump's own: should another relation
// pass for pg_settings, no tenant could be set to what they say. \' stands for a
// literal.
var dumpTokens = [...]string{",", "'", ",", "false", ")", "from", settingsView, "where", "name", "=", "'"}

// dumpSetting is the literal at their end.
const dumpSetting = "restrict_nonsystem_relation_kind"

// awaitDump follows dumpTokens, behind which the statement must end.
func (j *Judge) awaitDump(t token) {
	at := j.dumped
	j.dumped++
	switch {
	case at == len(dumpTokens) && t.kind == tokEnd:
		j.alone = true
		return
	case at == len(dumpTokens):
	case dumpTokens[at] == "'":
		if t.kind == tokLit && !t.long && isDumpLiteral(at, string(t.text)) {
			j.pending = pendDump
		}
	case t.is(dumpTokens[at]), t.isSym(dumpTokens[at][0]):
		j.pending = pendDump
	}
	if j.pending != pendDump {
		j.violate(RuleHiddenName)
	}
}

// isDumpLiteral reports whether pg_dump has that literal at that place of
// dumpTokens.
func isDumpLiteral(at int, text string) bool {
	if at == len(dumpTokens)-1 {
		return text == dumpSetting
	}
	return text == "view, foreign-table" || text == "view"
}
