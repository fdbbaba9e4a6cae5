package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the table. Figures that are not a number were not measured.
type row struct {
	what, unit  string
	gate, peer  float64
	median, min float64 // ratios
	goal        float64 // of the ratio; 0: none is set
}

// table collects what is printed in the end.
type table struct{ rows []row }

// compare adds the ratio of the medians, and of the lowest rounds.
func (t *table) compare(what, unit string, gate, peer []sample, goal float64, figure func(sample) float64) {
	g, p := figures(gate, figure), figures(peer, figure)
	t.add(row{what, unit, median(g), median(p), median(g) / median(p), slices.Min(g) / slices.Min(p), goal})
}

// added compares what the proxies add to a time; all holds the samples of
// tenantgate, of PgBouncer, and of PostgreSQL without a proxy.
func (t *table) added(what string, all [][]sample, figure func(sample) float64) {
	g, p, d := figures(all[0], figure), figures(all[1], figure), figures(all[2], figure)
	gate, peer := median(g)-median(d), median(p)-median(d)
	least := slices.Min(d)
	t.add(row{what, "ms", gate, peer, gate / peer, (slices.Min(g) - least) / (slices.Min(p) - least), 1})
}

// add adds one line.
func (t *table) add(r row) { t.rows = append(t.rows, r) }

// figures takes one figure of each sample.
func figures(samples []sample, figure func(sample) float64) []float64 {
	all := make([]float64, 0, len(samples))
	for _, s := range samples {
		all = append(all, figure(s))
	}
	return all
}

// median is the middle of the values.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return math.NaN()
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

// print writes the table, and what it was measured on.
func (b *bench) print(w io.Writer) {
	for _, line := range b.conditions() {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "tenantgate\tPgBouncer\tratio\tmin\tgoal\t  unit\v  figure")
	for _, r := range b.table.rows {
		goal := ""
		if r.goal > 0 {
			goal = fmt.Sprintf("%.2f", r.goal)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t  %s\v  %s\n", number(r.gate), number(r.peer), ratio(r.median), ratio(r.min), goal, r.unit, r.what)
	}
	_ = t.Flush() // standard output: nobody is left to be told
}

// number writes a figure with three digits that matter.
func number(f float64) string {
	switch {
	case math.IsNaN(f):
		return "-"
	case math.Abs(f) >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case math.Abs(f) >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case math.Abs(f) >= 1:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	return strconv.FormatFloat(f, 'f', 3, 64)
}

// ratio writes a ratio; one of figures that are no more than noise is none.
func ratio(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", f)
}

// conditions are what the figures were measured on.
func (b *bench) conditions() []string {
	read := func(name string) string {
		text, _ := os.ReadFile(name) // said as unknown
		return strings.TrimSpace(string(text))
	}
	model := "unknown CPU"
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	load := strings.Join(strings.Fields(read("/proc/loadavg"))[:1], " ")
	return []string{
		fmt.Sprintf("%s, %d CPUs (%s), Linux %s, load %s at the end", time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), model,
			read("/proc/sys/kernel/osrelease"), load),
		fmt.Sprintf("%s; %s; %s", firstLine(b.tenantgate, "version"), firstLine(b.pgbouncer, "--version"), firstLine(b.bin+"/postgres", "--version")),
		fmt.Sprintf("%d rounds of %v; ratio: of the medians; min: of the lowest rounds", b.rounds, b.duration),
	}
}

// firstLine is the first line of what a program prints.
func firstLine(program string, args ...string) string {
	out, err := exec.Command(program, args...).Output()
	if err != nil {
		return program + " of unknown version"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// parseNumbers reads a comma list of positive numbers, in ascending order.
func parseNumbers(list string) ([]int, error) {
	var all []int
	for item := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(item))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no positive number", item)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return all, nil
}
