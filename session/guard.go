package session

// GuardMode says what becomes of a statement that violates a rule group.
type GuardMode string

// The modes of a rule group. "auto" is resolved before a Guard is made.
const (
	GuardEnforce GuardMode = "enforce" // refuse the statement
	GuardLog     GuardMode = "log"     // let it through and report it
	GuardOff     GuardMode = "off"
)

// GuardConfig is the mode of each rule group and the names they protect. An
// empty mode is off.
type GuardConfig struct {
	Context    GuardMode // naming a reserved setting
	HiddenSQL  GuardMode // SQL that the guard cannot see or read
	SharedRole GuardMode // what reaches the other users of the backend's role
	Channels   GuardMode // what knows no tenant: notifications, large objects
	// HiddenSealed is HiddenSQL where the database is sealed whole, so that what
	// cannot be seen cannot forge a context either.
	HiddenSealed GuardMode
	// Reserved holds the context's settings, lower case ASCII. Every setting
	// that begins with "tenantgate." is reserved besides.
	Reserved []string
}

// Sealed is the configuration for databases that are sealed whole.
func (c GuardConfig) Sealed() GuardConfig {
	c.HiddenSQL = c.HiddenSealed
	return c
}

// Guard holds the compiled rules. It is immutable and shared by all sessions.
//
// It is a filter and never the boundary between tenants: what a function of the
// application does with the text that it is given, no reader of statements sees.
type Guard struct {
	modes    [groupCount]GuardMode
	reserved []string
}

// NewGuard compiles the rules.
func NewGuard(c GuardConfig) *Guard {
	g := &Guard{reserved: append([]string(nil), c.Reserved...)}
	g.modes[groupContext] = c.Context
	g.modes[groupHidden] = c.HiddenSQL
	g.modes[groupRole] = c.SharedRole
	g.modes[groupChannels] = c.Channels
	for _, m := range []GuardMode{GuardLog, GuardEnforce} {
		for _, have := range g.modes {
			if have == m {
				g.modes[groupAny] = m
			}
		}
	}
	return g
}

// Verdict is what the guard makes of one statement string.
type Verdict struct {
	Rule    Rule      // the first rule violated, an enforced one before a logged one; "": none
	Mode    GuardMode // GuardEnforce or GuardLog for that rule; "" without one
	Effects Effects
	// Bindings are what the statement passes for, at most: parameters that give a
	// setting of the context its value. Who cannot hold the client to them must
	// refuse the statement with RuleContextCall.
	Bindings [maxBindings]Binding
}

// Bounds of the parameters that are followed.
const (
	maxBindings = 4
	maxParam    = 63
)

// Binding says that a parameter must be bound to the very value that the session
// itself has given to a setting.
type Binding struct {
	Param   uint8 // the n of $n; 0: none
	Setting uint8 // index in GuardConfig.Reserved
}

// Bound reports whether the statement passes for what is bound to its parameters.
func (v *Verdict) Bound() bool { return v.Bindings[0].Param != 0 }

// Effects says what a statement string does to the session's settings and
// prepared statements, whatever the modes of the guard. SQL inside of strings is
// not seen.
type Effects struct {
	ResetAll      bool       // RESET ALL or DISCARD ALL
	ResetUnknown  bool       // a reset whose name cannot be told, or more resets than Resets holds
	Discard       bool       // DISCARD ALL: prepared statements and temporary tables go too
	DeallocateAll bool       // DEALLOCATE ALL
	Execute       bool       // a statement in which an EXECUTE may stand
	Sets          settingSet // ordinary settings that it sets or resets for the session
	Stirs         bool       // another session must not get the backend before it is reset
	Pin           Pin        // the first kind of state that outlives the transaction
	Resets        [4]string  // settings reset singly, lower case, in order; "": no more
}

// Any reports whether any setting is reset.
func (e *Effects) Any() bool { return e.ResetAll || e.ResetUnknown || e.Resets[0] != "" }

// add notes that the setting of that name goes back to its default.
func (e *Effects) add(name []byte) {
	e.Sets = e.Sets.or(ordinaryPlaces[string(name)])
	for i := range e.Resets {
		if e.Resets[i] == string(name) {
			return
		}
		if e.Resets[i] == "" {
			e.Resets[i] = string(name)
			return
		}
	}
	e.ResetUnknown = true
}

