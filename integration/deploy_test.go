package integration

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readText reads a file of the repository.
func readText(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheAlertRulesFireWhenTheyShould runs the rules against made-up series.
func TestTheAlertRulesFireWhenTheyShould(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "tenantgate.rules.yaml"},
		{"test", "rules", "tenantgate.test.yaml"},
	} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = "../deploy/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	rules := readText(t, "../deploy/prometheus/tenantgate.rules.yaml")
	tests := readText(t, "../deploy/prometheus/tenantgate.test.yaml")
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		if !strings.Contains(tests, `alertname="`+m[1]+`"`) {
			t.Errorf("no test makes %s fire", m[1])
		}
	}
}

// dashboard is what the tests read of Grafana's model.
type dashboard struct {
	Title      string
	UID        string
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		FieldConfig              struct{ Defaults struct{ Unit string } }
		Targets                  []struct{ Expr, LegendFormat string }
	}
}

// readDashboard parses the dashboard.
func readDashboard(t testing.TB) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(readText(t, "../deploy/grafana/tenantgate.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestTheDashboardIsWhole wants every panel to say what it shows, and none to
// lie on another one.
func TestTheDashboardIsWhole(t *testing.T) {
	d := readDashboard(t)
	var variables, rows []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	for _, want := range []string{"datasource", "database"} {
		if !slices.Contains(variables, want) {
			t.Errorf("there is no variable %s", want)
		}
	}
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if other, ok := ids[p.ID]; ok || p.ID == 0 {
			t.Errorf("%q has the id %d, as has %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies on %q or outside, at %d,%d", p.Title, other, x, y)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: title, description, unit or query is missing", p.ID, p.Title)
		}
	}
	if want := []string{"Overview", "Pools and waiting", "Logins and refusals", "Discarded backends", "Process"}; !slices.Equal(rows, want) {
		t.Errorf("the rows are %q, want %q", rows, want)
	}
}

var (
	selector     = regexp.MustCompile(`\b([a-z_][a-z0-9_]*)\{([^}]*)\}`)
	metricName   = regexp.MustCompile(`\b(?:tenantgate|process|go)_[a-z0-9_]+\b`)
	labelMatcher = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	grouping     = regexp.MustCompile(`\bby \(([^)]*)\)`)
	placeholder  = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
	ruleParts    = regexp.MustCompile(`(?s)- alert: (\w+)\n\s+expr:(.*?)\n        (?:for|labels):(.*?)(?:\n\n|$)`)
)

// queried is one query of the dashboard or of a rule.
type queried struct{ where, expr, text string }

// allQueries lists the queries of the dashboard and of the rules with the texts
// that name their labels.
func allQueries(t testing.TB) []queried {
	t.Helper()
	var all []queried
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, queried{"panel " + p.Title, target.Expr, target.LegendFormat})
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			all = append(all, queried{"variable " + v.Name, v.Definition, ""})
		}
	}
	rules := readText(t, "../deploy/prometheus/tenantgate.rules.yaml")
	parts := ruleParts.FindAllStringSubmatch(rules, -1)
	if len(parts) != strings.Count(rules, "- alert:") {
		t.Fatalf("%d of %d rules could be read", len(parts), strings.Count(rules, "- alert:"))
	}
	for _, m := range parts {
		all = append(all, queried{"rule " + m[1], m[2], m[3]})
	}
	return all
}

// busyMetrics is a scrape of a proxy that something of every kind has happened
// to: the labels by the metric, without the common prefix.
func busyMetrics(t testing.TB) map[string][]string {
	t.Helper()
	p := startProxy(t, sharedPostgres(t))
	wrong := p.as(tenantA)
	wrong.password = "no token"
	if got := refusal(t, wrong); got != "28P01" {
		t.Fatalf("a wrong token got %q", got)
	}
	c := p.as(tenantA).pgconn(t)
	if _, err := tryQuery(c, "SET app.current_tenant_id = '"+tenantB.id+"'"); err == nil {
		t.Fatal("the guard let it pass")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	depart(p.as(tenantB).login(t), "Terminate")
	query(t, c, "BEGIN")
	if err := c.Conn().Close(); err != nil { // in the transaction: its backend is discarded
		t.Fatal(err)
	}
	var m metrics
	eventually(t, 10*time.Second, "everything is counted", func() bool {
		m = p.metrics(t)
		return m.sum("server_discarded_total") > 0 && m.sum("sessions_total") > 1 && m.sum("cancel_requests_total") > 0 && m.sum("server_resets_total") > 0
	})
	known := map[string][]string{"up": nil}
	for series := range m {
		name, labels, _ := strings.Cut(series, "{")
		known[name] = nil
		for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(labels, -1) {
			known[name] = append(known[name], l[1])
		}
	}
	return known
}

// labelValues are the string literals of the packages that make the labels.
func labelValues(t testing.TB) map[string]bool {
	t.Helper()
	values := map[string]bool{}
	for _, pattern := range []string{"../proxy/*.go", "../session/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range regexp.MustCompile(`"([a-z_]+)"`).FindAllStringSubmatch(readText(t, file), -1) {
				values[m[1]] = true
			}
		}
	}
	return values
}

