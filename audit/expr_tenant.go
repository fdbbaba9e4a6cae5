package audit

import "slices"

// binds tells whether every alternative of the part compares the tenant column
// with something of the session, or is the seal's word for administrators.
func (e expr) binds(column string) bool {
	return !slices.ContainsFunc(e.terms(), func(t expr) bool { return !t.bindsTerm(column) })
}

// sealedAdmin tells whether the part is the seal's own word for administrators,
// which no client can forge.
func (e expr) sealedAdmin() bool {
	e = e.bare()
	if e.at(e.lo).word == "select" {
		e.lo++
	}
	return e.isCall(e.lo) && e.at(e.lo).word == "tenantgate" && e.at(e.lo+2).word == "is_admin"
}

// constantFalse tells whether the part admits nothing.
func (e expr) constantFalse() bool {
	e = e.bare()
	return e.hi-e.lo == 1 && e.at(e.lo).word == "false" && !e.at(e.lo).quoted
}

// bindsTerm tells whether one alternative does, or is false for every row.
func (e expr) bindsTerm(column string) bool {
	return e.sealedAdmin() || e.constantFalse() || slices.ContainsFunc(e.factors(), func(f expr) bool { return f.bindsFactor(column) })
}

// bindsFactor tells whether a single condition ties the tenant column to the
// session: it names both, and it is no inequality or negation.
func (e expr) bindsFactor(column string) bool {
	if !e.mentions(column) || !e.asksSession() {
		return false
	}
	for i := e.lo; i < e.hi; i++ {
		t := e.at(i)
		if t.text == "(" || t.text == "[" {
			i = max(i, t.mate)
			continue
		}
		if slices.Contains([]string{"<>", "!=", "<", ">", "<=", ">=", "~~", "~~*", "!~~", "~", "~*"}, t.text) {
			return false
		}
		if !t.quoted && (t.word == "not" || t.word == "is") {
			return false
		}
	}
	return !e.defaultsToItself(column)
}

// defaultsToItself finds COALESCE(…, tenant_id): without a context the column
// is compared with itself, and every row is there.
func (e expr) defaultsToItself(column string) bool {
	for i := e.lo; i < e.hi; i++ {
		if e.at(i).word == "coalesce" && e.at(i+1).text == "(" && e.slice(i+2, e.at(i+1).mate).mentions(column) {
			return true
		}
	}
	return false
}

// reading is one use of current_setting.
type reading struct {
	name      string // of the setting, empty when it is computed
	missingOK bool   // with true as second argument
	nullif    bool   // inside NULLIF(…, '')
	cast      string // the type that the text is cast to, empty: none
	wrapped   bool   // inside (SELECT …)
	lo, hi    int    // the tokens of it, with NULLIF and cast
}

// readings lists the uses of current_setting in the part.
func (e expr) readings() []reading {
	var all []reading
	for i := e.lo; i < e.hi; i++ {
		if t := e.at(i); t.word != "current_setting" || t.quoted || e.at(i+1).text != "(" || e.at(e.at(i+1).mate).text != ")" {
			continue
		}
		end := e.at(i + 1).mate
		r := reading{lo: i, hi: end + 1, wrapped: e.inSelect(i)}
		if name := e.at(i + 2).text; len(name) > 1 && name[0] == '\'' {
			r.name = name[1 : len(name)-1]
		}
		r.missingOK = e.at(end-1).word == "true" && e.at(end-2).text == ","
		e.widen(&r)
		r.hi = min(r.hi, len(e.tokens))
		all = append(all, r)
	}
	return all
}

