package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestBuiltMessagesAreThoseOfTheProtocol(t *testing.T) {
	t.Parallel()
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var dst []byte
	for _, c := range []struct {
		got  []byte
		want interface{ Encode([]byte) ([]byte, error) }
	}{
		{must(AppendQuery(dst, "select 1")), &pgproto3.Query{String: "select 1"}},
		{must(AppendParse(dst, "s", "select $1", 23, 0)), &pgproto3.Parse{Name: "s", Query: "select $1", ParameterOIDs: []uint32{23, 0}}},
		{
			must(AppendBind(dst, "p", "s", 1, [][]byte{[]byte("a\x00b"), nil, {}}, 1)),
			&pgproto3.Bind{
				DestinationPortal: "p", PreparedStatement: "s", ParameterFormatCodes: []int16{1},
				Parameters: [][]byte{[]byte("a\x00b"), nil, {}}, ResultFormatCodes: []int16{1},
			},
		},
		{must(AppendExecute(dst, "p")), &pgproto3.Execute{Portal: "p"}},
		{must(AppendClose(dst, 'S', "s")), &pgproto3.Close{ObjectType: 'S', Name: "s"}},
		{must(AppendDescribe(dst, 'P', "p")), &pgproto3.Describe{ObjectType: 'P', Name: "p"}},
		{must(AppendStartup(dst, Version30, []Param{{"user", "a"}})), &pgproto3.StartupMessage{ProtocolVersion: Version30, Parameters: map[string]string{"user": "a"}}},
		{AppendSync(dst), &pgproto3.Sync{}},
		{AppendFlush(dst), &pgproto3.Flush{}},
		{AppendTerminate(dst), &pgproto3.Terminate{}},
		{AppendCancelRequest(dst, 7, []byte("abcd")), &pgproto3.CancelRequest{ProcessID: 7, SecretKey: []byte("abcd")}},
		{
			AppendError(dst, "FATAL", "57P01", "draining", "again"),
			&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01", Message: "draining", Hint: "again"},
		},
		{AppendNotice(dst, "WARNING", "01000", "x", ""), &pgproto3.NoticeResponse{Severity: "WARNING", SeverityUnlocalized: "WARNING", Code: "01000", Message: "x"}},
		{AppendReadyForQuery(dst, 'E'), &pgproto3.ReadyForQuery{TxStatus: 'E'}},
		{AppendParameterStatus(dst, "TimeZone", "UTC"), &pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}},
		{AppendBackendKeyData(dst, 7, []byte("abcd")), &pgproto3.BackendKeyData{ProcessID: 7, SecretKey: []byte("abcd")}},
		{AppendAuthOK(dst), &pgproto3.AuthenticationOk{}},
		{AppendAuthCleartext(dst), &pgproto3.AuthenticationCleartextPassword{}},
	} {
		if want := must(c.want.Encode(nil)); !bytes.Equal(c.got, want) {
			t.Errorf("%T: %q, want %q", c.want, c.got, want)
		}
	}
}

func TestNothingBuiltForABackendCanSmuggleAMessage(t *testing.T) {
	t.Parallel()
	const bad = "a\x00Q\x00\x00\x00\x05\x00"
	long := strings.Repeat("x", 10000)
	chunk := make([]byte, 128<<10)
	gigabytes := make([][]byte, 65535) // one buffer told 65535 times: more than an Int32 can say
	for i := range gigabytes {
		gigabytes[i] = chunk
	}
	before := []byte("kept")
	for name, c := range map[string]struct {
		build func([]byte) ([]byte, error)
		want  error
	}{
		"query":                {func(d []byte) ([]byte, error) { return AppendQuery(d, bad) }, ErrEmbeddedNUL},
		"parse name":           {func(d []byte) ([]byte, error) { return AppendParse(d, bad, "") }, ErrEmbeddedNUL},
		"parse text":           {func(d []byte) ([]byte, error) { return AppendParse(d, "", bad) }, ErrEmbeddedNUL},
		"bind portal":          {func(d []byte) ([]byte, error) { return AppendBind(d, bad, "", 0, nil, 0) }, ErrEmbeddedNUL},
		"bind statement":       {func(d []byte) ([]byte, error) { return AppendBind(d, "", bad, 0, nil, 0) }, ErrEmbeddedNUL},
		"execute":              {func(d []byte) ([]byte, error) { return AppendExecute(d, bad) }, ErrEmbeddedNUL},
		"close":                {func(d []byte) ([]byte, error) { return AppendClose(d, 'S', bad) }, ErrEmbeddedNUL},
		"describe":             {func(d []byte) ([]byte, error) { return AppendDescribe(d, 'P', bad) }, ErrEmbeddedNUL},
		"startup name":         {func(d []byte) ([]byte, error) { return AppendStartup(d, Version30, []Param{{bad, ""}}) }, ErrEmbeddedNUL},
		"startup value":        {func(d []byte) ([]byte, error) { return AppendStartup(d, Version30, []Param{{"a", bad}}) }, ErrEmbeddedNUL},
		"startup empty name":   {func(d []byte) ([]byte, error) { return AppendStartup(d, Version30, []Param{{"", "x"}}) }, ErrEmptyName},
		"startup too long":     {func(d []byte) ([]byte, error) { return AppendStartup(d, Version30, []Param{{"a", long}}) }, ErrTooLong},
		"execute too long":     {func(d []byte) ([]byte, error) { return AppendExecute(d, long) }, ErrTooLong},
		"close too long":       {func(d []byte) ([]byte, error) { return AppendClose(d, 'S', long) }, ErrTooLong},
		"describe too long":    {func(d []byte) ([]byte, error) { return AppendDescribe(d, 'S', long) }, ErrTooLong},
		"bind too long":        {func(d []byte) ([]byte, error) { return AppendBind(d, "", "", 0, gigabytes, 0) }, ErrTooLong},
		"parse, too many oids": {func(d []byte) ([]byte, error) { return AppendParse(d, "", "", make([]uint32, 65536)...) }, ErrTooLong},
		"bind, too many":       {func(d []byte) ([]byte, error) { return AppendBind(d, "", "", 0, make([][]byte, 65536), 0) }, ErrTooLong},
	} {
		if got, err := c.build(before); !errors.Is(err, c.want) || string(got) != "kept" {
			t.Errorf("%s: %d bytes, %v; want %v and dst as it was", name, len(got), err, c.want)
		}
	}
}

