package session

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// In transaction mode an ordinary setting that a client SETs becomes a part of what
// its session is entered with, as if its startup packet had named it: most drivers
// send some plain SETs when they connect. What was set is never read out of the
// statement. The Judge notes names alone, and once the transaction is over the
// values that are in force then are asked for: a SET that was rolled back or has
// failed is seen as what it is.

// follow is what a lease knows of the settings of which the values are to be asked
// for. Most clients have none most of the time.
type follow struct {
	noted     settingSet // the values may have changed
	asked     settingSet // the values are on their way
	discarded bool       // DISCARD ALL has run: nothing is left of what was set before it
}

// maxFollowed bounds, in bytes, the values that are kept for a client. One that sets
// more keeps its backend.
const maxFollowed = 2 << 10

// changes are the settings that executing a statement may change.
func changes(e *Effects) settingSet {
	s := e.Sets
	if e.ResetAll || e.ResetUnknown {
		s = s.or(settingsAll)
	}
	if e.Any() {
		s = s.or(settingsBack)
	}
	return s
}

// sets notes what a statement that passes may change, at once or when it is executed;
// executes says that it may run another prepared one.
func (l *Lease) sets(s settingSet, executes bool) {
	if l.names == nil {
		return
	}
	if executes {
		for _, o := range l.names.all {
			s = s.or(o.does.sets)
		}
	}
	if l.follow == nil && (s.none() || s.and(settingsReal.or(settingsLocal)).none() && l.entry.followed == 0) {
		return
	}
	if l.follow == nil {
		l.follow = &follow{}
	}
	l.follow.noted = l.follow.noted.or(s)
}

// discards notes that a DISCARD ALL of the client's has run.
func (l *Lease) discards() {
	if l.follow != nil || l.entry.base != nil {
		l.follow = &follow{discarded: true}
	}
}

// resets notes that a statement of the client's has reset something.
func (l *Lease) resets() {
	if l.follow == nil && l.entry.followed > 0 {
		l.follow = &follow{}
	}
	if l.follow != nil {
		l.follow.noted = l.follow.noted.or(settingsAll).or(settingsBack)
	}
}

// followed says that there is nothing to ask for.
func (l *Lease) followed() bool {
	f := l.follow
	return f == nil || f.noted.none() && !f.discarded
}

// readBack asks for the values in force of what was noted, once the client's
// transaction is over: called after each ReadyForQuery, and when a cancel is over.
func (l *Lease) readBack(out *Out) error {
	if l.followed() || !l.rests() {
		return nil
	}
	f := l.follow
	if f.discarded {
		f.discarded = false
		l.adopt(l.entry.origin(), l.entry.bits())
	}
	if f.noted.has(settingsAll) {
		f.noted = f.noted.or(l.entry.bits())
	}
	noted := f.noted
	f.noted = settingSet{}
	if noted.and(settingsReal).none() {
		l.unneeded()
		return nil
	}
	f.asked = noted
	msg, err := appendReadBack(nil, f.asked)
	if err != nil {
		return err
	}
	for _, typ := range []byte("PBECCS") {
		l.owed.sent(typ, injected)
	}
	l.confirmed = false
	out.toServer(msg)
	return nil
}

// asking says that what is answered to the proxy is the values.
func (l *Lease) asking() bool { return l.follow != nil && !l.follow.asked.none() }

// unneeded forgets what was followed when nothing is left to be.
func (l *Lease) unneeded() {
	if *l.follow == (follow{}) {
		l.follow = nil
	}
}

// appendReadBack appends the messages that ask for the values of settings, one row
// of them, as UTF-8. Where some may have been reset a last column names those that
// have the value now that a session begins with.
func appendReadBack(dst []byte, asked settingSet) ([]byte, error) {
	var sql strings.Builder
	var params [][]byte
	var oids []uint32
	sql.WriteString("select ")
	names := asked.names()
	for i, n := range names {
		params, oids = append(params, []byte(n)), append(oids, oidText)
		if i > 0 {
			sql.WriteByte(',')
		}
		sql.WriteString("pg_catalog.convert_to(pg_catalog.current_setting($" + strconv.Itoa(i+1) + ",true),'UTF8')")
	}
	if asked.has(settingsBack) {
		params, oids = append(params, []byte(strings.Join(names, ","))), append(oids, oidText)
		sql.WriteString(",(select pg_catalog.string_agg(pg_catalog.lower(s.name collate pg_catalog.\"C\"),',') from pg_catalog.pg_settings s" +
			" where pg_catalog.lower(s.name collate pg_catalog.\"C\") operator(pg_catalog.=) any (pg_catalog.string_to_array($" + strconv.Itoa(len(params)) + ",','))" +
			" and s.setting operator(pg_catalog.=) s.reset_val)")
	}
	dst, err := wire.AppendParse(dst, enterName, sql.String(), oids...)
	if err == nil {
		dst, err = wire.AppendBind(dst, enterName, enterName, 1, params, 1)
	}
	if err == nil {
		dst, err = wire.AppendExecute(dst, enterName)
	}
	if err == nil {
		dst, err = appendForget(dst, enterName)
	}
	if err != nil {
		return dst, err
	}
	return wire.AppendSync(dst), nil
}

