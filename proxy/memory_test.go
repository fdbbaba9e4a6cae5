package proxy

import "testing"

func TestMemoryIsGivenBackOnceTheCrowdIsCalm(t *testing.T) {
	var clients turnover
	for i, look := range []struct {
		now  uint64
		want bool
	}{
		{0, false},
		{crowd - 1, false},
		{crowd - 1, false}, // too few to matter
		{3 * crowd, false},
		{5 * crowd, false}, // still coming
		{5 * crowd, true},
		{5 * crowd, false}, // calm, and not twice
		{6*crowd - 1, false},
		{6*crowd - 1, false},
		{6 * crowd, false},
		{6 * crowd, true},
	} {
		if got := clients.tidy(look.now); got != look.want {
			t.Errorf("look %d, at %d: %t", i, look.now, got)
		}
	}
}
