package session

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/wire"
)

// Entry is what a session of one client is entered with: the context that its
// token earns and the settings of its startup packet. It is immutable. There is one
// for each session, and most of it is shared with others.
type Entry struct {
	Session uint64 // of the client, for logs
	*earned
	*chosen
}

// earned is the context that a token earns: the same for all of its sessions.
type earned struct {
	names  []string // of the settings
	values []string // their values: one for each name, always
	own    func(setting string) (value string)
	until  time.Time // the end of the token; zero: the session may outlive it
}

// chosen are the settings that the client has chosen.
type chosen struct {
	settings []wire.Param
	readings string // see there

	base     *Entry     // what the session began with, if the client has set something since; see follow.go
	first    Parameters // the parameters that it began with
	followed int        // how many settings, the last ones, the client has set
}

// nothing is what clients have chosen whose startup packets name no settings.
var nothing = &chosen{}

// NewEntry derives the entry of a verified identity. With outlive the session may go on
// when its token has expired.
func (s *ContextSpec) NewEntry(session uint64, id auth.Identity, settings []wire.Param, outlive bool) (*Entry, error) {
	var key any = s
	if outlive {
		key = outliving{s}
	}
	made, err := id.Derived(key, func() (any, error) { return s.earned(id, outlive) })
	if err != nil {
		return nil, err
	}
	e := &Entry{Session: session, earned: made.(*earned), chosen: nothing}
	if len(settings) > 0 {
		e.chosen = &chosen{settings: settings, readings: readings(settings)}
	}
	return e, nil
}

// outliving is what is derived for sessions that may outlive their token.
type outliving struct{ *ContextSpec }

// earned derives what the sessions of a token share.
func (s *ContextSpec) earned(id auth.Identity, outlive bool) (*earned, error) {
	values, err := s.values(id)
	if err != nil {
		return nil, err
	}
	e := &earned{names: s.Names(), values: values}
	e.own = e.value
	if !outlive {
		e.until = id.ExpiresAt()
	}
	return e, nil
}

// Tenant is the tenant that the entry belongs to.
func (e *earned) Tenant() string { return e.values[0] }

// value returns what the context holds for a setting (lower case).
func (e *earned) value(name string) string {
	for i, n := range e.names {
		if strings.EqualFold(n, name) {
			return e.values[i]
		}
	}
	return ""
}

// undone returns the settings of the startup packet that effects undid and
// that must be applied again, and whether the context was undone.
func (e *Entry) undone(f *Effects) (settings []wire.Param, context bool) {
	e = e.origin()
	if f.ResetAll || f.ResetUnknown {
		return e.settings, true
	}
	for _, s := range e.settings {
		if f.resets(strings.ToLower(s.Name)) {
			settings = append(settings, s)
		}
	}
	for _, n := range e.names {
		context = context || f.resets(strings.ToLower(n))
	}
	return settings, context || f.resets(latchSetting)
}

// resets says whether f resets the setting of that name (lower case).
func (e *Effects) resets(name string) bool { return slices.Contains(e.Resets[:], name) }

// OIDs of the parameters that enter is sent with ("Object Identifier Types").
const (
	oidText  = 25
	oidBytea = 17
)

// enterName names the proxy's statement and portal where the client may have an
// unnamed one of its own.
const enterName = "tenantgate_enter"

// enterQuery is the statement that enters a context, as it is put together. Used
// again, it need not allocate.
type enterQuery struct {
	sql    []byte
	text   string // sql as it was last: mostly it is the same
	values [][]byte
	oids   []uint32
	bytes  []byte // of values
}

// bind makes value a parameter and puts its number into the statement.
func (q *enterQuery) bind(oid uint32, value string) {
	start := len(q.bytes)
	q.bytes = append(q.bytes, value...)
	q.bound(oid, start)
}

// bindSeed is bind for a random number in [0, 1) as text.
func (q *enterQuery) bindSeed(random *Random) {
	start := len(q.bytes)
	q.bytes = appendSeed(q.bytes, random)
	q.bound(oidText, start)
}

// bound makes what stands from start on in bytes a parameter.
func (q *enterQuery) bound(oid uint32, start int) {
	q.values = append(q.values, q.bytes[start:len(q.bytes):len(q.bytes)])
	q.oids = append(q.oids, oid)
	q.sql = strconv.AppendInt(append(q.sql, '$'), int64(len(q.oids)), 10)
}

