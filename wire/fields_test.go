package wire

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestStringsEndAtTheirNULAndNothingStandsBehind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		ok   bool
	}{{"select 1\x00", true}, {"\x00", true}, {"", false}, {"select 1", false}, {"select 1\x00;", false}, {"select 1\x00\x00", false}} {
		sql, ok := QueryText([]byte(c.body))
		if ok != c.ok || ok && string(sql) != c.body[:len(c.body)-1] || !ok && sql != nil {
			t.Errorf("QueryText(%q) = %q, %v", c.body, sql, ok)
		}
		tag, ok := CommandTag([]byte(c.body))
		if ok != c.ok || tag != string(sql) {
			t.Errorf("CommandTag(%q) = %q, %v", c.body, tag, ok)
		}
	}
	s, rest, ok := CString([]byte("a\x00b"))
	if !ok || string(s) != "a" || string(rest) != "b" || cap(s) != 1 {
		t.Errorf("CString = %q (cap %d), %q, %v", s, cap(s), rest, ok)
	}
	if s, rest, ok := CString([]byte("ab")); ok || s != nil || rest != nil {
		t.Errorf("CString without NUL = %q, %q, %v", s, rest, ok)
	}
}

func TestExtendedMessagesAreReadByPostgreSQLsRule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body, first, second string
		ok                  bool
	}{
		{"n\x00sql\x00\x00\x00", "n", "sql", true},
		{"\x00\x00\x00\x00", "", "", true},
		{"n\x00sql\x00\x00\x02\x00\x00\x00\x17\x00\x00\x00\x19", "n", "sql", true},
		{"n\x00sql\x00\x00\x02\x00\x00\x00\x17", "", "", false},
		{"n\x00sql\x00\x00\x01\x00\x00\x00\x17x", "", "", false},
		{"n\x00sql\x00\x00", "", "", false},
		{"n\x00sql\x00\xff\xff", "", "", false},
		{"n\x00sql", "", "", false},
		{"n", "", "", false},
		{"", "", "", false},
	} {
		name, sql, ok := ParseText([]byte(c.body))
		if ok != c.ok || string(name) != c.first || string(sql) != c.second {
			t.Errorf("ParseText(%q) = %q, %q, %v", c.body, name, sql, ok)
		}
	}
	for _, c := range []struct {
		body, portal, statement string
		ok                      bool
	}{
		{"p\x00s\x00\x00\x00\x00\x00\x00\x00", "p", "s", true},
		{"\x00\x00", "", "", true},
		{"p\x00s", "", "", false},
		{"p", "", "", false},
	} {
		portal, statement, ok := BindNames([]byte(c.body))
		if ok != c.ok || string(portal) != c.portal || string(statement) != c.statement {
			t.Errorf("BindNames(%q) = %q, %q, %v", c.body, portal, statement, ok)
		}
	}
	for _, c := range []struct {
		body, portal string
		ok           bool
	}{{"p\x00\x00\x00\x00\x00", "p", true}, {"\x00\x00\x00\x00\x07", "", true}, {"p\x00\x00\x00\x00", "", false}, {"p\x00\x00\x00\x00\x00\x00", "", false}, {"p", "", false}} {
		if portal, ok := ExecutePortal([]byte(c.body)); ok != c.ok || string(portal) != c.portal {
			t.Errorf("ExecutePortal(%q) = %q, %v", c.body, portal, ok)
		}
	}
	for _, c := range []struct {
		body string
		kind byte
		name string
		ok   bool
	}{{"Sx\x00", 'S', "x", true}, {"P\x00", 'P', "", true}, {"Xx\x00", 0, "", false}, {"S", 0, "", false}, {"", 0, "", false}, {"Sx\x00y", 0, "", false}} {
		if kind, name, ok := CloseOrDescribe([]byte(c.body)); ok != c.ok || kind != c.kind || string(name) != c.name {
			t.Errorf("CloseOrDescribe(%q) = %q, %q, %v", c.body, kind, name, ok)
		}
	}
}

