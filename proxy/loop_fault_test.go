package proxy

import "testing"

func TestALetterThatPanicsKeepsNoLaterOneFromRunning(t *testing.T) {
	r := startLoop(t)
	r.faults = make(chan *socket, 10)
	ran := make(chan string, 2)
	r.do(func() { // from the loop itself: both are there when it takes its letters next
		r.post(func() { panic("at fault") })
		r.post(func() { ran <- "second" })
		r.post(func() { ran <- "third" })
	})
	soon(t, r.faults)
	if a, b := soon(t, ran), soon(t, ran); a != "second" || b != "third" {
		t.Errorf("they ran as %s, %s", a, b)
	}
	r.do(func() {})
	if len(r.faults) != 0 || len(ran) != 0 {
		t.Error("a letter ran twice")
	}
}

func TestAPanicKeepsNoLetterOfTheSameTurnFromRunning(t *testing.T) {
	r := startLoop(t)
	r.faults = make(chan *socket, 10)
	bad, badPeer := r.plain()
	ran := make(chan struct{}, 1)
	r.do(func() {
		bad.read = func() { panic("at fault") }
		bad.s.reading(true)
		// Both the wake-up and the bytes are there when the loop looks next.
		if _, err := badPeer.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		awaitBytes(t, bad.s.fd)
		r.post(func() { ran <- struct{}{} })
	})
	soon(t, r.faults)
	soon(t, ran)
	r.do(func() {})
}

func TestAPanicKeepsNoOtherSocketFromBeingReadAgain(t *testing.T) {
	r := startLoop(t)
	r.faults = make(chan *socket, 10)
	bad, _ := r.plain()
	good, _ := r.plain()
	read := make(chan struct{}, 10)
	r.do(func() {
		bad.read = func() { panic("at fault") }
		good.read = func() { read <- struct{}{} }
		bad.s.reading(true)
		good.s.reading(true)
		r.resume(bad.s)
		r.resume(good.s)
	})
	soon(t, r.faults)
	soon(t, read)
	r.do(func() { r.resume(good.s) })
	soon(t, read)
}

func TestAFaultInATimerOrALetterCostsWhatItConcerns(t *testing.T) {
	r := startLoop(t)
	r.faults = make(chan *socket, 10)
	p, _ := r.plain()
	p.expired = func(int64) { panic("at fault") }
	r.do(func() { r.timers.set(&timer{of: p.s}, r.now) })
	if got := soon(t, r.faults); got != p.s {
		t.Error("a timer's fault cost another")
	}
	p, _ = r.plain()
	r.postFor(p.s, func() { panic("at fault") })
	if got := soon(t, r.faults); got != p.s {
		t.Error("a letter's fault cost another")
	}
	r.post(func() { panic("at fault") })
	if got := soon(t, r.faults); got != nil {
		t.Error("the fault of a letter that concerns nobody cost somebody")
	}
}

func TestAFaultInATimerOrALetterEndsItsClient(t *testing.T) {
	for what, fails := range map[string]func(r *running, c *client){
		"a letter to every client":      func(_ *running, c *client) { c.server.everyClient(func(*client) { panic("at fault") }) },
		"a timer, which finds no lease": func(r *running, c *client) { r.do(func() { r.timers.set(&c.timer, r.now) }) },
	} {
		t.Log(what)
		s := looping(t)
		r, c, _ := joined(t, s)
		fails(r, c)
		soon(t, s.empty)
	}
}
