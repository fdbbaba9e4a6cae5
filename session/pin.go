package session

import "bytes"

// Pin is a kind of state that a statement leaves in the session behind its
// transaction. A client that has any keeps its backend, because no other one has it.
type Pin uint8

// The kinds, the empty one first.
const (
	PinNone     Pin = iota
	PinSet          // SET of what is not followed, set_config likewise if it is not local to the transaction, setseed
	PinListen       // LISTEN
	PinTemp         // temporary tables and all else in pg_temp
	PinLock         // advisory locks of the session
	PinPrepare      // SQL's PREPARE
	PinNamed        // a prepared statement of the protocol that has a name
	PinCursor       // DECLARE … WITH HOLD
	PinSequence     // currval, lastval
	PinLoad         // LOAD
	PinUnknown      // what cannot be read, or hides what it does: DO, SQL in strings
	pinCount
)

// pinNames are the labels of Pins: a closed set.
var pinNames = [pinCount]string{
	"", "set", "listen", "temporary", "advisory_lock", "prepare", "named_statement", "cursor_with_hold", "sequence", "load", "unknown",
}

// String returns the word that logs and metrics show; empty for PinNone.
func (p Pin) String() string { return pinNames[p] }

// Pins lists all kinds but PinNone.
func Pins() (all []Pin) {
	for p := PinNone + 1; p < pinCount; p++ {
		all = append(all, p)
	}
	return all
}

// pinWords are names that mean state of the session wherever they stand in the
// body of a statement: most are functions.
var pinWords = map[string]Pin{
	"pg_advisory_lock": PinLock, "pg_advisory_lock_shared": PinLock,
	"pg_try_advisory_lock": PinLock, "pg_try_advisory_lock_shared": PinLock,
	"pg_temp": PinTemp, "currval": PinSequence, "lastval": PinSequence, "setseed": PinSet,
}

// pin notes a kind of state. The first one of the string stays.
func (j *Judge) pin(p Pin) {
	if j.effects.Pin == PinNone {
		j.effects.Pin = p
	}
}

// configCall follows the arguments of a set_config, of which only the third says
// whether the setting outlives the transaction.
type configCall struct {
	on      bool
	own     bool       // of a setting that the guard holds to the session's own value
	follows settingSet // the setting, if it is followed
	local   bool       // the third argument is the word true
	depth   int        // of brackets inside of the call
	commas  int        // at its own depth
	words   int        // tokens of the third argument
}

// openConfig begins to follow a set_config. Within another one neither is told apart.
func (j *Judge) openConfig() {
	if j.config.on {
		j.pin(PinSet)
	}
	j.config = configCall{on: true, depth: -1} // its own bracket is counted next
}

// followConfig takes a token of a set_config's arguments.
func (j *Judge) followConfig(t token) {
	c := &j.config
	if t.kind == tokEnd {
		c.on = false
		j.pin(PinSet)
		return
	}
	switch {
	case t.isSym('('), t.isSym('['):
		c.depth++
		if c.depth == 0 {
			return
		}
	case (t.isSym(')') || t.isSym(']')) && c.depth == 0:
		c.on = false
		switch {
		case c.own:
		case c.commas == 2 && c.local && c.words == 1:
			j.passing(c.follows)
		default:
			j.outlives(c.follows)
		}
		return
	case t.isSym(')'), t.isSym(']'):
		c.depth--
	case t.isSym(',') && c.depth == 0:
		c.commas++
		return
	}
	if c.commas == 2 {
		c.local = t.is("true")
		c.words++
	}
}

// ownsSetting reports that the setting which is set is one of the context, and that
// the guard lets only the value pass that it has.
func (j *Judge) ownsSetting() bool {
	return j.set == setContext && j.guard != nil && j.guard.modes[groupContext] == GuardEnforce
}

// tempSchema is what the names of the schema with the temporary objects begin with:
// the alias, and the real ones behind it, pg_temp_3 for instance.
const tempSchema = "pg_temp"

