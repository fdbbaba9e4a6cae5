package session

// wantsData says that a COPY FROM STDIN is to be given more: its data, or, in the
// extended protocol, the Sync behind its end. A COPY that something else was sent
// behind wants none: it has failed, or the connection ends there.
func (a *answers) wantsData() bool {
	if !a.copying {
		return false
	}
	ended := false
	for i := 1; i < a.n; i++ {
		switch e := a.at(i); {
		case e == copyEnd:
			ended = true
		case !ended && e != 'S', ended && e.endsCycle():
			return false
		}
	}
	return !ended || a.front().extended()
}

// fed says that a COPY FROM STDIN takes what is sent now for its data.
func (a *answers) fed() bool { return a.copying && a.wantsData() && !a.queued(copyEnd) }

// lost says that it is open whether PostgreSQL would skip what is sent now.
func (a *answers) lost() bool { return a.adrift && !a.queued('S') }

// queued says whether a message of that type is owed an answer.
func (a *answers) queued(e entry) bool {
	for i := range a.n {
		if a.at(i)&^(injected|refused) == e {
			return true
		}
	}
	return false
}

// dropStrays drops what ends a COPY and ended none: PostgreSQL does so too.
func (a *answers) dropStrays() {
	for a.n > 0 && a.at(0) == copyEnd && !a.copying {
		a.pop()
	}
}

// doubtSyncs notes that the COPY in front failed: which of the Syncs right
// behind its statement were taken as part of it cannot be known. Anything else
// behind it ends the COPY, or the connection.
func (a *answers) doubtSyncs() {
	for i := 1; i < a.n && a.at(i) == 'S'; i++ {
		a.ring[(a.head+i)&(len(a.ring)-1)] = doubted
	}
}

// doubtNext is called when a ReadyForQuery came for a doubted Sync: it may have
// been for the first Sync that is certain, too. It returns false when it is open
// then whether what stands before that one was skipped.
func (a *answers) doubtNext() bool {
	for i := range a.n {
		switch a.at(i) {
		case copyEnd, doubted:
		case 'S':
			a.ring[(a.head+i)&(len(a.ring)-1)] = doubted
			return true
		default:
			return !a.adrift || !a.queued('S')
		}
	}
	return true
}

// copyDone ends a COPY FROM STDIN that succeeded: PostgreSQL ignored the Syncs
// that came between its statement and its end.
func (a *answers) copyDone() {
	a.copying = false
	front := a.pop()
	early := a.syncBeforeEnd()
	a.dropThrough(copyEnd)
	a.unpop(front)
	if early && front.extended() && !a.queued('S') && !a.queued('Q') {
		a.unsynced = true
	}
}

// dropThrough drops entries up to and including the first e, if there is one.
func (a *answers) dropThrough(e entry) {
	for i := range a.n {
		if a.at(i)&^(injected|refused) == e {
			for range i + 1 {
				a.pop()
			}
			return
		}
	}
}

// syncBeforeEnd says whether a Sync is queued before the end of a COPY, or
// before the end of the queue.
func (a *answers) syncBeforeEnd() bool {
	for i := range a.n {
		switch e := a.at(i); {
		case e == copyEnd:
			return false
		case e.kind() == 'S':
			return true
		}
	}
	return false
}
