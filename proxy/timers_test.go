package proxy

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// checkTimers compares the heap with what was set: every timer once, knowing its place, none
// before the one above it.
func checkTimers(t *testing.T, ts timers, set map[*timer]int64) {
	t.Helper()
	if len(ts) != len(set) {
		t.Fatalf("%d timers in the heap, %d are set", len(ts), len(set))
	}
	for i, tm := range ts {
		if at, ok := set[tm]; !ok || tm.at != at {
			t.Fatalf("place %d: due at %d, set to %d (%v)", i, tm.at, at, ok)
		}
		if tm.index != i+1 {
			t.Fatalf("place %d: the timer believes to be at %d", i, tm.index)
		}
		if i > 0 && ts[(i-1)/2].at > tm.at {
			t.Fatalf("place %d is due before the one above it", i)
		}
	}
}

func TestTimersStayInOrderWhateverIsSetMovedAndRemoved(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pool := make([]*timer, 50)
	for i := range pool {
		pool[i] = &timer{}
	}
	var ts timers
	set := map[*timer]int64{}
	now := int64(0)
	for range 20_000 {
		tm := pool[rng.IntN(len(pool))]
		switch rng.IntN(4) {
		case 0:
			ts.set(tm, 0)
			delete(set, tm)
		case 1:
			now += rng.Int64N(20)
			for due := ts.due(now); due != nil; due = ts.due(now) {
				if due.at > now || due.index != 0 {
					t.Fatalf("taken out at %d: due at %d, place %d", now, due.at, due.index)
				}
				delete(set, due)
			}
			for _, at := range set {
				if at <= now {
					t.Fatalf("not taken out at %d: due at %d", now, at)
				}
			}
		default:
			at := now + 1 + rng.Int64N(100)
			ts.set(tm, at)
			set[tm] = at
		}
		checkTimers(t, ts, set)
		if next, ok := ts.next(); ok != (len(set) > 0) || ok && next != earliest(set) {
			t.Fatalf("next is %d (%v), want %d", next, ok, earliest(set))
		}
	}
}

// earliest is when the first of the timers is due; 0 without any.
func earliest(set map[*timer]int64) int64 {
	var times []int64
	for _, at := range set {
		times = append(times, at)
	}
	if len(times) == 0 {
		return 0
	}
	return slices.Min(times)
}

func TestTimersComeInTheOrderOfTheirTimes(t *testing.T) {
	var ts timers
	names := map[*timer]string{}
	add := func(name string, at int64) *timer {
		tm := &timer{}
		names[tm] = name
		ts.set(tm, at)
		return tm
	}
	add("third", 30)
	moved := add("first", 40)
	removed := add("never", 20)
	later := add("fourth", 5)
	add("second", 25)
	ts.set(moved, 10)
	ts.set(later, 50)
	ts.set(removed, 0)
	ts.set(removed, 0) // once more changes nothing
	if ts.due(9) != nil {
		t.Error("a timer came before its time")
	}
	var order []string
	for tm := ts.due(50); tm != nil; tm = ts.due(50) {
		order = append(order, names[tm])
	}
	if want := []string{"first", "second", "third", "fourth"}; !slices.Equal(order, want) {
		t.Errorf("they came as %q, want %q", order, want)
	}
}

func TestATimerThatIsMonthsAwayFitsThePoller(t *testing.T) {
	l := &loop{}
	for _, days := range []time.Duration{30, 50, 365, 36500} {
		l.timers.set(&timer{}, int64(days*24*time.Hour))
		if got := l.timeout(); got != math.MaxInt32 {
			t.Errorf("%d days: the poller waits for %d ms", days, got)
		}
		l.timers = nil
	}
}