func TestTextsForAClientAreCut(t *testing.T) {
	t.Parallel()
	_, code, message, ok := ErrorFields(AppendError(nil, "ERROR", "42501", "a\x00Sx", "b\x00")[HeaderSize:])
	if !ok || code != "42501" || message != "a" {
		t.Errorf("an error with NULs reads as %q %q %v", code, message, ok)
	}
	name, value, ok := ParameterStatus(AppendParameterStatus(nil, "a\x00b", "c\x00d")[HeaderSize:])
	if !ok || name != "a" || value != "c" {
		t.Errorf("a parameter with NULs reads as %q %q %v", name, value, ok)
	}
	if got := NegotiateVersion(nil, Version32, []string{"a\x00b"}); !bytes.HasSuffix(got, []byte("\x00\x01a\x00")) {
		t.Errorf("an option with a NUL is told as %q", got)
	}
	for i := range 4 {
		_, _, message, ok := ErrorFields(AppendError(nil, "ERROR", "42501", strings.Repeat("a", i)+strings.Repeat("€", maxText), "")[HeaderSize:])
		if !ok || len(message) > maxText || len(message) < maxText-3 || !utf8.ValidString(message) {
			t.Errorf("a long text comes as %d bytes, valid %v", len(message), utf8.ValidString(message))
		}
	}
}

func TestBuildersAllocateNothingWhenThereIsRoom(t *testing.T) {
	dst := make([]byte, 0, 1024)
	params := [][]byte{[]byte("a"), nil}
	if n := testing.AllocsPerRun(100, func() {
		d, _ := AppendParse(dst, "s", "select $1", 25)
		d, _ = AppendBind(d, "", "s", 0, params, 0)
		d, _ = AppendDescribe(d, 'S', "s")
		d, _ = AppendExecute(d, "")
		d, _ = AppendClose(d, 'S', "s")
		d, _ = AppendQuery(d, "select 1")
		d = AppendSync(d)
		d = AppendError(d, "ERROR", "42501", "no", "hint")
		AppendParameterStatus(d, "a", "b")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzBuild shows that any sequence built from any strings reads back as exactly the messages that were
// meant, in this package and in pgproto3.
func FuzzBuild(f *testing.F) {
	f.Add("s", "select $1", []byte("value"), uint32(25))
	f.Add("", "a\x00Q\x00\x00\x00\x05\x00", []byte("x\x00y"), uint32(0))
	f.Add("n\x00", "", []byte{}, uint32(1))
	f.Fuzz(func(t *testing.T, name, text string, value []byte, oid uint32) {
		var b []byte
		var want string
		add := func(typ string, next []byte, err error) {
			if err == nil {
				want += typ
			} else if len(next) != len(b) {
				t.Fatalf("%s refused with %v, but %d bytes were appended", typ, err, len(next)-len(b))
			}
			b = next
		}
		next, err := AppendParse(b, name, text, oid)
		add("P", next, err)
		next, err = AppendBind(b, "", name, 0, [][]byte{value, nil}, 0)
		add("B", next, err)
		next, err = AppendDescribe(b, 'S', name)
		add("D", next, err)
		next, err = AppendExecute(b, name)
		add("E", next, err)
		next, err = AppendClose(b, 'P', name)
		add("C", next, err)
		next, err = AppendQuery(b, text)
		add("Q", next, err)
		add("S", AppendSync(b), nil)
		frames, end, refused := wholeBuffer(b, CheckClient)
		var got string
		for _, fr := range frames {
			got += string(fr.typ)
		}
		if refused || end != len(b) || got != want {
			t.Fatalf("built %s, but %s reads back (refused %v, %d of %d bytes)", want, got, refused, end, len(b))
		}
		backend := pgproto3.NewBackend(bytes.NewReader(b), nil)
		for _, fr := range frames {
			m, err := backend.Receive()
			if err != nil {
				t.Fatalf("pgproto3 at %c: %v", fr.typ, err)
			}
			if p, ok := m.(*pgproto3.Parse); ok && (p.Name != name || p.Query != text || !reflect.DeepEqual(p.ParameterOIDs, []uint32{oid})) {
				t.Fatalf("pgproto3 reads %+v", p)
			}
		}
		report := AppendError(nil, name, text, text, name)
		if frames, end, refused := wholeBuffer(report, CheckServer); refused || len(frames) != 1 || end != len(report) {
			t.Fatalf("the error %q reads back as %v", report, frames)
		} else if _, _, _, ok := ErrorFields([]byte(frames[0].body)); !ok {
			t.Fatalf("the error %q has no fields", report)
		}
	})
}