func TestBoundValuesAreReadByPostgreSQLsRule(t *testing.T) {
	value := "\x00\x00\x00\x01v"
	for body, want := range map[string][][]byte{
		"p\x00s\x00\x00\x00\x00\x00\x00\x00":                                                    {},
		"\x00\x00\x00\x00\x00\x01" + value + "\x00\x00":                                         {[]byte("v")},
		"\x00\x00\x00\x01\x00\x01\x00\x02" + value + "\xff\xff\xff\xff\x00\x00":                 {[]byte("v"), nil},
		"\x00\x00\x00\x02\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00" + value + "\x00\x01\x00\x01": {{}, []byte("v")},
		"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00":                                              {},
		"":                         nil,
		"\x00":                     nil,
		"\x00\x00":                 nil,
		"\x00\x00\x00":             nil,
		"\x00\x00\x00\x00":         nil,
		"\x00\x00\x00\x00\x00\x00": nil,
		"\x00\x00\x00\x01\x00\x02\x00\x01" + value + "\x00\x00":         nil,
		"\x00\x00\x00\x02\x00\x01\x00\x01\x00\x01" + value + "\x00\x00": nil,
		"\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02v\x00\x00":             nil,
		"\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfev\x00\x00":             nil,
		"\x00\x00\x00\x00\x00\x02" + value + "\x00\x00":                 nil,
		"\x00\x00\x00\x00\x00\x01" + value + "\x00":                     nil,
		"\x00\x00\x00\x00\x00\x01" + value + "\x00\x01":                 nil,
		"\x00\x00\x00\x00\x00\x01" + value + "\x00\x00x":                nil,
	} {
		got, ok := BindValues([]byte(body), nil)
		if ok != (want != nil) || len(got) != len(want) {
			t.Errorf("%q: %q %v, want %q", body, got, ok, want)
			continue
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) || (got[i] == nil) != (want[i] == nil) {
				t.Errorf("%q: %q, want %q", body, got, want)
			}
		}
	}
	parse, err := AppendParse(nil, "n", "select $1, $2", 0x01020304, 25)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []uint32{0, 0x01020304, 25, 0} {
		if got := ParseType(parse[HeaderSize:], n); got != want {
			t.Errorf("type of $%d: %d, want %d", n, got, want)
		}
	}
}

func TestErrorFieldsPreferTheUntranslatedSeverity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body, severity, code, message string
		ok                            bool
	}{
		{"SFEHLER\x00VERROR\x00C42501\x00Mno\x00Fx.c\x00\x00", "ERROR", "42501", "no", true},
		{"SFATAL\x00C57P01\x00Mgone\x00\x00", "FATAL", "57P01", "gone", true},
		{"Mx\x00\x00", "", "", "x", true},
		{"\x00", "", "", "", true},
		{"", "", "", "", false},
		{"SERROR\x00", "", "", "", false},
		{"SERROR", "", "", "", false},
		{"SERROR\x00\x00x", "", "", "", false},
	} {
		severity, code, message, ok := ErrorFields([]byte(c.body))
		if severity != c.severity || code != c.code || message != c.message || ok != c.ok {
			t.Errorf("ErrorFields(%q) = %q, %q, %q, %v", c.body, severity, code, message, ok)
		}
	}
}

func TestParameterStatusIsTwoStrings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body, name, value string
		ok                bool
	}{{"a\x00b\x00", "a", "b", true}, {"a\x00\x00", "a", "", true}, {"a\x00b", "", "", false}, {"a\x00", "", "", false}, {"a", "", "", false}, {"a\x00b\x00c", "", "", false}} {
		if name, value, ok := ParameterStatus([]byte(c.body)); name != c.name || value != c.value || ok != c.ok {
			t.Errorf("ParameterStatus(%q) = %q, %q, %v", c.body, name, value, ok)
		}
	}
}

func TestDataRowsThatLieAreRefused(t *testing.T) {
	t.Parallel()
	got, ok := DataRow([]byte("\x00\x03\x00\x00\x00\x01a\xff\xff\xff\xff\x00\x00\x00\x00"), nil)
	if !ok || len(got) != 3 || string(got[0]) != "a" || cap(got[0]) != 1 || got[1] != nil || got[2] == nil || len(got[2]) != 0 {
		t.Errorf("DataRow = %q, %v", got, ok)
	}
	if got, ok := DataRow([]byte{0, 0}, nil); !ok || len(got) != 0 {
		t.Errorf("a row without columns gives %q, %v", got, ok)
	}
	dst := make([][]byte, 1, 4)
	for _, body := range []string{
		"", "\x00", "\x00\x01", "\x00\x01\x00\x00\x00\x02a", "\x00\x01\x00\x00\x00\x00x", "\xff\xff", "\x80\x00",
		"\x00\x01\xff\xff\xff\xfe", "\x00\x01\x7f\xff\xff\xff", "\x00\x02\x00\x00\x00\x04aaaa", "\x00\x02\xff\xff\xff\xff\x00\x00\x00",
	} {
		if got, ok := DataRow([]byte(body), dst); ok || len(got) != 1 {
			t.Errorf("DataRow(%q) = %q, %v, want it refused and dst as it was", body, got, ok)
		}
	}
}

