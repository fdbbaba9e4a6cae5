package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenantgate/tenantgate/wire"
)

// world is one run of the model: a pool, its backends, its clients and a scheduler that picks what
// happens next. It stands for the proxy's loops and carries out what the session package decides as
// they do, over connections that deliver bytes late and in pieces of any size.
type world struct {
	rand    *rand.Rand
	now     time.Time
	cfg     PoolConfig
	pool    *Pool
	spec    *ContextSpec
	terms   *Terms
	guarded bool
	crowd   int  // clients at a time
	depth   int  // of the deepest pipelines
	chunk   int  // most bytes that are delivered at once; 0: any number
	names   bool // clients prepare statements and use them later
	utf8    bool // it is known how texts are encoded
	faults  bool // backends die, lie still and go
	reloads bool // the configuration changes
	tenants []*simTenant

	clients []*simClient // alive
	places  []*place     // open, or being closed
	opening []*Server
	posts   []func() // what loops have been told and not done yet
	cancels []flight
	toCome  int // clients that are still to connect
	number  int
	owners  []*simClient // of statements, by id
	fates   map[[2]int]fate
	runs    map[int]int // how often statements have waited, on whatever backend

	trace [4096]event // the last steps
	steps int
	Seen  tally
}

// flight is a cancel request on its way to PostgreSQL.
type flight struct {
	asker *simClient
	place *place
}

// event is one step, for the trace: $a, $b and $n stand in what for the numbers.
type event struct {
	what    string
	a, b, n int
	text    string
}

func (e event) String() string {
	n := strings.NewReplacer("$a", strconv.Itoa(e.a), "$b", strconv.Itoa(e.b), "$n", strconv.Itoa(e.n)).Replace(e.what)
	if e.text == "" {
		return n
	}
	return fmt.Sprintf("%s: %.100q", n, e.text)
}

// violation is the panic that ends a run.
type violation string

