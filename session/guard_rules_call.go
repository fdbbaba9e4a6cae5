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
	"dblink": callDynamicOne, "dblink_exec": callDynamicOne, "dblink_connect": callDynamicOne,
	"dblink_connect_u": callDynamicOne, "dblink_open": callDynamic, "dblink_send_query": callDynamic,

	"pg_terminate_backend": callSignal, "pg_cancel_backend": callSignal, "pg_reload_conf": callSignal,

	"pg_notify": callNotify,
	"lo_close":  callObject, "lo_creat": callObject, "lo_create": callObject, "lo_export": callObject,
	"lo_from_bytea": callObject, "lo_get": callObject, "lo_import": callObject, "lo_lseek": callObject,
	"lo_lseek64": callObject, "lo_open": callObject, "lo_put": callObject, "lo_tell": callObject,
	"lo_tell64": callObject, "lo_truncate": callObject, "lo_truncate64": callObject, "lo_unlink": callObject,
	"loread": callObject, "lowrite": callObject,
}

// pending is what a word of a body waits for.
type pending uint8

const (
	pendNone     pending = iota
	pendCall             // behind a name of callees: (
	pendUnicode          // behind U&"…": ( or UESCAPE
	pendEscape           // behind UESCAPE: its literal
	pendUpdate           // behind UPDATE: pg_settings, perhaps with ONLY and a schema
	pendName             // behind set_config(: a literal
	pendNameEnd          // behind that: , or ::
	pendNameCast         // behind a colon there
	pendValue            // behind the comma: a literal
	pendValueEnd         // behind that: , or ::
	pendValueCast
	pendDump // behind set_config(name: the rest of pg_dump's statement
)

// dumpTokens are what follows set_config(name in a statement of pg_dump: the one
// use of a column as the name that is known to be harmless, because the WHERE
// clause says what the column holds. ' stands for a literal.
var dumpTokens = [...]string{",", "'", ",", "false", ")", "from", "pg_settings", "where", "name", "=", "'"}

// dumpSetting is the literal at their end.
const dumpSetting = "restrict_nonsystem_relation_kind"

// bodyWord takes a name in the body of a statement.
func (j *Judge) bodyWord(t token) {
	if t.kind == tokUni {
		if j.prev == 'D' {
			j.violate(RuleContextUnicode)
		}
		if j.pending == pendNone {
			j.pending = pendUnicode
		}
		return
	}
	switch {
	case t.is("update"):
		j.pending = pendUpdate
		return
	case t.is("set"):
		if j.clauses {
			j.beginSet(false)
		}
		return
	case j.viewing && string(t.text) == "pg_settings":
		// A view on it can be updated as it can.
		j.violate(RuleHiddenSettings)
		return
	}
	c, ok := callees[string(t.text)]
	if !ok || t.long {
		return
	}
	// (x).f and $1.f call f(x), without parentheses of their own.
	if j.prev == 'D' && c != callSetConfig {
		j.violate(callRule(c))
	}
	j.pending, j.callee = pendCall, c
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
		}
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
	case pendUpdate:
		j.awaitUpdate(t)
	case pendName, pendNameEnd, pendNameCast:
		j.awaitName(p, t)
	case pendValue, pendValueEnd, pendValueCast:
		j.awaitValue(p, t)
	case pendDump:
		j.awaitDump(t)
	}
}

// awaitDump follows dumpTokens, behind which the statement must end.
func (j *Judge) awaitDump(t token) {
	at := j.dumped
	j.dumped++
	switch {
	case at == len(dumpTokens) && t.kind == tokEnd:
		return
	case at == len(dumpTokens):
	case dumpTokens[at] == "'":
		if t.kind == tokLit && (at < len(dumpTokens)-1 || string(t.text) == dumpSetting) {
			j.pending = pendDump
		}
	case t.is(dumpTokens[at]), t.isSym(dumpTokens[at][0]):
		j.pending = pendDump
	}
	if j.pending != pendDump {
		j.violate(RuleHiddenName)
	}
}

// awaitUpdate looks for the view that sets what its rows show.
func (j *Judge) awaitUpdate(t token) {
	switch {
	case t.kind == tokUni:
		j.violate(RuleHiddenSettings)
	case t.kind == tokSym && t.sym != '.':
	case t.kind > tokUni && t.kind != tokSym:
	case string(t.text) == "pg_settings":
		j.violate(RuleHiddenSettings)
	case t.is("only"), t.isSym('.'), string(t.text) == "pg_catalog":
		j.pending = pendUpdate
	}
}

// call takes the parenthesis that makes a name a call.
func (j *Judge) call() {
	switch j.callee {
	case callSetConfig:
		j.pending = pendName
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
	switch {
	case p == pendName && t.kind == tokLit && !t.long:
		j.nameLen, j.single = copy(j.name[:], t.text), false
		j.pending = pendNameEnd
	case p == pendName && t.is("name"):
		j.pending, j.dumped = pendDump, 0
	case p == pendNameEnd && t.isSym(':'), p == pendNameCast && t.isSym(':'):
		j.pending = pendNameCast
	case p == pendNameCast && (t.is("text") || t.is("varchar")):
		j.pending = pendNameEnd
	case p == pendNameEnd && t.isSym(','):
		j.set = j.guard.setKind(j.setting())
		if j.set != setFree {
			j.pending = pendValue
		}
	default:
		j.violate(RuleHiddenName)
	}
}

// awaitValue reads the second argument of set_config for a protected setting.
func (j *Judge) awaitValue(p pending, t token) {
	switch {
	case p == pendValue && t.kind == tokLit && !t.long:
		j.litLen = len(t.text)
		j.pending = pendValueEnd
	case p == pendValueEnd && t.isSym(':'), p == pendValueCast && t.isSym(':'):
		j.pending = pendValueCast
	case p == pendValueCast && (t.is("text") || t.is("varchar")):
		j.pending = pendValueEnd
	case p == pendValueEnd && t.isSym(','):
		j.judgeCall(j.lit[:j.litLen])
	default:
		j.judgeCall(nil)
	}
}

// judgeCall judges set_config of a protected setting; a nil value is unknown.
func (j *Judge) judgeCall(value []byte) {
	switch {
	case j.set == setContext && value != nil && j.isOwn(j.setting(), value):
	case j.set == setContext, j.set == setSeal:
		j.violate(RuleContextCall)
	default:
		if r := parameterRule(j.set, value); r != "" {
			j.violate(r)
		}
	}
}