// FuzzFields gives one body to every field reader: whatever they accept, pgproto3 reads the same from
// it, and what they return lies inside the body.
func FuzzFields(f *testing.F) {
	for _, s := range []string{
		"select 1\x00", "n\x00sql\x00\x00\x01\x00\x00\x00\x17", "p\x00s\x00\x00\x00\x00\x00\x00\x00", "p\x00\x00\x00\x00\x00", "Sx\x00",
		"SFATAL\x00VFATAL\x00C57P01\x00Mgone\x00\x00", "TimeZone\x00UTC\x00", "\x00\x02\x00\x00\x00\x01a\xff\xff\xff\xff", "\x00\x01\x7f\xff\xff\xff", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sent := bytes.Clone(body)
		if sql, ok := QueryText(body); ok {
			var m pgproto3.Query
			if err := m.Decode(body); err != nil || m.String != string(sql) {
				t.Fatalf("Query %q, pgproto3 %q, %v", sql, m.String, err)
			}
		}
		if name, sql, ok := ParseText(body); ok {
			var m pgproto3.Parse
			if err := m.Decode(body); err != nil || m.Name != string(name) || m.Query != string(sql) {
				t.Fatalf("Parse %q %q, pgproto3 %+v, %v", name, sql, m, err)
			}
		}
		var bind pgproto3.Bind
		if bind.Decode(body) == nil {
			portal, statement, ok := BindNames(body)
			if !ok || bind.DestinationPortal != string(portal) || bind.PreparedStatement != string(statement) {
				t.Fatalf("Bind %q %q %v, pgproto3 %+v", portal, statement, ok, bind)
			}
			if values, ok := BindValues(body, nil); ok && (len(values) != len(bind.Parameters) || len(values) > 0 && !reflect.DeepEqual(values, bind.Parameters)) {
				t.Fatalf("Bind of %q, pgproto3 %+v", values, bind)
			}
		}
		if portal, ok := ExecutePortal(body); ok {
			var m pgproto3.Execute
			if err := m.Decode(body); err != nil || m.Portal != string(portal) {
				t.Fatalf("Execute %q, pgproto3 %+v, %v", portal, m, err)
			}
		}
		if kind, name, ok := CloseOrDescribe(body); ok {
			var m pgproto3.Close
			if err := m.Decode(body); err != nil || m.ObjectType != kind || m.Name != string(name) {
				t.Fatalf("Close %q %q, pgproto3 %+v, %v", kind, name, m, err)
			}
		}
		fuzzServerFields(t, body)
		if !bytes.Equal(body, sent) {
			t.Fatal("a reader wrote into the body")
		}
	})
}

// fuzzServerFields is FuzzFields for the messages of a backend.
func fuzzServerFields(t *testing.T, body []byte) {
	if tag, ok := CommandTag(body); ok {
		var m pgproto3.CommandComplete
		if err := m.Decode(body); err != nil || string(m.CommandTag) != tag {
			t.Fatalf("CommandComplete %q, pgproto3 %q, %v", tag, m.CommandTag, err)
		}
	}
	if name, value, ok := ParameterStatus(body); ok {
		var m pgproto3.ParameterStatus
		if err := m.Decode(body); err != nil || m.Name != name || m.Value != value {
			t.Fatalf("ParameterStatus %q %q, pgproto3 %+v, %v", name, value, m, err)
		}
	}
	if severity, code, message, ok := ErrorFields(body); ok {
		var m pgproto3.ErrorResponse
		err := m.Decode(body)
		if m.SeverityUnlocalized != "" {
			m.Severity = m.SeverityUnlocalized
		}
		if err != nil || m.Code != code || m.Message != message || m.Severity != severity {
			// An untranslated severity that is there but empty is none to pgproto3.
			if severity != "" || err != nil {
				t.Fatalf("ErrorResponse %q %q %q, pgproto3 %+v, %v", severity, code, message, m, err)
			}
		}
	}
	if row, ok := DataRow(body, nil); ok {
		var m pgproto3.DataRow
		if err := m.Decode(body); err != nil || len(m.Values) != len(row) || len(row) > 0 && !reflect.DeepEqual(m.Values, row) {
			t.Fatalf("DataRow %q, pgproto3 %q, %v", row, m.Values, err)
		}
		again := binary.BigEndian.AppendUint16(nil, uint16(len(row)))
		for _, v := range row {
			if v == nil {
				again = binary.BigEndian.AppendUint32(again, 0xffffffff)
				continue
			}
			again = append(binary.BigEndian.AppendUint32(again, uint32(len(v))), v...)
		}
		if !bytes.Equal(again, body) {
			t.Fatalf("DataRow %q encodes to %q, not to %q", row, again, body)
		}
	}
}
