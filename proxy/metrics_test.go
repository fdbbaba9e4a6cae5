package proxy

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tenantgate/tenantgate/session"
)

// promised are the metrics that dashboards and alerts rely on: each with its
// type and labels.
var promised = map[string]struct {
	kind   string
	labels []string
}{
	"client_connections":                           {"GAUGE", []string{"database", "state"}},
	"server_connections":                           {"GAUGE", []string{"database", "state"}},
	"client_wait_seconds":                          {"HISTOGRAM", []string{"database"}},
	"login_seconds":                                {"HISTOGRAM", nil},
	"logins_total":                                 {"COUNTER", []string{"result"}},
	"sessions_total":                               {"COUNTER", []string{"database", "end"}},
	"client_pins_total":                            {"COUNTER", []string{"database", "kind"}},
	"queries_total":                                {"COUNTER", []string{"database"}},
	"transactions_total":                           {"COUNTER", []string{"database"}},
	"received_bytes_total":                         {"COUNTER", []string{"database"}},
	"sent_bytes_total":                             {"COUNTER", []string{"database"}},
	"server_connects_total":                        {"COUNTER", []string{"database", "result"}},
	"server_resets_total":                          {"COUNTER", []string{"database", "result"}},
	"server_discarded_total":                       {"COUNTER", []string{"database", "reason"}},
	"tenant_switches_total":                        {"COUNTER", []string{"database"}},
	"statement_timeouts_total":                     {"COUNTER", []string{"database"}},
	"guard_rejections_total":                       {"COUNTER", []string{"rule"}},
	"cancel_requests_total":                        {"COUNTER", []string{"result"}},
	"config_last_reload_successful":                {"GAUGE", nil},
	"config_last_reload_success_timestamp_seconds": {"GAUGE", nil},
	"audit_findings":                               {"GAUGE", []string{"database", "level"}},
	"build_info":                                   {"GAUGE", []string{"version"}},
}

// looping returns a server of which nothing runs but its one loop.
func looping(t *testing.T) *Server {
	t.Helper()
	s, err := New(Config{
		Listen: Listen{Loops: 1, TLS: TLS{Mode: TLSDisable}}, Context: &session.ContextSpec{TenantSetting: "app.current_tenant_id"},
		Databases: map[string]Database{"app": {PoolSize: 1}}, Log: slog.New(slog.DiscardHandler), Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	l := s.loops[0]
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run()
	}()
	t.Cleanup(func() {
		l.post(l.stop)
		<-done
	})
	return s
}

// measured returns the metrics of a server that has counted one of everything.
func measured(t *testing.T) *metrics {
	t.Helper()
	s := looping(t)
	m := s.metrics
	m.login(endSuccess)
	m.guarded("context")
	m.cancel(resultOK)
	s.Audited("app", map[string]int{"error": 1})
	d := m.database("app")
	d.connect(resultOK)
	d.reset(resultOK)
	d.ended(endClient)
	d.discarded(session.ReasonDesync)
	return m
}

func TestEveryPromisedMetricIsThere(t *testing.T) {
	families, err := measured(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	missing := maps.Clone(promised)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name, own := strings.CutPrefix(f.GetName(), namespace+"_")
		if !own {
			continue // of the Go runtime and the process
		}
		want, ok := promised[name]
		if !ok {
			t.Errorf("%s is not in the list of what is promised", f.GetName())
			continue
		}
		delete(missing, name)
		if row := fmt.Sprintf("\n| `%s` | %s", f.GetName(), strings.TrimPrefix(strings.Join(want.labels, ", ")+" |", " ")); !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no row%s", row)
		}
		if kind := f.GetType().String(); kind != want.kind {
			t.Errorf("%s is a %s, want %s", f.GetName(), kind, want.kind)
		}
		for _, series := range f.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, l.GetName())
			}
			if !slices.Equal(labels, want.labels) {
				t.Errorf("%s has the labels %v, want %v", f.GetName(), labels, want.labels)
			}
		}
	}
	for name := range missing {
		t.Errorf("%s_%s is missing", namespace, name)
	}
}

func TestMetricsAreWellFormedAndExplained(t *testing.T) {
	m := measured(t)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.TrimSpace(f.GetHelp()) == "" {
			t.Errorf("%s has no help text", f.GetName())
		}
	}
}

func TestAReloadThatFailsShowsAndKeepsItsTime(t *testing.T) {
	m := measured(t)
	at := testutil.ToFloat64(m.reloadAt)
	if testutil.ToFloat64(m.reloadOK) != 1 || at == 0 {
		t.Errorf("after the start: %v at %v", testutil.ToFloat64(m.reloadOK), at)
	}
	m.reloaded(false)
	if testutil.ToFloat64(m.reloadOK) != 0 || testutil.ToFloat64(m.reloadAt) != at {
		t.Errorf("after a reload that failed: %v at %v, the last good one was at %v", testutil.ToFloat64(m.reloadOK), testutil.ToFloat64(m.reloadAt), at)
	}
	m.reloaded(true)
	if testutil.ToFloat64(m.reloadOK) != 1 {
		t.Error("after a good one: not successful")
	}
}
