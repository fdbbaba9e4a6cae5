package proxy

import (
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tenantgate/tenantgate/session"
)

// Results that label counters: a closed set.
const (
	resultOK        = "ok"
	resultFailed    = "failed"
	resultTimeout   = "timeout"
	resultUnknown   = "unknown"   // no such cancel key
	resultIdle      = "idle"      // the client runs nothing
	resultMalformed = "malformed" // not a cancel request
)

const namespace = "tenantgate"

// metrics are what /metrics shows, in a registry of their own. What happens for
// every message is counted in plain atomics and read at the scrape.
type metrics struct {
	server   *Server
	registry *prometheus.Registry

	logins     *prometheus.CounterVec
	loginTime  prometheus.Histogram
	sessions   *prometheus.CounterVec
	waits      *prometheus.HistogramVec
	connects   *prometheus.CounterVec
	resets     *prometheus.CounterVec
	discards   *prometheus.CounterVec
	rejections *prometheus.CounterVec
	cancels    *prometheus.CounterVec
	pins       *prometheus.CounterVec
	reloadOK   prometheus.Gauge
	reloadAt   prometheus.Gauge
	audited    *prometheus.GaugeVec

	succeeded prometheus.Counter // of logins: to look a series up costs more than to count

	mu        sync.Mutex
	databases map[string]*databaseMetrics
}

// databaseMetrics are the counters of one database.
type databaseMetrics struct {
	all          *metrics
	name         string
	wait         prometheus.Observer
	left         prometheus.Counter // of the sessions that have ended: those whose client said goodbye
	proven       prometheus.Counter // of the resets
	queries      atomic.Uint64
	transactions atomic.Uint64
	received     atomic.Uint64
	sent         atomic.Uint64
	switches     atomic.Uint64
	overtime     atomic.Uint64
}

func newMetrics(s *Server) *metrics {
	m := &metrics{server: s, registry: prometheus.NewRegistry(), databases: map[string]*databaseMetrics{}}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
		m.registry.MustRegister(g)
		return g
	}
	m.logins = counter("logins_total", "Logins by result: success, or why they were refused.", "result")
	m.sessions = counter("sessions_total", "Sessions that have ended, by why.", "database", "end")
	m.connects = counter("server_connects_total", "Attempts to open a backend.", "database", "result")
	m.resets = counter("server_resets_total", "Resets of backends after a session, by whether they were proven.", "database", "result")
	m.discards = counter("server_discarded_total", "Backends that were closed, by why.", "database", "reason")
	m.rejections = counter("guard_rejections_total", "Statements that violated a rule of the guard.", "rule")
	m.cancels = counter("cancel_requests_total", "Cancel requests of clients, by what became of them.", "result")
	m.pins = counter("client_pins_total", "Times that a client began to keep its backend between transactions, by what it left in the session.", "database", "kind")
	m.reloadOK = gauge("config_last_reload_successful", "Whether the last reload of the configuration succeeded.")
	m.reloadAt = gauge("config_last_reload_success_timestamp_seconds", "When the configuration was last loaded successfully.")
	m.audited = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "audit_findings", Help: "What the rules about the role and the seal found in the database after the start or the last reload.",
	}, []string{"database", "level"})
	m.registry.MustRegister(m.audited)
	m.loginTime = prometheus.NewHistogram(histogram("login_seconds", "Time from accept to the hand-over of a client that logged in."))
	m.waits = prometheus.NewHistogramVec(histogram("client_wait_seconds", "Time a client waited for a backend with its context entered."), []string{"database"})
	m.registry.MustRegister(m.loginTime, m.waits, &census{m},
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/live:bytes$")})), // the heap without its garbage
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "The version that runs."}, []string{"version"})
	build.WithLabelValues(s.config.Load().Version).Set(1)
	m.registry.MustRegister(build)
	m.reloaded(true)
	for _, result := range loginResults {
		m.logins.WithLabelValues(string(result))
	}
	m.succeeded = m.logins.WithLabelValues(string(endSuccess))
	for _, result := range []string{resultOK, resultFailed, resultUnknown, resultIdle, resultMalformed} {
		m.cancels.WithLabelValues(result)
	}
	return m
}

// histogram has buckets from 0.1 ms to 30 s, and no native ones: every transaction
// may be observed, and those would cost ten times as much.
func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help,
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}
}

// database returns the counters of a database, the same ones after a reload.
func (m *metrics) database(name string) *databaseMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.databases[name]
	if d == nil {
		d = &databaseMetrics{
			all: m, name: name, wait: m.waits.WithLabelValues(name),
			left: m.sessions.WithLabelValues(name, string(endClient)), proven: m.resets.WithLabelValues(name, resultOK),
		}
		m.databases[name] = d
		d.begin()
	}
	return d
}

// begin makes every series of the database exist from the start, so that a rate
// over the first event is not lost.
func (d *databaseMetrics) begin() {
	for _, result := range []string{resultOK, resultFailed} {
		d.all.connects.WithLabelValues(d.name, result)
	}
	for _, result := range []string{resultOK, resultFailed, resultTimeout} {
		d.all.resets.WithLabelValues(d.name, result)
	}
	for _, why := range session.DiscardReasons {
		d.all.discards.WithLabelValues(d.name, string(why))
	}
	for _, why := range session.Pins() {
		d.all.pins.WithLabelValues(d.name, why.String())
	}
	for _, why := range sessionEnds {
		d.all.sessions.WithLabelValues(d.name, string(why))
	}
}

