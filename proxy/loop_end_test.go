package proxy

import "testing"

func TestWhatIsBehindAClosedSocketWaitsForItsEnd(t *testing.T) {
	r := startLoop(t)
	c, peer := r.plain()
	done := make(chan error, 1)
	r.do(func() {
		r.close(c.s)
		r.behind = append(r.behind, func() {
			_, err := peer.Read(make([]byte, 1)) // at once, if the other end is closed
			done <- err
		})
	})
	if err := soon(t, done); err == nil {
		t.Error("the peer read something")
	}
	r.do(func() {
		if len(r.behind) != 0 {
			t.Error("it is done once more")
		}
	})
}

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
