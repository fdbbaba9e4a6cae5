package proxy

import "testing"

func TestEveryLetterThatWasTakenRuns(t *testing.T) {
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run()
	}()
	taken, ran := false, false
	l.post(func() {
		l.stop()
		taken = l.post(func() { ran = true })
	})
	soon(t, done)
	if taken && !ran {
		t.Error("a letter was taken and never ran")
	}
}
