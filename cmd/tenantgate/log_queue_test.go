package main

import (
	"bytes"
	"strings"
	"testing"
)

// blockedWriter takes nothing until it is let go.
type blockedWriter struct {
	free chan struct{}
	got  bytes.Buffer
}

func (w *blockedWriter) Write(p []byte) (int, error) {
	<-w.free
	return w.got.Write(p)
}

func TestAStuckLogStopsNobodyAndLossIsSaid(t *testing.T) {
	w := &blockedWriter{free: make(chan struct{})}
	q := newLogQueue(w)
	for range queuedLines + 100 { // would hang if Write waited
		if n, err := q.Write([]byte("line\n")); n != 5 || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	close(w.free)
	q.Close()
	if !strings.Contains(w.got.String(), "log lines were dropped") {
		t.Error("the loss is not said")
	}
	if n := strings.Count(w.got.String(), "line\n"); n < queuedLines {
		t.Errorf("%d lines were written, want at least %d", n, queuedLines)
	}
}
