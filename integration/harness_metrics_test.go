package integration

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// metrics is one scrape: the value by the series as it is printed, without the
// common prefix.
type metrics map[string]float64

// metrics scrapes the proxy.
func (p *proxy) metrics(t testing.TB) metrics {
	t.Helper()
	c := http.Client{Timeout: 5 * time.Second}
	q, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", p.httpPort), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept-Encoding", "identity") // compression takes a megabyte of the memory that is measured
	r, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	m := metrics{}
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			t.Fatalf("metric %q: %v", line, err)
		}
		m[strings.TrimPrefix(line[:at], "tenantgate_")] = value
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

// sum adds up the series of a metric that hold every given label, written as
// `name="value"`.
func (m metrics) sum(metric string, labels ...string) float64 {
	total := 0.0
series:
	for name, value := range m {
		base, rest, _ := strings.Cut(name, "{")
		if base != metric {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue series
			}
		}
		total += value
	}
	return total
}

// of returns the series of the named metrics, for a failure's text.
func (m metrics) of(names ...string) metrics {
	some := metrics{}
	for series, value := range m {
		base, _, _ := strings.Cut(series, "{")
		for _, name := range names {
			if base == name {
				some[series] = value
			}
		}
	}
	return some
}