func (w *world) violated(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

// note records a step.
func (w *world) note(what string, a, b, n int, text ...string) {
	e := event{what: what, a: a, b: b, n: n}
	if len(text) > 0 {
		e.text = text[0]
	}
	w.trace[w.steps%len(w.trace)] = e
	w.steps++
}

// history is the end of the trace as text: the last steps of the clients and backends that why names,
// and of those that they have to do with.
func (w *world) history(why string) string {
	involved := map[int]bool{}
	words := strings.Fields(why)
	for i, word := range words[1:] {
		if words[i] == "client" || words[i] == "backend" {
			involved[atoi([]byte(strings.Trim(word, ",:")))] = true
		}
	}
	for _, b := range w.places {
		for _, c := range []*simClient{b.client, b.last} {
			if c != nil && (involved[c.number] || involved[b.number]) {
				involved[c.number], involved[b.number] = true, true
			}
		}
	}
	var lines []string
	for i := w.steps - 1; i >= max(0, w.steps-len(w.trace)) && len(lines) < *modelTrace; i-- {
		if e := w.trace[i%len(w.trace)]; involved[e.a] || e.b != 0 && involved[e.b] {
			lines = append(lines, fmt.Sprintf("\n%7d  %s", i, e))
		}
	}
	slices.Reverse(lines)
	return strings.Join(lines, "")
}

func (w *world) newID(c *simClient) int {
	w.owners = append(w.owners, c)
	return len(w.owners) - 1
}

func (w *world) owner(id int) *simClient {
	if id <= 0 || id >= len(w.owners) {
		w.violated("there is no statement %d", id)
	}
	return w.owners[id]
}

// size is how many bytes arrive at once, of n that are there.
func (w *world) size(n int) int {
	most := w.chunk
	if most == 0 || w.rand.IntN(200) == 0 {
		most = n
	}
	if w.rand.IntN(4) == 0 {
		most = min(most, 1+w.rand.IntN(8))
	}
	return min(n, 1+w.rand.IntN(most))
}

// step lets one thing happen. It returns false when nothing can.
func (w *world) step() bool {
	if w.toCome > 0 && len(w.clients) < w.crowd && w.rand.IntN(8) == 0 {
		w.connect()
		return true
	}
	if w.reloads && w.rand.IntN(200) == 0 {
		w.reload()
		return true
	}
	kinds := [...]func() bool{w.post, w.clientStep, w.placeStep, w.openStep, w.cancelStep}
	weights := [...]int{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 4}
	first := weights[w.rand.IntN(len(weights))]
	for i := range kinds {
		if kinds[(first+i)%len(kinds)]() {
			return true
		}
	}
	return false
}

func (w *world) post() bool {
	if len(w.posts) == 0 {
		return false
	}
	f := w.posts[0]
	w.posts = w.posts[1:]
	f()
	return true
}

func (w *world) clientStep() bool {
	if len(w.clients) == 0 {
		return false
	}
	first := w.rand.IntN(len(w.clients))
	for i := range w.clients {
		if w.clients[(first+i)%len(w.clients)].step() {
			return true
		}
	}
	return false
}

func (w *world) placeStep() bool {
	if len(w.places) == 0 {
		return false
	}
	first := w.rand.IntN(len(w.places))
	for i := range w.places {
		if w.places[(first+i)%len(w.places)].step() {
			return true
		}
	}
	return false
}

// connect brings a new client.
func (w *world) connect() {
	w.toCome--
	w.number++
	c := &simClient{w: w, number: w.number, tenant: w.tenants[w.rand.IntN(len(w.tenants))], ops: 1 + w.rand.IntN(12)}
	c.id = c.tenant.ids[w.rand.IntN(len(c.tenant.ids))]
	var params []wire.Param
	c.ref = newPostgres(&reference{c: c}, 1<<30)
	c.ref.logging = true
	if w.rand.IntN(2) == 0 {
		params = []wire.Param{{Name: "application_name", Value: fmt.Sprintf("client%d", c.number)}}
		if w.terms.Transaction {
			params[0].Value = fmt.Sprintf("program%d", w.rand.IntN(2))
		}
		c.ref.settings.defaults["application_name"] = params[0].Value
	}
	c.entry, _ = w.spec.NewEntry(uint64(c.number), c.id, params, false)
	for i, name := range c.entry.names {
		c.ref.settings.defaults[name] = c.entry.values[i]
	}
	for _, r := range reported {
		c.ref.settings.told[r.setting] = c.ref.settings.get(r.setting)
	}
	w.clients = append(w.clients, c)
	w.note("client $a connects", c.number, 0, 0)
	w.acquire(c)
}

// cancelStep brings a cancel request to PostgreSQL, and the word that it was taken back.
func (w *world) cancelStep() bool {
	if len(w.cancels) == 0 {
		return false
	}
	i := w.rand.IntN(len(w.cancels))
	f := w.cancels[i]
	w.cancels = slices.Delete(w.cancels, i, i+1)
	f.place.struck(f.asker)
	w.posts = append(w.posts, f.place.cancelled)
	return true
}

// settle is called when nothing can happen: time passes. It returns false when that changes nothing
// either, and then everybody must have got what they were owed.
func (w *world) settle() bool {
	w.note("time passes", 0, 0, 0)
	for _, b := range slices.Clone(w.places) {
		if b.overdue() {
			return true
		}
	}
	for _, c := range slices.Clone(w.clients) {
		if c.overdue() {
			return true
		}
	}
	if w.toCome > 0 && len(w.clients) < w.crowd {
		w.connect()
		return true
	}
	if next := w.pool.NextTick(); !next.IsZero() && len(w.clients) > 0 {
		if w.now.Before(next) {
			w.now = next
		}
		before := w.pool.Total() + w.pool.Waiting()
		w.do(w.pool.Tick(w.now))
		return before != w.pool.Total()+w.pool.Waiting() || len(w.posts) > 0
	}
	return false
}

// run plays the world to its end, or to its bound of steps.
func (w *world) run(bound int) {
	for w.steps < bound {
		if !w.step() && !w.settle() {
			break
		}
	}
	if w.steps >= bound {
		w.violated("no end after %d steps", w.steps)
	}
	for _, c := range w.clients {
		w.violated("client %d waits for ever, for a backend: %v", c.number, c.place == nil)
	}
}