// leavesNothing says that a statement which begins with t leaves nothing in the
// session that was not there before, but for what pins and what the functions do that
// it calls. CREATE is not among them: on a search_path that is set for a transaction
// it makes a temporary object.
func leavesNothing(t token) bool {
	if t.kind != tokWord || t.wild {
		return t.isSym('(') // of a SELECT
	}
	switch string(t.text) {
	case "select", "values", "table", "with", "insert", "update", "delete", "merge",
		"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release",
		"show", "copy", "lock", "declare", "fetch", "move", "close", "notify", "set",
		"truncate", "analyze", "vacuum", "comment", "refresh":
		return true
	}
	return false
}

// leaves notes what setting that name leaves even if it is for the transaction only:
// seed is not put back at its end, and what is made where search_path leads stays.
func (j *Judge) leaves(setting []byte) {
	switch string(setting) {
	case "seed":
		j.pin(PinSet)
	case "search_path", "schema":
		j.effects.Stirs = true
	}
}

// followPins takes every token that the guard listens to, for what only pins.
func (j *Judge) followPins(t token) {
	if j.config.on {
		j.followConfig(t)
	}
	if j.scope != setNothing {
		j.followSet(t)
	}
	if t.kind > tokUni {
		return
	}
	if t.kind == tokUni {
		j.pin(PinUnknown)
		return
	}
	if len(t.text) >= len(tempSchema) && string(t.text[:len(tempSchema)]) == tempSchema {
		j.pin(PinTemp)
	}
	if j.declaring {
		if t.is("hold") && j.with {
			j.pin(PinCursor)
		}
		j.with = t.is("with")
		j.declaring = !t.is("for")
	}
}

// setScope is how much is known of whether a SET outlives its transaction.
type setScope uint8

const (
	setNothing setScope = iota
	setFirst            // the word behind SET is next
	setLocal            // behind SET LOCAL: unless it is the name of a setting
	setClause           // behind SET TRANSACTION and SET CONSTRAINTS: likewise
	setLasting          // it does, unless the setting is the session's own
)

// followSet takes a token of a SET statement.
func (j *Judge) followSet(t token) {
	switch j.scope {
	case setFirst:
		switch {
		case t.is("local"):
			j.scope = setLocal
		case t.is("transaction"), t.is("constraints"):
			j.scope = setClause
		default:
			j.scope = setLasting
		}
	case setLocal, setClause:
		j.scope = setNothing
		if t.kind == tokEnd || t.isSym('.') || t.isSym('=') || t.is("to") {
			j.pin(PinSet)
		}
	case setLasting:
		if t.kind == tokEnd {
			j.scope = setNothing
			if !j.ownsSetting() {
				j.outlives(j.follows)
			}
		} else if t.is("deferrable") {
			j.follows = settingSet{}
		}
	case setNothing:
	}
}

// followName notes the name of the setting that a SET is about: if it outlives the
// transaction, can be followed and is no other one, or if statements are read by it.
func (j *Judge) followName(name []byte) {
	switch s := ordinaryPlaces[string(name)]; {
	case j.scope == setLasting && !j.wild && !j.clauses && j.set != setContext:
		j.follows = j.follows.or(s)
	case j.scope == setNothing && !j.clauses:
		j.passing(s)
	}
}

// passing notes that settings are set until the transaction ends. What is planned
// meanwhile may have evaluated functions by them, and is kept in prepared statements.
func (j *Judge) passing(s settingSet) {
	if s.has(settingsReading) {
		j.effects.Sets = j.effects.Sets.or(settingsLocal)
		j.effects.Stirs = true
	}
}

// outlives notes that settings are set for the session: those that are followed need
// not keep the backend.
func (j *Judge) outlives(s settingSet) {
	if s.none() {
		j.pin(PinSet)
		return
	}
	j.effects.Sets = j.effects.Sets.or(s)
}

// madeThere notes that the literal may lead to where temporary objects are made.
func (j *Judge) madeThere(t token) {
	if t.kind == tokLit && bytes.Contains(t.text, []byte(tempSchema)) {
		j.pin(PinTemp)
	}
}
