//go:build oracle

package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// node is a part of a parse tree: fields by name, each a node, a list or a value.
type node = map[string]any

// inspector collects what the guard must refuse of a statement string, or tell of it, by PostgreSQL's
// parse tree.
type inspector struct {
	verdict Verdict
	dumping bool // it is the statement of pg_dump that is allowed a computed name
	wrong   []string

	clause  bool // inside of a statement that has SET as a clause
	storing bool // inside of one that stores what may run in another session
	viewing bool // inside of a view or a rule
}

func (x *inspector) found(format string, args ...any) {
	x.wrong = append(x.wrong, fmt.Sprintf(format, args...))
}

// forbidden are the statements that are refused whatever they say. An empty field is any.
var forbidden = map[string]string{
	"DoStmt": "", "CreateFunctionStmt": "", "CreateExtensionStmt": "", "CreatePLangStmt": "", "LoadStmt": "", "CreateCastStmt": "",
	"AlterRoleStmt": "", "AlterRoleSetStmt": "", "CreateRoleStmt": "", "DropRoleStmt": "", "DropOwnedStmt": "", "ReassignOwnedStmt": "",
	"AlterDatabaseStmt": "", "AlterDatabaseSetStmt": "", "AlterSystemStmt": "", "ListenStmt": "", "NotifyStmt": "", "UnlistenStmt": "conditionname",
}

// walk looks at a node and what is below.
func (x *inspector) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			x.walk(e)
		}
	case node:
		for name, below := range v {
			was := *x
			if n, ok := below.(node); ok {
				x.enter(name, n)
			}
			x.walk(below)
			x.clause, x.storing, x.viewing = was.clause, was.storing, was.viewing
		}
	}
}

// enter judges a node of that name.
func (x *inspector) enter(name string, n node) {
	if field, ok := forbidden[name]; ok && (field == "" || n[field] != nil) {
		x.found("%s", name)
	}
	x.storing = x.storing || strings.HasPrefix(name, "Create") || strings.HasPrefix(name, "Alter") || name == "ViewStmt" || name == "RuleStmt"
	x.clause = x.clause || strings.HasPrefix(name, "Alter") || name == "CreateFunctionStmt"
	x.viewing = x.viewing || name == "ViewStmt" || name == "RuleStmt"
	switch name {
	case "VariableSetStmt":
		x.set(n)
	case "DiscardStmt":
		if n["target"] == "DISCARD_ALL" && !(x.verdict.Effects.ResetAll && x.verdict.Effects.Discard && x.verdict.Effects.DeallocateAll) {
			x.found("DISCARD ALL without its effects")
		}
	case "ExecuteStmt":
		if !x.verdict.Effects.Execute {
			x.found("EXECUTE without its effect")
		}
	case "TransactionStmt":
		if kind, _ := n["kind"].(string); strings.Contains(kind, "PREPARE") {
			x.found("%s", kind)
		}
	case "DefineStmt":
		if n["kind"] == "OBJECT_AGGREGATE" || n["kind"] == "OBJECT_OPERATOR" {
			x.found("DefineStmt of %v", n["kind"])
		}
	case "RenameStmt":
		if n["renameType"] == "OBJECT_ROLE" || n["renameType"] == "OBJECT_DATABASE" || n["newname"] == settingsView {
			x.found("RenameStmt of %v to %v", n["renameType"], n["newname"])
		}
	case "FuncCall":
		x.call(n)
	case "ColumnRef":
		x.field(n["fields"], 2)
	case "A_Indirection":
		x.field(n["indirection"], 1)
	case "RangeVar":
		if n["relname"] == settingsView && x.viewing {
			x.found("%s in a view or rule", settingsView)
		}
	case "UpdateStmt", "InsertStmt", "DeleteStmt", "MergeStmt", "CreateStmt", "ViewStmt", "into", "intoClause":
		x.target(n)
	}
}

// target judges the relation that a statement writes to or makes.
func (x *inspector) target(n node) {
	for _, field := range []string{"relation", "rel", "view"} {
		if r, ok := n[field].(node); ok && r["relname"] == settingsView {
			x.found("%s is written to", settingsView)
		}
	}
}

// set judges SET and RESET.
func (x *inspector) set(n node) {
	name, _ := n["name"].(string)
	name = string(foldName([]byte(name)))
	kind, e := testGuard.setKind([]byte(name)), &x.verdict.Effects
	reset := e.ResetAll || e.ResetUnknown
	switch n["kind"] {
	case "VAR_RESET_ALL":
		if !reset && !x.clause {
			x.found("RESET ALL without its effect")
		}
		return
	case "VAR_RESET", "VAR_SET_DEFAULT":
		if !reset && !e.resets(name) && !x.clause {
			x.found("RESET %s without its effect", name)
		}
		if !x.clause {
			return
		}
	case "VAR_SET_VALUE", "VAR_SET_CURRENT":
	default:
		return
	}
	if kind == setFree || n["kind"] == "VAR_SET_CURRENT" && !x.clause {
		return
	}
	if x.clause {
		if n["kind"] != "VAR_RESET" && n["kind"] != "VAR_SET_DEFAULT" {
			x.found("a clause that sets %s", name)
		}
		return
	}
	args, _ := n["args"].([]any)
	value, known := "", false
	if len(args) == 1 {
		value, known = constant(args[0])
	}
	x.judge(kind, name, value, known)
}

