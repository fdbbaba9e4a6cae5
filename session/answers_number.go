package session

// number is that of the entry of the message of the extended protocol that was sent
// last, or with next 1 of the one that is sent next; 0, which no entry has, when
// PostgreSQL skips it.
func (a *answers) number(next uint64) uint64 {
	if a.skipping {
		return 0
	}
	return a.pushed + uint64(a.coming) + next
}

// through is the number of the last message that was answered.
func (a *answers) through() uint64 { return a.pushed - uint64(a.n) }

// take pops f, the entry in front, and notes its number.
func (a *answers) take(f entry, kind byte) (entry, error) {
	number := a.pushed - uint64(a.n) + 1
	f, err := a.popIf(f, kind)
	if err == nil {
		a.taken = number
	}
	return f, err
}
