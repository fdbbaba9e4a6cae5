package proxy

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tenantgate/tenantgate/session"
)

// TestAStepOfABackendHasItsOwnTimeWhateverWasTimedBefore takes the time as given: the
// loop does not turn.
func TestAStepOfABackendHasItsOwnTimeWhateverWasTimedBefore(t *testing.T) {
	type step struct {
		after, limit time.Duration // limit 0: the step has none
	}
	const s = time.Second
	for name, c := range map[string]struct {
		steps     []step
		last, too time.Duration // the last moment that it lives, and one by which it is given up; 0: never
	}{
		"one step":                          {[]step{{0, 5 * s}}, 5*s - 1, 5 * s},
		"a step that was over in time":      {[]step{{0, 5 * s}, {s, 0}}, 60 * s, 0},
		"a longer one behind it":            {[]step{{0, 5 * s}, {s, 0}, {2 * s, 9 * s}}, 11*s - 1, 11 * s},
		"a shorter one behind it":           {[]step{{0, 5 * s}, {s, 0}, {2 * s, s}}, 3*s - 1, 3 * s},
		"one behind the time of the first":  {[]step{{0, 5 * s}, {s, 0}, {6 * s, 5 * s}}, 11*s - 1, 11 * s},
		"many, each in the time of another": {[]step{{0, 5 * s}, {4 * s, 5 * s}, {8 * s, 5 * s}, {12 * s, 5 * s}}, 17*s - 1, 17 * s},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := newLoop()
			if err != nil {
				t.Fatal(err)
			}
			defer l.poll.close()
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer closeFD(pair[1])
			b := &backend{db: looping(t).databases["app"], slot: &session.Server{}, be: &session.Backend{}, mode: backendPausing}
			b.sock = &socket{fd: pair[0], owner: b}
			if err := l.attach(b.sock, wantRead); err != nil {
				t.Fatal(err)
			}
			defer func() {
				l.close(b.sock)
				l.bury()
			}()
			begin := int64(time.Hour)
			at := func(d time.Duration) {
				l.now = begin + int64(d)
				l.expire()
			}
			for _, step := range c.steps {
				at(step.after)
				b.timeout(step.limit)
			}
			for d := c.steps[len(c.steps)-1].after; d < c.last; d += s / 2 {
				at(d)
			}
			if at(c.last); b.mode == backendClosing {
				t.Fatal("it is given up before its time")
			}
			if c.too == 0 {
				return
			}
			if at(c.too); b.mode != backendClosing {
				t.Fatal("it is not given up in time")
			}
			if len(l.timers) > 0 {
				t.Error("a backend that is given up has a timer")
			}
		})
	}
}
