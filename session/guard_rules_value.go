package session

import "math"

// awaitValue reads the second argument of set_config for a protected setting: a
// literal, or a parameter in a place where what is bound to it can be judged. One
// that is cast to text, which may cut it (see hidesName), is not known.
func (j *Judge) awaitValue(p pending, t token) {
	switch {
	case p == pendValue && t.kind == tokLit && !t.long:
		j.litLen, j.valued = len(t.text), 0
		j.pending = pendValueEnd
	case p == pendValue && t.param != 0 && j.bindable():
		j.valued = t.param
		j.pending = pendValueEnd
	case p == pendValueEnd && t.isSym(':'), p == pendValueCast && t.isSym(':'):
		j.pending = pendValueCast
	case p == pendValueCast && t.is("varchar"):
		j.pending = pendValueEnd
	case p == pendValueEnd && t.isSym(','):
		if j.valued != 0 {
			j.bindValue()
			return
		}
		j.judgeCall(j.lit[:j.litLen])
	default:
		j.judgeCall(nil)
	}
}

// bindable reports whether a parameter may stand for the value of the setting at
// hand: in a SELECT that is all of the string, so that nothing but a Bind can give
// it its value, and where the guard can refuse that.
func (j *Judge) bindable() bool {
	return j.set == setContext && j.selecting && j.own != nil && j.reservedIndex(j.setting()) <= math.MaxUint8 && j.guard.modes[groupContext] == GuardEnforce
}

// bindValue notes the parameter that set_config gets.
func (j *Judge) bindValue() {
	setting := uint8(j.reservedIndex(j.setting()))
	for i := range j.bindings {
		switch {
		case j.bindings[i].Param == 0:
			j.bindings[i] = Binding{Param: j.valued, Setting: setting}
			return
		case j.bindings[i].Param == j.valued && j.bindings[i].Setting == setting:
			return
		}
	}
	j.violate(RuleContextCall)
}

// closeBindings is called at the end of the string. A parameter that is read in
// another place, too, may have got its type there, and with it a value that is not
// the one that was bound.
func (j *Judge) closeBindings() {
	for _, b := range j.bindings {
		if b.Param != 0 && (j.oddParam || j.repeated>>b.Param&1 != 0) {
			j.violate(RuleContextCall)
		}
	}
}

// judgeCall judges set_config of a protected setting; a nil value is unknown.
func (j *Judge) judgeCall(value []byte) {
	switch {
	case j.set == setContext && value != nil && !j.storing && !j.ruling && j.isOwn(j.setting(), value):
	case j.set == setContext, j.set == setSeal:
		j.violate(RuleContextCall)
	default:
		if r := parameterRule(j.set, value); r != "" {
			j.violate(r)
		}
	}
}