func (m *metrics) login(result reason) {
	if result == endSuccess {
		m.succeeded.Inc()
		return
	}
	m.logins.WithLabelValues(string(result)).Inc()
}

func (m *metrics) guarded(rule string)  { m.rejections.WithLabelValues(rule).Inc() }
func (m *metrics) cancel(result string) { m.cancels.WithLabelValues(result).Inc() }

func (m *metrics) reloaded(ok bool) {
	if !ok {
		m.reloadOK.Set(0)
		return
	}
	m.reloadOK.Set(1)
	m.reloadAt.SetToCurrentTime()
}

func (d *databaseMetrics) waited(nanos int64) { d.wait.Observe(time.Duration(nanos).Seconds()) }
func (d *databaseMetrics) connect(result string) {
	d.all.connects.WithLabelValues(d.name, result).Inc()
}

func (d *databaseMetrics) reset(result string) {
	if result == resultOK {
		d.proven.Inc()
		return
	}
	d.all.resets.WithLabelValues(d.name, result).Inc()
}

func (d *databaseMetrics) pinned(why session.Pin) {
	d.all.pins.WithLabelValues(d.name, why.String()).Inc()
}

func (d *databaseMetrics) ended(why reason) {
	if why == endClient {
		d.left.Inc()
		return
	}
	d.all.sessions.WithLabelValues(d.name, string(why)).Inc()
}

func (d *databaseMetrics) discarded(why session.Reason) {
	d.all.discards.WithLabelValues(d.name, string(why)).Inc()
}

// count takes over what a lease has counted.
func (d *databaseMetrics) count(s *session.Stats) {
	if s.Queries > 0 {
		d.queries.Add(s.Queries)
		d.transactions.Add(s.Transactions)
		*s = session.Stats{}
	}
}

// census reads at the scrape what is not counted as it happens.
type census struct{ m *metrics }

var (
	clientsDesc = describe("client_connections", "Clients by what they are doing.", "database", "state")
	serversDesc = describe("server_connections", "Backends by what they are doing.", "database", "state")
	queriesDesc = describe("queries_total", "Simple queries and synchronized batches that were answered.", "database")
	txDesc      = describe("transactions_total", "Answers after which no transaction was open.", "database")
	recvDesc    = describe("received_bytes_total", "Bytes of protocol received from clients.", "database")
	sentDesc    = describe("sent_bytes_total", "Bytes of protocol sent to clients.", "database")
	timeoutDesc = describe("statement_timeouts_total", "Statements that were cancelled because of statement_timeout.", "database")
	switchDesc  = describe("tenant_switches_total", "Leases of a backend whose last tenant was another one.", "database")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *census) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{clientsDesc, serversDesc, queriesDesc, txDesc, recvDesc, sentDesc, switchDesc, timeoutDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *census) Collect(ch chan<- prometheus.Metric) {
	s := c.m.server
	clients := s.clientStates()
	for name, servers := range s.serverStates() {
		for state := range clientStates {
			ch <- gaugeOf(clientsDesc, clients[name][state], name, state.String())
		}
		for state, n := range servers {
			ch <- gaugeOf(serversDesc, n, name, session.ServerState(state).String())
		}
		m := c.m.database(name)
		ch <- counterOf(queriesDesc, m.queries.Load(), name)
		ch <- counterOf(txDesc, m.transactions.Load(), name)
		ch <- counterOf(recvDesc, m.received.Load(), name)
		ch <- counterOf(sentDesc, m.sent.Load(), name)
		ch <- counterOf(switchDesc, m.switches.Load(), name)
		ch <- counterOf(timeoutDesc, m.overtime.Load(), name)
	}
	ch <- gaugeOf(clientsDesc, s.arrivals.count(), "", clientLogin.String())
}

func gaugeOf(d *prometheus.Desc, v int, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func counterOf(d *prometheus.Desc, v uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// censusTime bounds how long a scrape waits for a loop.
const censusTime = 2 * time.Second

// clientStates asks every loop for its clients by database and state.
func (s *Server) clientStates() map[string][clientStates]int {
	total := map[string][clientStates]int{}
	answers := make(chan map[string][clientStates]int, len(s.loops))
	for _, l := range s.loops {
		l.post(func() { answers <- l.census() })
	}
	deadline := time.After(censusTime)
	for range s.loops {
		select {
		case part := <-answers:
			for name, counts := range part {
				sum := total[name]
				for i, n := range counts {
					sum[i] += n
				}
				total[name] = sum
			}
		case <-deadline:
			return total
		}
	}
	return total
}

// census counts the clients of a loop.
func (l *loop) census() map[string][clientStates]int {
	counts := map[string][clientStates]int{}
	for _, s := range l.sockets {
		if s == nil {
			continue
		}
		if c, ok := s.owner.(*client); ok {
			n := counts[c.db.name]
			n[c.state()]++
			counts[c.db.name] = n
		}
	}
	return counts
}

// serverStates counts the backends by database and state. One that was taken out of
// the configuration and put back is two for as long as clients of before are there.
func (s *Server) serverStates() map[string][session.ServerStates]int {
	total := map[string][session.ServerStates]int{}
	for _, d := range s.allDatabases() {
		sum := total[d.name]
		for state, n := range d.states() {
			sum[state] += n
		}
		total[d.name] = sum
	}
	return total
}

// states counts the places of a database's pool by state.
func (d *database) states() [session.ServerStates]int {
	var n [session.ServerStates]int
	d.mu.Lock()
	defer d.mu.Unlock()
	for place := range d.open {
		n[place.State]++
	}
	return n
}