// judge judges that a setting is set; known is false for a value that is not a constant.
func (x *inspector) judge(kind setKind, name, value string, known bool) {
	switch {
	case kind == setFree, kind == setContext && known && value == testOwn(name):
	case kind == setContext, kind == setSeal, !known, parameterRule(kind, []byte(value)) != "":
		x.found("%s is set to %q (%v)", name, value, known)
	}
}

// constant reads a constant as SET takes it.
func constant(v any) (string, bool) {
	n, _ := v.(node)
	c, ok := n["A_Const"].(node)
	if !ok {
		return "", false
	}
	for _, field := range []string{"sval", "fval"} {
		if s, ok := c[field].(node); ok {
			text, _ := s[field].(string)
			return text, true
		}
	}
	if i, ok := c["ival"].(node); ok {
		number, _ := i["ival"].(float64)
		return fmt.Sprint(int(number)), true
	}
	return "", false
}

// last returns the last of a list of names.
func last(v any) string {
	list, _ := v.([]any)
	if len(list) == 0 {
		return ""
	}
	n, _ := list[len(list)-1].(node)
	s, _ := n["String"].(node)
	name, _ := s["sval"].(string)
	return name
}

// call judges a function call.
func (x *inspector) call(n node) {
	name := last(n["funcname"])
	c, ok := callees[name]
	args, _ := n["args"].([]any)
	switch {
	case !ok:
	case c == callRewrite:
		if len(args) == 2 {
			x.found("ts_rewrite of two arguments")
		}
	case c != callSetConfig:
		x.found("%s()", name)
	default:
		x.setConfig(args)
	}
}

// setConfig judges a call of set_config. What is not called with its three arguments fails.
func (x *inspector) setConfig(args []any) {
	if x.dumping || len(args) != 3 {
		return
	}
	name, known := constant(uncast(args[0]))
	if !known {
		x.found("set_config of a computed name")
		return
	}
	name = string(foldName([]byte(name)))
	kind := testGuard.setKind([]byte(name))
	if kind == setContext && x.storing {
		x.found("set_config of %s is stored", name)
		return
	}
	value := uncast(args[1])
	if p, ok := value.(node)["ParamRef"].(node); ok && kind == setContext {
		number, _ := p["number"].(float64)
		if !slices.Contains(x.verdict.bindings(), Binding{Param: uint8(number), Setting: uint8(slices.Index(testGuard.reserved, name))}) {
			x.found("set_config of %s to a parameter that is not bound", name)
		}
		return
	}
	text, known := constant(value)
	x.judge(kind, name, text, known)
}

// uncast takes the casts off that keep a value, as far as the guard says so.
func uncast(v any) any {
	for {
		n, _ := v.(node)
		cast, ok := n["TypeCast"].(node)
		if !ok {
			return v
		}
		typeName, _ := cast["typeName"].(node)
		if name := last(typeName["names"]); typeName["typmods"] != nil || name != "text" && name != "varchar" {
			return v
		}
		v = cast["arg"]
	}
}

// field judges x.f, which calls f(x), when there are at least so many names.
func (x *inspector) field(v any, least int) {
	list, _ := v.([]any)
	if c, ok := callees[last(v)]; ok && len(list) >= least && c != callSetConfig && c != callRewrite {
		x.found(".%s", last(v))
	}
}

// inspect returns what is wrong with the verdict on sql by its parse tree.
func inspect(sql string, v Verdict, a *oracleAnswer) []string {
	x := &inspector{verdict: v, dumping: slices.Contains(dumpStatements, strings.TrimRight(sql, "; -x\n"))}
	for _, s := range a.Tree.Stmts {
		x.walk(s.Stmt)
	}
	return x.wrong
}

// dumpStatements are the statements of pg_dump in which set_config gets a column.
var dumpStatements = []string{
	`SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`,
	`SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`,
}

// TestWhatTheGuardPassesSetsNothingReserved judges the guard's verdicts by PostgreSQL's parse trees.
func TestWhatTheGuardPassesSetsNothingReserved(t *testing.T) {
	o := newOracle(t)
	corpus := oracleCorpus(t)
	own := len(corpus)
	all := append(corpus, mutants(corpus, 300_000)...)
	all = append(all, spellings(200_000)...)
	parsed, passed, justified := 0, 0, 0
	unfounded := map[Rule][]string{}
	n := 0
	o.ask(all, func(sql string, a *oracleAnswer) {
		n++
		if a.ParseError != "" {
			return
		}
		parsed++
		v := judge(strictGuard, sql, true, len(sql)+1)
		wrong := inspect(sql, v, a)
		switch {
		case v.Rule == "" && len(wrong) > 0:
			t.Errorf("%q passed: %s", sql, strings.Join(wrong, ", "))
		case v.Rule == "":
			passed++
		case len(wrong) > 0:
			justified++
		case n <= own && len(sql) < 300:
			unfounded[v.Rule] = append(unfounded[v.Rule], sql)
		}
	})
	t.Logf("%d of %d strings parse: %d pass, %d are refused for what the tree shows", parsed, len(all), passed, justified)
	for rule, list := range unfounded {
		t.Logf("%s refuses %d strings of the corpus in which the tree shows nothing, such as %q", rule, len(list), list[:min(len(list), 40)])
	}
	if passed < 10_000 || justified < 5_000 {
		t.Error("too few strings were judged")
	}
}