// widen takes NULLIF, COALESCE with constants, and the cast around a reading
// into it.
func (e expr) widen(r *reading) {
	for {
		open, shut := e.at(r.lo-1), e.at(r.hi)
		switch {
		case open.text == "(" && shut.text == "," && (e.at(r.lo-2).word == "nullif" || e.at(r.lo-2).word == "coalesce") &&
			!e.slice(r.hi, open.mate).columns():
			r.nullif = r.nullif || e.at(r.lo-2).word == "nullif" && e.at(r.hi+1).text == "''"
			r.lo, r.hi = r.lo-2, open.mate+1
		case open.text == "(" && open.mate == r.hi && e.at(r.hi+1).text == "::":
			r.lo, r.hi = r.lo-1, r.hi+1
		case shut.text == "::":
			r.hi += 2
			r.cast = e.at(r.hi - 1).word
			for e.at(r.hi).text == "." || e.at(r.hi).word == "varying" || e.at(r.hi).text == "(" || e.at(r.hi).text == "[" {
				if m := e.at(r.hi).mate; m > r.hi {
					r.hi = m
				}
				r.hi++
			}
		default:
			return
		}
	}
}

// inSelect tells whether a token stands in a sub-select without FROM, which is
// evaluated once for a statement.
func (e expr) inSelect(at int) bool {
	for i := at; i >= 0; i-- {
		t := e.at(i)
		if t.text == ")" || t.text == "]" {
			i = t.mate
			continue
		}
		if t.text == "(" && e.at(i+1).word == "select" {
			return true
		}
	}
	return false
}

// textTypes are the types whose input takes the empty string.
var textTypes = []string{"", "text", "varchar", "character", "bpchar", "name", "citext"}

// fragile says what makes the reading fail on a connection without context.
func (r reading) fragile() string {
	switch {
	case !r.missingOK:
		return "raises 42704 where the setting was never set"
	case !r.nullif && !slices.Contains(textTypes, r.cast):
		return "casts the empty string to " + r.cast + " after a reset, which raises 22P02"
	}
	return ""
}

// perRow lists the calls of the part that are evaluated for every row although
// no column is in them.
func (e expr) perRow() []string {
	var calls []string
	for _, r := range e.readings() {
		if !r.wrapped {
			calls = append(calls, e.slice(r.lo, r.hi).String())
		}
	}
	for i := e.lo; i < e.hi; i++ {
		if !e.isCall(i) || e.inSelect(i) {
			continue
		}
		end := e.at(i + 3).mate
		if !e.slice(i+4, end).columns() {
			calls = append(calls, e.slice(i, end+1).String())
		}
		i = end
	}
	return calls
}

// steady rewrites the part so that every setting is read once for a statement,
// gives NULL where it was never set, and NULL where it is empty.
func (e expr) steady() string {
	var out []byte
	at := e.starts[e.lo]
	put := func(lo, hi int, text string) {
		out = append(append(out, e.source[at:e.starts[lo]]...), text...)
		at = e.starts[hi-1] + len(e.tokens[hi-1].text)
	}
	readings := e.readings()
	for i := e.lo; i < e.hi; i++ {
		if n := slices.IndexFunc(readings, func(r reading) bool { return r.lo == i }); n >= 0 {
			put(i, readings[n].hi, e.steadyReading(readings[n]))
			i = readings[n].hi - 1
			continue
		}
		if e.isCall(i) && !e.inSelect(i) && !e.slice(i+4, e.at(i+3).mate).columns() {
			end := e.at(i+3).mate + 1
			put(i, end, "(SELECT "+e.slice(i, end).String()+")")
			i = end - 1
		}
	}
	last := e.hi - 1
	return string(out) + e.source[at:e.starts[last]+len(e.tokens[last].text)]
}

// steadyReading writes one reading anew: with missing_ok, with NULLIF unless the
// text is compared as it is, and in a sub-select unless it is in one.
func (e expr) steadyReading(r reading) string {
	call := slices.IndexFunc(e.tokens[r.lo:r.hi], func(t token) bool { return t.word == "current_setting" }) + r.lo
	end := e.at(call + 1).mate
	comma := call + 2
	for comma < end && e.at(comma).text != "," {
		comma = max(comma, e.at(comma).mate) + 1
	}
	inner := "current_setting(" + e.slice(call+2, comma).String() + ", true)"
	if !r.nullif {
		inner = "NULLIF(" + inner + ", '')"
	}
	text := e.source[e.starts[r.lo]:e.starts[call]] + inner + e.source[e.starts[end]+1:e.starts[r.hi-1]+len(e.at(r.hi-1).text)]
	if r.wrapped {
		return text
	}
	return "(SELECT " + text + ")"
}
