package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/url"
	"strings"
)

// The parts of SARIF 2.1.0 (OASIS standard) that code hosts read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"semanticVersion,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string          `json:"id"`
		Short   sarifText       `json:"shortDescription"`
		Full    sarifText       `json:"fullDescription"`
		Default sarifSettings   `json:"defaultConfiguration"`
		Props   sarifProperties `json:"properties"`
	}
	sarifSettings struct {
		Level string `json:"level"`
	}
	sarifProperties struct {
		Tags []string `json:"tags"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		Rule         string             `json:"ruleId"`
		Index        int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions []sarifSuppression `json:"suppressions"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line int `json:"startLine"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification,omitempty"`
	}
)

// sarifLevels are SARIF's words for the levels.
var sarifLevels = map[Level]string{LevelError: "error", LevelWarning: "warning", LevelInfo: "note"}

// WriteSARIF writes the report for code hosts. A database has no files, which
// they insist on: the location is database/schema/object by name.
func (r *Report) WriteSARIF(w io.Writer, version string) error {
	driver := sarifDriver{Name: "tenantgate audit", Version: version}
	index := map[*Rule]int{}
	for i, rule := range Rules {
		index[rule] = i
		driver.Rules = append(driver.Rules, sarifRule{
			ID: rule.ID, Short: sarifText{rule.Title}, Full: sarifText{rule.Why},
			Default: sarifSettings{sarifLevels[rule.Level]}, Props: sarifProperties{[]string{"security", "postgresql", "multi-tenancy"}},
		})
	}
	run := sarifRun{Tool: sarifTool{driver}, Results: []sarifResult{}}
	for i := range r.Findings {
		run.Results = append(run.Results, r.sarifOf(&r.Findings[i], index))
	}
	for i := range r.Ignored {
		result := r.sarifOf(&r.Ignored[i].Finding, index)
		result.Suppressions = []sarifSuppression{{"external", r.Ignored[i].By.Reason}}
		run.Results = append(run.Results, result)
	}
	return writeJSON(w, sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run},
	})
}

// sarifOf is one finding as a result.
func (r *Report) sarifOf(f *Finding, index map[*Rule]int) sarifResult {
	text := f.Rule.Title + ": " + f.Kind + " " + f.Name() + ": " + f.Evidence + ". "
	if f.Fix.SQL != "" {
		text += "Mend it with:\n" + f.Fix.SQL
	} else {
		text += f.Fix.Manual
	}
	path := url.PathEscape(r.Server.Database)
	for p := range strings.SplitSeq(f.Object, ".") {
		path += "/" + url.PathEscape(p)
	}
	sum := sha256.Sum256([]byte(f.Rule.ID + "\x00" + f.Name()))
	return sarifResult{
		Rule: f.Rule.ID, Index: index[f.Rule], Level: sarifLevels[f.Rule.Level], Message: sarifText{text},
		Locations: []sarifLocation{{
			Physical: sarifPhysical{sarifArtifact{path}, sarifRegion{1}},
			Logical:  []sarifLogical{{r.Server.Database + "." + f.Name(), f.Kind}},
		}},
		Fingerprints: map[string]string{"tenantgate/v1": hex.EncodeToString(sum[:16])},
		Suppressions: []sarifSuppression{},
	}
}
