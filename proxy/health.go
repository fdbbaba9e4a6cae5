package proxy

import (
	"errors"
	"fmt"
	"html"
	"maps"
	"net"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tenantgate/tenantgate/session"
)

// serveHTTP serves metrics and health; nil without an address.
func (s *Server) serveHTTP(address string) (*http.Server, error) {
	if address == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("http.address: %w", err)
	}
	web := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	go func() {
		if err := web.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log().Error("http server ended", "error", err)
		}
	}()
	return web, nil
}

// handler serves /metrics, /healthz, /readyz and a status page. None of it shows
// a tenant, a token or a statement.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		Registry: s.metrics.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	}))
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /{$}", s.statusPage)
	return mux
}

// healthz says ok when every event loop takes its turns.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	alive := make(chan struct{}, len(s.loops))
	for _, l := range s.loops {
		l.post(func() { alive <- struct{}{} })
	}
	deadline := time.After(censusTime)
	for range s.loops {
		select {
		case <-alive:
		case <-deadline:
			http.Error(w, "an event loop does not answer", http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// readyFresh is how long the answer of a backend counts.
const readyFresh = 5 * time.Second

// readyz says ok when new clients are taken and a backend of every database that
// they may ask for answers. "*" stands for databases that are not known before a
// client asks.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	var faults []string
	if s.draining.Load() {
		faults = append(faults, "draining")
	}
	for _, d := range s.configured() {
		if err := d.reachable(r.Context()); err != nil {
			faults = append(faults, d.name+": not reachable")
		}
	}
	if len(faults) > 0 {
		sort.Strings(faults)
		http.Error(w, strings.Join(faults, "\n"), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// statusPage shows pools and clients to a person.
func (s *Server) statusPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, "<!doctype html><title>tenantgate</title><style>body{font:15px system-ui;margin:2em}td,th{padding:.2em .8em;text-align:right}"+
		"th:first-child,td:first-child{text-align:left}</style><h1>tenantgate %s</h1><table><tr><th>database", html.EscapeString(s.config.Load().Version))
	for state := range clientStates {
		_, _ = fmt.Fprintf(w, "<th>clients %s", state)
	}
	for state := range session.ServerStates {
		_, _ = fmt.Fprintf(w, "<th>servers %s", state)
	}
	clients := s.clientStates()
	servers := s.serverStates()
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		_, _ = fmt.Fprintf(w, "<tr><td>%s", html.EscapeString(name))
		for _, n := range clients[name] {
			_, _ = fmt.Fprintf(w, "<td>%d", n)
		}
		for _, n := range servers[name] {
			_, _ = fmt.Fprintf(w, "<td>%d", n)
		}
	}
	_, _ = fmt.Fprint(w, "</table><p><a href=/metrics>metrics</a> <a href=/readyz>readyz</a>")
}
