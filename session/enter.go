package session

import (
	"bytes"
	"crypto/rand"
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
// token earns and the settings of its startup packet. It is immutable.
type Entry struct {
	Session uint64 // of the client, for logs

	names    []string // of the context's settings, shared by all entries
	values   []string // their values: one for each name, always
	settings []wire.Param
	until    time.Time // the end of the token; zero: the session may outlive it
}

// NewEntry derives the entry of a verified identity.
func (s *ContextSpec) NewEntry(session uint64, id auth.Identity, settings []wire.Param) (*Entry, error) {
	values, err := s.values(id)
	if err != nil {
		return nil, err
	}
	return &Entry{Session: session, names: s.Names(), values: values, settings: settings, until: id.ExpiresAt()}, nil
}

// Outlive lets the session go on when its token has expired: before it begins.
func (e *Entry) Outlive() { e.until = time.Time{} }

// Tenant is the tenant that the entry belongs to.
func (e *Entry) Tenant() string { return e.values[0] }

// value returns what the context holds for a setting (lower case).
func (e *Entry) value(name string) string {
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

// appendEnter appends the messages that enter the context: Parse, Bind and
// Execute, and a Close of the statement (and of the portal, when named) with every name and value as a parameter. Values travel as bytea in
// UTF-8, so that neither the client's encoding nor its
// standard_conforming_strings can change them, and come back as bytea to be
// compared. With seed the random generator gets a fresh start too, because
// DISCARD ALL leaves it as the last tenant did. With a key of the backend's the
// database verifies the context, and sets it, by itself.
func (e *Entry) appendEnter(dst []byte, name string, settings []wire.Param, seed bool, s *backendSeal) ([]byte, error) {
	var sql strings.Builder
	var params [][]byte
	var oids []uint32
	bind := func(oid uint32, v []byte) string {
		params, oids = append(params, v), append(oids, oid)
		return "$" + strconv.Itoa(len(params))
	}
	set := func(name, value string) string {
		return "pg_catalog.set_config(" + bind(oidText, []byte(name)) +
			",pg_catalog.convert_from(" + bind(oidBytea, []byte(value)) + ",'UTF8'),false)"
	}
	sql.WriteString("select ")
	if seed {
		sql.WriteString("pg_catalog.setseed(" + bind(oidText, randomSeed()) + "::pg_catalog.float8),")
	}
	for _, s := range settings {
		sql.WriteString(set(s.Name, s.Value) + ",")
	}
	for i, n := range e.names {
		if i > 0 {
			sql.WriteByte(',')
		}
		if s != nil {
			sql.WriteString("pg_catalog.convert_to(pg_catalog.current_setting(" + bind(oidText, []byte(n)) + "),'UTF8')")
			continue
		}
		sql.WriteString("pg_catalog.convert_to(" + set(n, e.values[i]) + ",'UTF8')")
	}
	if s != nil {
		made := s.make(sealFields(e.names, e.values), e.until)
		sql.WriteString(" from tenantgate.enter(" + bind(oidText, []byte(made.head)) + "," + bind(oidBytea, made.code) + ",array[")
		for i, n := range e.names {
			if i > 0 {
				sql.WriteByte(',')
			}
			sql.WriteString(bind(oidBytea, []byte(strings.ToLower(n))) + "," + bind(oidBytea, []byte(e.values[i])))
		}
		sql.WriteString("]::pg_catalog.bytea[])")
	}
	dst, err := wire.AppendParse(dst, name, sql.String(), oids...)
	if err == nil {
		dst, err = wire.AppendBind(dst, name, name, 1, params, 1)
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

// appendForget closes the portal and the statement of that name.
func appendForget(dst []byte, name string) ([]byte, error) {
	dst, err := wire.AppendClose(dst, 'P', name)
	if err != nil {
		return dst, err
	}
	return wire.AppendClose(dst, 'S', name)
}

// randomSeed is a number in [0, 1) as text.
func randomSeed() []byte {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return strconv.AppendFloat(nil, float64(binary.BigEndian.Uint64(b[:])>>11)/(1<<53), 'f', -1, 64)
}

// confirm checks the row that enter answered with: the last columns are the
// context's values as the backend now holds them.
func (e *Entry) confirm(row []byte) error {
	columns, ok := wire.DataRow(row, nil)
	if !ok || len(columns) < len(e.values) {
		return fmt.Errorf("the backend did not confirm the context")
	}
	for i, v := range columns[len(columns)-len(e.values):] {
		if v == nil || !bytes.Equal(v, []byte(e.values[i])) {
			return fmt.Errorf("the backend holds another value for %s", e.names[i])
		}
	}
	return nil
}
