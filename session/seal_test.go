package session

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenantgate/tenantgate/wire"
)

// sealText is a key as text.
var sealText = strings.Repeat("5ea1", 16)

// testSeal seals for a backend whose clock is an hour ahead of ours.
func testSeal(t *testing.T) *backendSeal {
	t.Helper()
	key, err := NewSealKey("k1", sealText)
	if err != nil {
		t.Fatal(err)
	}
	ours := time.Unix(1_700_000_000, 0)
	return &backendSeal{
		key: key, pid: 77, port: 5, epoch: 42, clock: ours.Add(time.Hour), read: ours,
		now: func() time.Time { return ours.Add(time.Minute) }, keeps: true,
	}
}

func TestASealKeyIsNeverPrinted(t *testing.T) {
	s := testSeal(t)
	raw, _ := hex.DecodeString(sealText)
	inner, outer := s.key.Pads()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", s.key)
	shown := fmt.Sprintf("%v %+v %#v %s", s.key, s.key, s.key, s.key) + fmt.Sprintf("%v %+v", *s, DialConfig{Seal: s.key}) + log.String()
	for _, secret := range [][]byte{raw[:8], inner[:8], outer[:8]} {
		for _, form := range []string{string(secret), hex.EncodeToString(secret), fmt.Sprintf("%d %d", secret[0], secret[1]), fmt.Sprintf("0x%x, 0x%x", secret[0], secret[1])} {
			if strings.Contains(shown, form) {
				t.Errorf("%q is shown in %s", form, shown)
			}
		}
	}
}