// Judge reads one statement string of a client, which may hold several
// statements, and says what the guard makes of it. It takes the bytes in pieces
// of any size, holds a bounded part of them and does not allocate except to name
// a setting that is reset. A Judge is reusable: Begin starts the next string. It
// is not safe for concurrent use.
type Judge struct {
	lexer
	guard *Guard
	own   func(setting string) (value string)

	rule    Rule
	mode    GuardMode
	effects Effects

	listening uint64  // all bits: every token goes through token; 0: only words of wordMask and ;
	prev      byte    // the token before: 'a' a word, '0' a number, '\'' a literal, 'S' the SELECT that a string begins with, else itself
	stage     stage   // of the statement
	pending   pending // what a function's name or UPDATE waits for

	rolled    Rule // the rule of CREATE, ALTER or DROP, should USER not be followed by MAPPING FOR
	viewing   bool // CREATE VIEW, CREATE RULE or ALTER: pg_settings may get another name
	storing   bool // CREATE or ALTER: what is stored may run in the session of another tenant
	ruling    bool // CREATE RULE stands in the string: a ; in it may be part of it
	creating  bool // CREATE may follow within the statement
	treating  bool // TREAT( was read: the name of a type may be one of a function
	clauses   bool // SET clauses may follow: CREATE FUNCTION, ALTER ROLE and their kin
	resetting bool // RESET rather than SET
	scoped    bool // SESSION or LOCAL was read
	single    bool // the name is one unquoted word
	nameLen   int
	name      [maxLiteral]byte
	set       setKind // of the name

	scope     setScope   // of the SET at hand
	follows   settingSet // what it sets, if that is followed
	wild      bool       // its name may be another one
	config    configCall
	inserting bool // the statement begins with INSERT or MERGE: INTO makes no table
	declaring bool // DECLARE was read, and FOR not yet
	with      bool // there, behind WITH

	callee    callee
	depth     int // of brackets, while calls is not 0
	calls     int // open calls of ts_rewrite
	rewrite   [4]rewriteCall
	targeting bool   // it may be a part of the name that pendTarget waits for
	casting   bool   // the name that set_config gets is cast to text
	first     bool   // no token was read yet
	dumping   bool   // the string begins with SELECT set_config
	dumped    int    // of dumpTokens
	alone     bool   // all of pg_dump's statement was read: nothing may follow
	selecting bool   // the statement at hand is the first of the string, and a SELECT
	valued    uint8  // the parameter that is the value for set_config; 0: a literal is
	params    uint64 // bit n: $n was read
	repeated  uint64 // bit n: more than once
	oddParam  bool   // a parameter was read that has no bit
	bindings  [maxBindings]Binding
	fold      [maxIdent]byte
}

// Begin starts a statement string. conforming is standard_conforming_strings as
// it is in force on the backend when the string gets there. own says which value
// the session itself has given to a reserved setting; setting it to just that is
// allowed. A nil own knows none.
func (j *Judge) Begin(g *Guard, conforming bool, own func(setting string) (value string)) {
	j.guard, j.own = g, own
	j.rule, j.mode, j.effects = "", "", Effects{}
	j.state, j.escapes = lexBase, !conforming
	j.pending, j.calls, j.depth, j.prev = pendNone, 0, 0, ';'
	j.ruling, j.dumping, j.alone, j.selecting = false, false, false, false
	j.config = configCall{}
	j.params, j.repeated, j.oddParam, j.bindings = 0, 0, false, [maxBindings]Binding{}
	j.restart()
	j.first = true
}

// Refused returns the rule that refuses the statement by what has been fed so
// far, or "". Once it is not empty it stays.
func (j *Judge) Refused() Rule {
	if j.mode == GuardEnforce {
		return j.rule
	}
	return ""
}

// End closes the string and gives the verdict on it.
func (j *Judge) End() Verdict {
	j.finish()
	return Verdict{Rule: j.rule, Mode: j.mode, Effects: j.effects, Bindings: j.bindings}
}

// finish ends the token and the statement at hand.
func (j *Judge) finish() {
	if j.state == lexDone {
		return
	}
	for j.state != lexBase {
		j.flush()
	}
	j.token(token{kind: tokEnd})
	j.closeBindings()
}

// unreadable gives up on a statement that the bounds of the lexer do not hold.
// The rest is not read, so anything may be reset there.
func (j *Judge) unreadable() {
	j.violate(RuleUnreadable)
	j.effects.ResetAll, j.effects.ResetUnknown = true, true
	j.pin(PinUnknown)
	j.state = lexDone
}

// violate notes a violation. The first of the strictest mode stays. What hides what
// it does pins whatever the mode is.
func (j *Judge) violate(r Rule) {
	if r.group() == groupHidden {
		j.pin(PinUnknown)
	}
	if j.guard == nil {
		return
	}
	switch m := j.guard.modes[r.group()]; {
	case m != GuardEnforce && m != GuardLog:
	case j.rule == "", m == GuardEnforce && j.mode == GuardLog:
		j.rule, j.mode = r, m
	}
}
