package proxy

import (
	"errors"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tenantgate/tenantgate/session"
)

// retakes takes the database of s out of the configuration while it has a backend,
// and returns what puts it back.
func retakes(t *testing.T, s *Server) (back func()) {
	t.Helper()
	old := s.config.Load()
	reload := func(cfg Config) {
		t.Helper()
		if err := s.Reload(cfg); err != nil {
			t.Fatal(err)
		}
	}
	s.databases["app"].open[&session.Server{State: session.ServerActive}] = struct{}{}
	without := *old
	without.Databases = maps.Clone(old.Databases)
	delete(without.Databases, "app")
	reload(without)
	return func() { reload(*old) }
}

func TestADatabaseThatIsPutBackIsCountedOnce(t *testing.T) {
	s := looping(t)
	retakes(t, s)()
	s.databases["app"].open[&session.Server{State: session.ServerActive}] = struct{}{}
	families, err := s.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	active := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tenantgate_server_connections" && strings.Contains(m.String(), `value:"active"`) {
				active += m.GetGauge().GetValue()
			}
		}
	}
	if active != 2 {
		t.Errorf("the backends of before and of now are %v", active)
	}
	page := httptest.NewRecorder()
	s.handler().ServeHTTP(page, httptest.NewRequest("GET", "/", nil))
	if got := strings.Count(page.Body.String(), "<tr><td>app<"); got != 1 {
		t.Errorf("the status page has %d rows for it: %s", got, page.Body)
	}
}

func TestReadinessIsNotAskedOfARetiredDatabase(t *testing.T) {
	s := looping(t)
	app := s.databases["app"]
	app.probed, app.probeErr = time.Now().Add(time.Hour), errors.New("it has moved")
	ready := func() int {
		answer := httptest.NewRecorder()
		s.handler().ServeHTTP(answer, httptest.NewRequest("GET", "/readyz", nil))
		return answer.Code
	}
	if got := ready(); got != 503 {
		t.Errorf("a database that is configured and not reachable: %d", got)
	}
	retakes(t, s)
	if got := ready(); got != 200 {
		t.Errorf("one that an old client alone uses: %d", got)
	}
}
