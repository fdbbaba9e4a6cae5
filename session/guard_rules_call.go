package session

// callee is a function that matters by its name.
type callee uint8

const (
	callNone       callee = iota
	callSetConfig         // set_config
	callDynamic           // runs SQL from a string
	callDynamicOne        // likewise, from its only argument
	callRewrite           // ts_rewrite: runs SQL when it has two arguments
	callSignal            // reaches other backends or the server
	callNotify            // pg_notify
	callObject            // large objects
)

// callees maps the names of such functions. A name counts in any schema, for what
// search_path finds is not known here.
var callees = map[string]callee{
	"set_config": callSetConfig,

	"query_to_xml": callDynamic, "query_to_xmlschema": callDynamic, "query_to_xml_and_xmlschema": callDynamic,
	"cursor_to_xml": callDynamic, "cursor_to_xmlschema": callDynamic,
	"table_to_xml": callDynamic, "table_to_xmlschema": callDynamic, "table_to_xml_and_xmlschema": callDynamic,
	"schema_to_xml": callDynamic, "schema_to_xmlschema": callDynamic, "schema_to_xml_and_xmlschema": callDynamic,
	"database_to_xml": callDynamic, "database_to_xmlschema": callDynamic, "database_to_xml_and_xmlschema": callDynamic,
	"ts_stat": callDynamicOne, "ts_rewrite": callRewrite,
	"crosstab": callDynamicOne, "crosstab2": callDynamicOne, "crosstab3": callDynamicOne, "crosstab4": callDynamicOne,
	"connectby": callDynamic, "xpath_table": callDynamic,
	"check_primary_key": callDynamic, "check_foreign_key": callDynamic,
	"dblink": callDynamicOne, "dblink_exec": callDynamicOne, "dblink_connect": callDynamicOne,
	"dblink_connect_u": callDynamicOne, "dblink_open": callDynamic, "dblink_send_query": callDynamic,

	"pg_terminate_backend": callSignal, "pg_cancel_backend": callSignal, "pg_reload_conf": callSignal,
	"pg_rotate_logfile": callSignal,

	"pg_notify": callNotify, "triggered_change_notification": callNotify,
	"lo_close": callObject, "lo_creat": callObject, "lo_create": callObject, "lo_export": callObject,
	"lo_from_bytea": callObject, "lo_get": callObject, "lo_import": callObject, "lo_lseek": callObject,
	"lo_lseek64": callObject, "lo_open": callObject, "lo_put": callObject, "lo_tell": callObject,
	"lo_tell64": callObject, "lo_truncate": callObject, "lo_truncate64": callObject, "lo_unlink": callObject,
	"loread": callObject, "lowrite": callObject, "lo_manage": callObject,
}

// The function of the seal that enters a context, with its schema. Without a key
// it has no power, and nobody but the proxy has a use for it.
const (
	sealSchema = "tenantgate"
	sealEntry  = "enter"
)

// pending is what a word of a body waits for.
type pending uint8

const (
	pendNone      pending = iota
	pendCall              // behind a name of callees: (
	pendUnicode           // behind U&"…": ( or UESCAPE
	pendEscape            // behind UESCAPE: its literal
	pendTarget            // behind UPDATE, INTO, CREATE TABLE: a name, perhaps with ONLY and a schema
	pendTargetDot         // behind a part of it
	pendTreat             // behind TREAT: (
	pendName              // behind set_config(: a literal
	pendNameEnd           // behind that: , or ::
	pendNameCast          // behind a colon there
	pendValue             // behind the comma: a literal
	pendValueEnd          // behind that: , or ::
	pendValueCast
	pendDump     // behind set_config(name: the rest of pg_dump's statement
	pendSeal     // behind the name of the seal's schema: a dot
	pendSealName // behind that: the name of a function
)

// bodyWord takes a name in the body of a statement.
func (j *Judge) bodyWord(t token) {
	if t.kind == tokUni {
		if j.prev == '.' || j.treating || j.viewing || j.ruling {
			j.violate(RuleContextUnicode)
		}
		if j.pending == pendNone {
			j.pending = pendUnicode
		}
		return
	}
	j.targeting = j.pending == pendTargetDot
	switch {
	case t.is("update"), t.is("into"):
		j.pending = pendTarget
		j.effects.Stirs = j.effects.Stirs || t.is("into") && !j.inserting // SELECT INTO
		return
	case t.is("treat"):
		j.pending = pendTreat
		return
	case t.is("set"):
		if j.clauses {
			j.beginSet(false)
		}
		return
	case t.is("create"):
		if j.creating && j.prev != '.' {
			j.stage = stageCreate
		}
		return
	case t.is("notify"):
		if j.ruling && j.prev != '.' {
			j.violate(RuleChannelsNotify)
		}
		return
	case (j.viewing || j.ruling) && string(t.text) == settingsView:
		// A view on it can be updated as it can.
		j.violate(RuleHiddenSettings)
		return
	}
	if string(t.text) == sealSchema {
		if j.pending == pendNone {
			j.pending = pendSeal
		}
		return
	}
	c, ok := callees[string(t.text)]
	if !ok || t.long {
		j.pin(pinWords[string(t.text)])
		return
	}
	// x.f calls f(x) for a function of one argument, and TREAT(x AS f) does.
	if (j.prev == '.' || j.treating) && c != callSetConfig && c != callRewrite {
		j.violate(callRule(c))
	}
	j.pending, j.callee = pendCall, c
	j.dumping = j.prev == 'S' && c == callSetConfig && t.kind == tokWord
}

