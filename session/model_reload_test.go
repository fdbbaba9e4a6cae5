package session

// reload puts another configuration in force: for what is asked for from now on.
func (w *world) reload() {
	w.note("the configuration changes", 0, 0, 0)
	w.Seen.reloads++
	terms := *w.terms
	terms.Transaction, terms.MaxPrepared = w.rand.IntN(2) == 0, []int{0, 1, 2, 200}[w.rand.IntN(4)]
	w.terms = &terms
}
