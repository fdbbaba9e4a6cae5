package audit

import (
	"encoding/json"
	"io"
)

// jsonReport is the shape of -format json. Fields are added, never changed.
type jsonReport struct {
	Database string        `json:"database"`
	Release  string        `json:"server_version"`
	AppRole  string        `json:"app_role"`
	Columns  []string      `json:"tenant_columns"`
	Tables   int           `json:"tables"`
	Summary  map[Level]int `json:"summary"`
	Findings []jsonFinding `json:"findings"`
	Ignored  []jsonFinding `json:"ignored"`
	Stale    []string      `json:"stale_ignores"`
	Unseen   []Unseen      `json:"not_seen"`
	Notes    []string      `json:"notes"`
	Proof    []Proof       `json:"proof,omitempty"`
}

// jsonFinding is one finding with its rule.
type jsonFinding struct {
	Rule     string `json:"rule"`
	Level    Level  `json:"level"`
	Title    string `json:"title"`
	Why      string `json:"why"`
	Kind     string `json:"kind"`
	Object   string `json:"object"`
	Part     string `json:"part,omitempty"`
	Evidence string `json:"evidence"`
	SQL      string `json:"sql,omitempty"`
	Breaks   string `json:"may_break,omitempty"`
	Back     string `json:"give_back,omitempty"`
	Manual   string `json:"by_hand,omitempty"`
	Reason   string `json:"ignored_because,omitempty"`
}

// jsonOf is the finding as JSON shows it.
func jsonOf(f *Finding, reason string) jsonFinding {
	return jsonFinding{
		Rule: f.Rule.ID, Level: f.Rule.Level, Title: f.Rule.Title, Why: f.Rule.Why, Kind: f.Kind, Object: f.Object, Part: f.Part,
		Evidence: f.Evidence, SQL: f.Fix.SQL, Breaks: f.Fix.Breaks, Back: f.Fix.Back, Manual: f.Fix.Manual, Reason: reason,
	}
}

// WriteJSON writes the report for programs, with the proof when there is one.
// Lists are never null.
func (r *Report) WriteJSON(w io.Writer) error {
	report := jsonReport{
		Database: r.Server.Database, Release: r.Server.Release, AppRole: r.AppRole, Columns: r.Columns, Tables: r.Tables,
		Summary: map[Level]int{}, Findings: []jsonFinding{}, Ignored: []jsonFinding{}, Stale: []string{},
		Unseen: append([]Unseen{}, r.Unseen...), Notes: append([]string{}, r.Notes...), Proof: r.Proof,
	}
	for _, level := range Levels {
		report.Summary[level] = r.Count(level)
	}
	for i := range r.Findings {
		report.Findings = append(report.Findings, jsonOf(&r.Findings[i], ""))
	}
	for i := range r.Ignored {
		report.Ignored = append(report.Ignored, jsonOf(&r.Ignored[i].Finding, r.Ignored[i].By.Reason))
	}
	for _, s := range r.Stale {
		report.Stale = append(report.Stale, s.String())
	}
	return writeJSON(w, report)
}

// writeJSON writes one document, indented, with < and > as they are.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
