package proxy

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain holds that no test leaves a goroutine behind: what the proxy starts, it also ends.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