// put appends to the statement's text.
func (q *enterQuery) put(text string) { q.sql = append(q.sql, text...) }

// set puts the call that sets a setting.
func (q *enterQuery) set(name, value string) {
	q.put("pg_catalog.set_config(")
	q.bind(oidText, name)
	q.put(",pg_catalog.convert_from(")
	q.bind(oidBytea, value)
	q.put(",'UTF8'),false)")
}

// appendEnter appends the messages that enter the context: Parse, Bind and
// Execute, and a Close of the statement (and of the portal, when named) with every name and value as a parameter. Values travel as bytea in
// UTF-8, so that neither the client's encoding nor its
// standard_conforming_strings can change them, and come back as bytea to be
// compared. With seed the random generator gets a fresh start too, because
// DISCARD ALL leaves it as the last tenant did. With a key of the backend's the
// database verifies the context, and sets it, by itself.
func (e *Entry) appendEnter(q *enterQuery, dst []byte, name string, settings []wire.Param, seed *Random, s *backendSeal) ([]byte, error) {
	q.sql, q.values, q.oids, q.bytes = q.sql[:0], q.values[:0], q.oids[:0], q.bytes[:0]
	q.put("select ")
	if seed != nil {
		q.put("pg_catalog.setseed(")
		q.bindSeed(seed)
		q.put("::pg_catalog.float8),")
	}
	for _, s := range settings {
		q.set(s.Name, s.Value)
		q.put(",")
	}
	for i, n := range e.names {
		if i > 0 {
			q.put(",")
		}
		q.put("pg_catalog.convert_to(")
		if s != nil {
			q.put("pg_catalog.current_setting(")
			q.bind(oidText, n)
			q.put(")")
		} else {
			q.set(n, e.values[i])
		}
		q.put(",'UTF8')")
	}
	if s != nil {
		e.seal(q, s)
	}
	if q.text != string(q.sql) {
		q.text = string(q.sql)
	}
	dst, err := wire.AppendParse(dst, name, q.text, q.oids...)
	if err == nil {
		dst, err = wire.AppendBind(dst, name, name, 1, q.values, 1)
	}
	if err == nil {
		dst, err = wire.AppendExecute(dst, name)
	}
	if name != "" && err == nil {
		dst, err = appendForget(dst, name)
	} else if err == nil {
		dst, err = wire.AppendClose(dst, 'S', name) // a client could bind other values to it
	}
	return dst, err
}

// seal puts the call that lets the database verify and set the context.
func (e *Entry) seal(q *enterQuery, s *backendSeal) {
	made := s.make(sealFields(e.names, e.values), e.until)
	q.put(" from tenantgate.enter(")
	q.bind(oidText, made.head)
	q.put(",")
	q.bind(oidBytea, string(made.code))
	q.put(",array[")
	for i, n := range e.names {
		if i > 0 {
			q.put(",")
		}
		q.bind(oidBytea, strings.ToLower(n))
		q.put(",")
		q.bind(oidBytea, e.values[i])
	}
	q.put("]::pg_catalog.bytea[])")
}

// appendForget closes the portal and the statement of that name.
func appendForget(dst []byte, name string) ([]byte, error) {
	dst, err := wire.AppendClose(dst, 'P', name)
	if err != nil {
		return dst, err
	}
	return wire.AppendClose(dst, 'S', name)
}

// appendSeed appends a random number in [0, 1) as text.
func appendSeed(dst []byte, random *Random) []byte {
	var b [8]byte
	random.Read(b[:])
	const digits = 1e16 // 16 of them, as many as float8 can tell apart, behind a 1
	point := len(dst) + 1
	dst = strconv.AppendUint(append(dst, '0'), digits+binary.BigEndian.Uint64(b[:])%digits, 10)
	dst[point] = '.' // in the place of the 1
	return dst
}

// confirm checks the row that enter answered with: the last columns are the
// context's values as the backend now holds them.
func (e *Entry) confirm(row []byte) error {
	var room [24][]byte
	columns, ok := wire.DataRow(row, room[:0])
	if !ok || len(columns) < len(e.values) {
		return fmt.Errorf("the backend did not confirm the context")
	}
	for i, v := range columns[len(columns)-len(e.values):] {
		if v == nil || string(v) != e.values[i] {
			return fmt.Errorf("the backend holds another value for %s", e.names[i])
		}
	}
	return nil
}
