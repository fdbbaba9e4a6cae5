package session

import (
	"testing"

	"github.com/tenantgate/tenantgate/wire"
)

// TestSessionsOfATokenShareWhatItEarns, but each has an entry of its own: by that it is
// known again on a backend.
func TestSessionsOfATokenShareWhatItEarns(t *testing.T) {
	ids := identities(t, "a", "a", "b")
	entry := func(number uint64, token int, spec *ContextSpec, outlive bool, settings ...wire.Param) *Entry {
		e, err := spec.NewEntry(number, ids[token], settings, outlive)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := entry(1, 0, modelSpec, false)
	if second := entry(2, 0, modelSpec, false); second == first || second.earned != first.earned || second.Session != 2 {
		t.Error("two sessions of a token do not share what it earns alone")
	}
	if entry(3, 1, modelSpec, false).earned == first.earned || entry(4, 2, modelSpec, false).earned == first.earned {
		t.Error("two tokens share what one has earned")
	}
	other := &ContextSpec{TenantSetting: "app.other"}
	if e := entry(5, 0, other, false); e.names[0] != "app.other" || len(e.values) != 1 || e.Tenant() != "a" {
		t.Errorf("by another configuration the token has earned %q", e.names)
	}
	if e := entry(6, 0, modelSpec, false); e.names[0] != modelSpec.TenantSetting {
		t.Errorf("by the first one it has earned %q", e.names)
	}
	if e := entry(7, 0, modelSpec, true); !e.until.IsZero() {
		t.Error("a session that may outlive its token ends with it")
	}
	if e := entry(8, 0, modelSpec, false); !e.until.Equal(ids[0].ExpiresAt()) {
		t.Error("a session that may not outlive its token does")
	}
	chooses := wire.Param{Name: "work_mem", Value: "1MB"}
	if e := entry(9, 0, modelSpec, false, chooses); len(e.settings) != 1 || len(entry(10, 0, modelSpec, false).settings) != 0 {
		t.Error("a session has the settings of another one")
	}
}