// errUnread means that PostgreSQL did not tell the values of settings.
var errUnread = errors.New("the backend did not tell what was set")

// readRow takes the row with the values that were asked for: they become a part of
// the client's entry. What cannot be, keeps the client on its backend.
func (l *Lease) readRow(m wire.Frame) error {
	f := l.follow
	asked := f.asked
	f.asked = settingSet{}
	if !m.Whole() { // it is longer than what is gathered, and passes unread
		l.confirmed = true
		l.pinned(PinSet)
		return nil
	}
	names := asked.names()
	columns, ok := wire.DataRow(m.Body, nil)
	if !ok || len(columns) < len(names) {
		return errUnread
	}
	var initial []string
	if len(columns) > len(names) {
		initial = strings.Split(string(columns[len(names)]), ",")
	}
	l.confirmed = true
	first := l.entry.first
	if l.entry.base == nil {
		first = l.welcome
	}
	size, set := 0, []wire.Param(nil)
	for _, p := range l.entry.set() {
		if !slices.Contains(names, p.Name) {
			set = append(set, p)
			size += len(p.Value)
		}
	}
	for i, n := range names {
		value := string(columns[i])
		if columns[i] == nil || l.entry.origin().begins(n, value, first, initial) {
			continue
		}
		size += len(value)
		set = append(set, wire.Param{Name: n, Value: value})
		if leadsToTemp(n, value) {
			l.pinned(PinTemp) // what is made there is a temporary object
		}
	}
	if size > maxFollowed {
		l.pinned(PinSet)
		return nil
	}
	l.adopt(l.entry.with(set, first), asked)
	l.unneeded()
	return nil
}

// leadsToTemp says that what is made without a schema under that setting may be a
// temporary object.
func leadsToTemp(setting, value string) bool {
	return strings.EqualFold(setting, "search_path") && strings.Contains(strings.ToLower(value), tempSchema)
}

// adopt makes e what the session is entered with from now on: its backend is as if it
// had been. What PostgreSQL has reported of the names is what the client is to see
// on every other backend.
func (l *Lease) adopt(e *Entry, names settingSet) {
	b := l.backend
	if l.names != nil && names.has(settingOf("client_encoding")) && e.readings != l.entry.readings {
		l.names.misread()
	}
	l.entry, b.carried = e, e
	known := l.welcome
	l.welcome.each(func(name, value string) {
		if names.has(settingOf(strings.ToLower(name))) {
			delete(b.moved, name)
			known.set(name, b.Params.Value(name))
		}
	})
	l.welcome = known
}

// Entry is what the session is entered with now: that of Begin, and what the client
// has set since.
func (l *Lease) Entry() *Entry { return l.entry }

// origin is the entry that the session began with.
func (e *Entry) origin() *Entry {
	if e.base != nil {
		return e.base
	}
	return e
}

// set are the settings that the client has set since.
func (e *Entry) set() []wire.Param { return e.settings[len(e.settings)-e.followed:] }

// bits are their names.
func (e *Entry) bits() (s settingSet) {
	for _, p := range e.set() {
		s = s.or(settingOf(p.Name))
	}
	return s
}

// begins says that a session of the entry, with which nothing was set yet, has that
// value of a setting (lower case): first is what was reported of it, and initial the
// names of settings that have the value of the server's own.
func (e *Entry) begins(name, value string, first Parameters, initial []string) bool {
	asks := false
	for _, n := range e.names {
		if strings.EqualFold(n, name) {
			return true // the context is entered by itself
		}
	}
	for _, p := range slices.Backward(e.settings) {
		if strings.EqualFold(p.Name, name) {
			if p.Value == value {
				return true
			}
			asks = true
			break
		}
	}
	same := false
	first.each(func(n, v string) { same = same || strings.EqualFold(n, name) && v == value })
	return same || !asks && slices.Contains(initial, name)
}

// with is e with these settings in the place of those that the client has set so far.
func (e *Entry) with(set []wire.Param, first Parameters) *Entry {
	slices.SortFunc(set, func(a, b wire.Param) int { return strings.Compare(a.Name, b.Name) })
	if slices.Equal(set, e.set()) {
		return e
	}
	base := e.origin()
	if len(set) == 0 {
		return base
	}
	n := &Entry{Session: base.Session, earned: base.earned, chosen: &chosen{base: base, first: first, followed: len(set)}}
	n.settings = make([]wire.Param, 0, len(base.settings)+len(set))
	for _, p := range base.settings {
		if !slices.ContainsFunc(set, func(s wire.Param) bool { return strings.EqualFold(s.Name, p.Name) }) {
			n.settings = append(n.settings, p)
		}
	}
	n.settings = append(n.settings, set...)
	n.readings = readings(n.settings)
	return n
}