// callRule returns the rule that a call violates whatever its arguments.
func callRule(c callee) Rule {
	switch c {
	case callSignal:
		return RuleRoleTerminate
	case callNotify:
		return RuleChannelsNotify
	case callObject:
		return RuleChannelsObject
	}
	return RuleHiddenDynamic
}

// await takes the token that a word of the body waits for.
func (j *Judge) await(t token) {
	p := j.pending
	j.pending = pendNone
	switch p {
	case pendCall:
		if t.isSym('(') {
			j.call()
			return
		}
		j.dumping = false
		j.resumeTarget(t)
	case pendTreat:
		j.treating = j.treating || t.isSym('(')
		j.resumeTarget(t)
	case pendUnicode:
		switch {
		case t.isSym('('):
			j.violate(RuleContextUnicode)
		case t.is("uescape"):
			j.pending = pendEscape
		}
	case pendEscape:
		if t.kind == tokLit || t.kind == tokOther {
			j.pending = pendUnicode
		}
	case pendTarget, pendTargetDot:
		j.awaitTarget(p, t)
	case pendName, pendNameEnd, pendNameCast:
		j.awaitName(p, t)
	case pendValue, pendValueEnd, pendValueCast:
		j.awaitValue(p, t)
	case pendDump:
		j.awaitDump(t)
	case pendSeal:
		if t.isSym('.') {
			j.pending = pendSealName
		}
	case pendSealName:
		if t.kind <= tokName && string(t.text) == sealEntry {
			j.violate(RuleContextCall)
		}
	}
}

// call takes the parenthesis that makes a name a call.
func (j *Judge) call() {
	switch j.callee {
	case callSetConfig:
		j.pending = pendName
		j.openConfig()
	case callRewrite:
		if j.calls == len(j.rewrite) {
			j.violate(RuleHiddenDynamic)
			return
		}
		// count, which comes next, counts this parenthesis.
		j.rewrite[j.calls] = rewriteCall{depth: j.depth + 1}
		j.calls++
	default:
		j.violate(callRule(j.callee))
	}
}

// rewriteCall is an open call of ts_rewrite.
type rewriteCall struct {
	depth  int // inside of its parentheses
	commas int // at that depth
}

// count follows the brackets and commas of open ts_rewrite calls.
func (j *Judge) count(t token) {
	if t.kind != tokSym {
		return
	}
	top := &j.rewrite[j.calls-1]
	switch t.sym {
	case '(', '[':
		j.depth++
	case ',':
		if j.depth == top.depth {
			top.commas++
		}
	case ')', ']':
		if j.depth == top.depth {
			if top.commas == 1 {
				j.violate(RuleHiddenDynamic)
			}
			j.calls--
		}
		j.depth--
	}
}

// awaitName reads the first argument of set_config. Only a plain literal with
// nothing around it, but for a cast that keeps it, is a name that is known.
func (j *Judge) awaitName(p pending, t token) {
	dumping := j.dumping
	j.dumping = false
	switch {
	case p == pendName && t.kind == tokLit && !t.long:
		j.nameLen, j.single, j.casting = copy(j.name[:], t.text), false, false
		j.pending = pendNameEnd
	case p == pendName && dumping && t.is("name"):
		j.pending, j.dumped = pendDump, 0
	case p == pendNameEnd && t.isSym(':'), p == pendNameCast && t.isSym(':'):
		j.pending = pendNameCast
	case p == pendNameCast && (t.is("text") || t.is("varchar")):
		j.casting = j.casting || t.is("text")
		j.pending = pendNameEnd
	case p == pendNameEnd && t.isSym(','):
		if j.casting && j.hidesName() {
			j.violate(RuleHiddenName)
		}
		j.set = j.guard.setKind(j.setting())
		j.leaves(j.setting())
		j.config.own = j.ownsSetting()
		if !j.casting && !j.storing && !j.ruling && j.set != setContext {
			j.config.follows = ordinaryPlaces[string(j.setting())]
		}
		if j.set != setFree {
			j.pending = pendValue
		}
	default:
		j.violate(RuleHiddenName)
	}
}

// hidesName reports whether the name begins with that of a protected setting.
// Unlike varchar, text is no key word: a domain called so, which is found before
// the built-in type when it is a temporary one, may cut what is cast to it.
func (j *Judge) hidesName() bool {
	name := j.setting()
	for n := 1; n < len(name); n++ {
		if j.guard.setKind(name[:n]) != setFree {
			return true
		}
	}
	return false
}