func TestASealKeyMustBeStrongAndNamed(t *testing.T) {
	for _, tt := range [][2]string{
		{"", sealText},
		{"k.1", sealText},
		{strings.Repeat("k", 33), sealText},
		{"k'1", sealText},
		{"k1", ""},
		{"k1", sealText[:62]},
		{"k1", strings.Repeat("00", 65)},
		{"k1", "xy" + sealText[2:]},
	} {
		_, err := NewSealKey(tt[0], tt[1])
		if err == nil {
			t.Errorf("%q is taken", tt)
		} else if tt[1] != "" && strings.Contains(err.Error(), tt[1]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	if a, b := GenerateSealKey(), GenerateSealKey(); a == b || len(a) != 64 {
		t.Errorf("%q and %q are generated", a, b)
	}
	if _, err := NewSealKey("k1", GenerateSealKey()+"\n"); err != nil {
		t.Error(err)
	}
}

func TestASealBindsContextBackendServerAndTime(t *testing.T) {
	s := testSeal(t)
	fields := sealFields([]string{"app.Tenant"}, []string{"a"})
	if want := "\x00\x00\x00\x0aapp.tenant\x00\x00\x00\x01a"; string(fields) != want {
		t.Errorf("the fields are %q", fields)
	}
	made := s.make(fields, s.now().Add(10*time.Minute))
	parts := strings.Split(made.head, ".")
	// By the server's clock: 61 minutes ahead of ours at the start, and 30 s or 10 minutes and the grace from there.
	if len(parts) != 5 || parts[0] != "v1" || parts[1] != "k1" || parts[2] != "001700003690" || parts[3] != "001700007860" || len(parts[4]) < 26 {
		t.Errorf("the head is %q", made.head)
	}
	raw, _ := hex.DecodeString(sealText)
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte("tenantgate\n" + made.head + "\n77\n5\n42\n" + string(fields)))
	if !hmac.Equal(mac.Sum(nil), made.code) {
		t.Error("the code is not HMAC-SHA256 over head, process, server and fields")
	}
	if again := s.make(fields, time.Time{}); again.head == made.head || bytes.Equal(again.code, made.code) || strings.Split(again.head, ".")[3] != "999999999999" {
		t.Errorf("again: %q", again.head)
	}
	inner, outer := s.key.Pads()
	first := sha256.Sum256(append(inner, "tenantgate\n"+made.head+"\n77\n5\n42\n"+string(fields)...))
	if second := sha256.Sum256(append(outer, first[:]...)); !bytes.Equal(second[:], made.code) {
		t.Error("the pads do not make the same code")
	}
}

// TestASealThatCanBeLatchedIsNoneToKeep makes seals for a backend that can latch
// before and after its client threw the latch away.
func TestASealThatCanBeLatchedIsNoneToKeep(t *testing.T) {
	s := testSeal(t)
	s.keeps = false
	b := &Backend{seal: s}
	for _, until := range []time.Time{{}, s.now().Add(time.Hour)} {
		if head := s.make(nil, until).head; strings.Split(head, ".")[3] != "000000000000" {
			t.Errorf("the head is %q", head)
		}
	}
	if b.Kept() {
		t.Error("a backend that only latches counts as one with a kept seal")
	}
	l := &Lease{stay: &stay{backend: b}, entry: &Entry{earned: &earned{names: []string{"app.x"}, values: []string{""}}, chosen: nothing}}
	for _, sql := range []string{"reset all", "discard all", "reset app.x"} {
		l.undoes(effectsOf(sql))
		if s.keeps {
			t.Errorf("%s lets a seal be kept", sql)
		}
	}
	l.undoes(effectsOf("discard sequences"))
	if head := s.make(nil, time.Time{}).head; strings.Split(head, ".")[3] != "999999999999" || !b.Kept() {
		t.Errorf("the head is %q, kept: %v", head, b.Kept())
	}
}

// effectsOf is what a statement does to the settings.
func effectsOf(sql string) *Effects {
	var j Judge
	j.Begin(NewGuard(GuardConfig{}), true, nil)
	j.Feed([]byte(sql))
	effects := j.End().Effects
	return &effects
}

func TestASealThatIsKeptIsGoodForAsLongAsItsToken(t *testing.T) {
	s := testSeal(t)
	ours := s.now()
	for _, until := range []time.Time{ours, ours.Add(time.Hour), ours.AddDate(250, 0, 0), ours.AddDate(300, 0, 0), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)} {
		head := s.make(nil, until).head
		last, err := strconv.ParseInt(strings.Split(head, ".")[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if least := min(until.Unix(), ours.AddDate(290, 0, 0).Unix()); last < least {
			t.Errorf("until %v: %s is good to %v", until, head, time.Unix(last, 0))
		}
	}
}

func TestNoTwoContextsLookTheSameToASeal(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range [][]string{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a\x00\x00\x00\x01b", ""}, {"a", "b\x00"}, {"b", "a"}} {
		f := string(sealFields([]string{"x.a", "x.b"}, v))
		if seen[f] {
			t.Errorf("%q looks like another one", v)
		}
		seen[f] = true
	}
}

func TestEveryValueOfASealedEntryIsAParameter(t *testing.T) {
	spec := modelSpec
	id := identities(t, "sekret-tenant")[0]
	entry, err := spec.NewEntry(1, id, []wire.Param{{Name: "application_name", Value: "sekret-name"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := entry.appendEnter(&enterQuery{}, nil, "", entry.settings, &Random{}, testSeal(t))
	if err != nil {
		t.Fatal(err)
	}
	var scan wire.Scanner
	m, ok := scan.Next(b)
	if !ok || m.Type != 'P' {
		t.Fatalf("it begins with %q", m.Type)
	}
	_, sql, _ := wire.ParseText(m.Body)
	if strings.Contains(string(sql), "sekret") || strings.Contains(string(sql), "v1.") || strings.Contains(string(sql), "app.") {
		t.Errorf("the text holds a value: %s", sql)
	}
	if !strings.Contains(string(sql), "tenantgate.enter($") {
		t.Errorf("the text is %s", sql)
	}
}

func TestResetOfASealedBackendProvesThatNoLatchIsLeft(t *testing.T) {
	for _, tt := range []struct {
		cells []string
		ok    bool
	}{
		{[]string{"", "f"}, true},
		{[]string{"", "t"}, false},
		{[]string{"", ""}, false},
		{[]string{"a", "f"}, false},
		{[]string{""}, false},
		{[]string{"", "f", "f"}, false},
	} {
		b := &Backend{seal: testSeal(t)}
		r := &Reset{}
		msg, err := r.Begin(b, modelSpec, &Random{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(msg, []byte("tenantgate.latched()")) {
			t.Fatalf("a reset asks %q", msg)
		}
		m := proof(string(r.nonce[:]))
		m[3] = message('D', string(dataRow(append([]string{string(r.nonce[:])}, tt.cells...)...)))
		_, done, err := r.FromServer(bytes.Join(m, nil))
		if done != tt.ok || (err == nil) != tt.ok {
			t.Errorf("%q: done %v, error %v", tt.cells, done, err)
		}
	}
}

func TestDiscardedSequencesAreAnUndoneContext(t *testing.T) {
	var j Judge
	j.Begin(NewGuard(GuardConfig{}), true, nil)
	j.Feed([]byte("begin; discard sequences"))
	effects := j.End().Effects
	entry, err := modelSpec.NewEntry(1, identities(t, "a")[0], []wire.Param{{Name: "application_name", Value: "x"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if settings, context := entry.undone(&effects); !context || len(settings) != 0 {
		t.Errorf("undone are %v, the context: %v", settings, context)
	}
}

func TestTheGuardOfADatabaseThatIsSealedWholeIsItsOwn(t *testing.T) {
	open, sealed := NewGuard(GuardConfig{}), NewGuard(GuardConfig{})
	for _, tt := range []struct {
		whole bool
		terms Terms
		want  *Guard
	}{
		{false, Terms{Guard: open, SealedGuard: sealed}, open},
		{true, Terms{Guard: open, SealedGuard: sealed}, sealed},
		{true, Terms{Guard: open}, open},
	} {
		l := &Lease{stay: &stay{terms: &tt.terms, backend: &Backend{whole: tt.whole}}}
		if l.guard() != tt.want {
			t.Errorf("whole %v: the other guard", tt.whole)
		}
	}
	if c := (GuardConfig{HiddenSQL: GuardEnforce, HiddenSealed: GuardOff}).Sealed(); c.HiddenSQL != GuardOff {
		t.Errorf("sealed: %+v", c)
	}
	for _, s := range []SealState{
		{},
		{Version: 1},
		{Key: "k1"},
		{Version: 1, Key: "k1"},
		{Version: 1, Key: "k1", Tables: []SealedTable{{"t", "sealed"}, {"u", "open"}}},
		{Version: 1, Key: "k1", Tables: []SealedTable{{"t", "sealed"}}, Excess: []string{"x"}},
		{Version: 1, Key: "k1", Tables: []SealedTable{{"t", "sealed"}}, Creates: []string{"schema public"}},
		{Version: 1, Key: "k1", Tables: []SealedTable{{"t", "sealed"}, {"t_1", "open child"}}},
	} {
		if s.Whole() {
			t.Errorf("%+v counts as sealed whole", s)
		}
	}
	if s := (SealState{Version: 1, Key: "k1", Tables: []SealedTable{{"t", "sealed"}, {"u", "own policies"}}}); !s.Whole() {
		t.Errorf("%+v does not count as sealed whole", s)
	}
}
