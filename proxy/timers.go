package proxy

import "container/heap"

// timer calls the deadline of a socket's owner at a time of the loop's clock. An
// endpoint has one, set to the earliest time at which something may have run out;
// it finds out what by itself and sets it again. So activity costs nothing.
type timer struct {
	at    int64
	index int // in the heap, from 1; 0: not set
	of    *socket
}

// timers are the timers of one loop, the next one first.
type timers []*timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }

func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i+1, j+1
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	tm := x.(*timer)
	*t = append(*t, tm)
	tm.index = len(*t)
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	old := *t
	tm := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	tm.index = 0
	return tm
}

// set makes tm due at the given time; 0 takes it out.
func (t *timers) set(tm *timer, at int64) {
	switch {
	case at == 0:
		if tm.index != 0 {
			heap.Remove(t, tm.index-1)
		}
	case tm.index == 0:
		tm.at = at
		heap.Push(t, tm)
	default:
		tm.at = at
		heap.Fix(t, tm.index-1)
	}
}

func (t timers) next() (at int64, ok bool) {
	if len(t) == 0 {
		return 0, false
	}
	return t[0].at, true
}

// due takes out a timer whose time has come.
func (t *timers) due(now int64) *timer {
	if len(*t) == 0 || (*t)[0].at > now {
		return nil
	}
	return heap.Pop(t).(*timer)
}
