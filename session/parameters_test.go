package session

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/tenantgate/tenantgate/wire"
)

// TestParametersAreWhatWasReportedLast compares them with a map.
func TestParametersAreWhatWasReportedLast(t *testing.T) {
	want := map[string]string{"TimeZone": "UTC", "application_name": "", "a": "b"}
	p := newParameters(want)
	names := []string{"TimeZone", "Time", "application_name", "a", "new", "a\x01"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		name := names[r.IntN(len(names))]
		want[name] = strings.Repeat("v", r.IntN(2000)*r.IntN(2))
		p.set(name, want[name])
		got := map[string]string{}
		var scan wire.Scanner
		for b := []byte(p.Messages()); len(b) > 0; {
			m, ok := scan.Next(b)
			if !ok || m.Type != 'S' || !m.Whole() {
				t.Fatalf("what is told is no list of messages: %q", p.Messages())
			}
			name, value, _ := wire.ParameterStatus(m.Body)
			got[name] = value
			b = b[wire.HeaderSize+m.Size():]
		}
		if !maps.Equal(got, want) {
			t.Fatalf("%v is told in the place of %v", got, want)
		}
		for _, name := range append(names, "TimeZon", "") {
			if p.Value(name) != want[name] {
				t.Fatalf("%s is %q, want %q", name, p.Value(name), want[name])
			}
		}
	}
}

// TestBackendsWithTheSameParametersShareThem looks at two that went different ways.
func TestBackendsWithTheSameParametersShareThem(t *testing.T) {
	values := map[string]string{"TimeZone": "UTC", "application_name": "", "client_encoding": "UTF8"}
	p, other := newParameters(values), newParameters(values)
	p.set("application_name", "psql")
	if p == other {
		t.Error("different ones are the same")
	}
	p.set("application_name", "")
	if unsafe.StringData(p.Messages()) != unsafe.StringData(other.Messages()) {
		t.Error("the same ones are not shared")
	}
	if (Parameters{}).Messages() != "" || (Parameters{}).Value("TimeZone") != "" {
		t.Error("the zero value holds some")
	}
}

// TestSharedParametersAreBounded reports what no two backends have.
func TestSharedParametersAreBounded(t *testing.T) {
	var p Parameters
	for i := range 3 * maxShared {
		p.set("application_name", strings.Repeat("x", i*longestText/maxShared))
	}
	texts.Lock()
	defer texts.Unlock()
	if len(texts.known) > maxShared {
		t.Errorf("%d texts are kept", len(texts.known))
	}
	for text := range texts.known {
		if len(text) > longestText {
			t.Errorf("one of %d bytes is kept", len(text))
		}
	}
}