// TestDashboardAndRulesAskForWhatThereIs compares every metric, label and value
// that they name with a real scrape.
func TestDashboardAndRulesAskForWhatThereIs(t *testing.T) {
	known, values := busyMetrics(t), labelValues(t)
	ofTarget := []string{"job", "instance", "alertname"}
	for _, q := range allQueries(t) {
		var labels []string
		for _, name := range metricName.FindAllString(q.expr+q.text, -1) {
			of, ok := known[strings.TrimPrefix(name, "tenantgate_")]
			if !ok {
				t.Errorf("%s: there is no metric %s", q.where, name)
			}
			labels = append(labels, of...)
		}
		for _, m := range selector.FindAllStringSubmatch(q.expr, -1) {
			of, ok := known[strings.TrimPrefix(m[1], "tenantgate_")]
			if !ok {
				t.Errorf("%s: there is no metric %s", q.where, m[1])
			}
			for _, l := range labelMatcher.FindAllStringSubmatch(m[2], -1) {
				if slices.Contains(ofTarget, l[1]) {
					continue
				}
				if !slices.Contains(of, l[1]) {
					t.Errorf("%s: %s has no label %s", q.where, m[1], l[1])
				}
				for value := range strings.SplitSeq(l[2], "|") {
					if !strings.HasPrefix(value, "$") && !values[value] {
						t.Errorf("%s: %s is never %q", q.where, l[1], value)
					}
				}
			}
		}
		used := placeholder.FindAllStringSubmatch(q.text, -1)
		for _, by := range grouping.FindAllStringSubmatch(q.expr, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				used = append(used, []string{"", strings.TrimSpace(label)})
			}
		}
		for _, label := range used {
			if !slices.Contains(ofTarget, label[1]) && !slices.Contains(labels, label[1]) {
				t.Errorf("%s: nothing in it has the label %s", q.where, label[1])
			}
		}
	}
}

// TestTheKubernetesConfigurationPasses checks the configuration of the ConfigMap
// with files where the manifests mount them.
func TestTheKubernetesConfigurationPasses(t *testing.T) {
	dir := workDir(t, "k8s")
	certificate := newCertificate(t, "tenantgate", "tenantgate")
	for name, text := range map[string]string{
		"config/config.yaml":        strings.ReplaceAll(readText(t, "../deploy/kubernetes/config.yaml"), "/etc/tenantgate/", dir+"/"),
		"tls/tls.crt":               certificate.certPEM,
		"tls/tls.key":               certificate.keyPEM,
		"secrets/signing.secret":    secret,
		"secrets/app_user.password": appPassword,
		"secrets/postgres-ca.crt":   certificate.certPEM,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// It cannot reach a database here, which is another line of the report.
	out, err := exec.Command(proxyBinary(t), "check", "-config", filepath.Join(dir, "config/config.yaml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "ok   configuration") {
		t.Errorf("%v\n%s", err, out)
	}
}

// seconds finds the number of seconds behind a key.
func seconds(t testing.TB, path, key string) int {
	t.Helper()
	m := regexp.MustCompile(key + `\D{0,3}(\d+)`).FindStringSubmatch(readText(t, path))
	if m == nil {
		t.Fatalf("%s has no %s", path, key)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestServiceManagersWaitForTheDrain: whoever stops the proxy must not kill it
// while it still lets its clients finish.
func TestServiceManagersWaitForTheDrain(t *testing.T) {
	drain := seconds(t, "../config.example.yaml", `shutdown_timeout:`)
	if stop := seconds(t, "../deploy/systemd/tenantgate.service", `\nTimeoutStopSec=`); stop <= drain {
		t.Errorf("systemd kills after %d s, the drain may take %d s", stop, drain)
	}
	drain = seconds(t, "../deploy/kubernetes/config.yaml", `shutdown_timeout:`)
	const deployment = "../deploy/kubernetes/deployment.yaml"
	if grace, before := seconds(t, deployment, `terminationGracePeriodSeconds:`), seconds(t, deployment, `sleep: \{seconds:`); grace <= before+drain {
		t.Errorf("Kubernetes kills after %d s, of which preStop takes %d s and the drain may take %d s", grace, before, drain)
	}
}
