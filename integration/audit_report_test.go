package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// newFaultyPlace is a database with a finding of every level.
func newFaultyPlace(t *testing.T, name string) *auditPlace {
	t.Helper()
	p := newAuditPlace(t, sharedPostgres(t), name)
	p.run(`CREATE TABLE notes (tenant_id uuid NOT NULL, note text UNIQUE); GRANT SELECT, INSERT ON notes TO {app};
		CREATE TABLE countries (code text); GRANT SELECT, INSERT ON countries TO {app}`)
	return p
}

// TestTheExitStatusFollowsTheLevel asks for every level, with and without
// findings of it.
func TestTheExitStatusFollowsTheLevel(t *testing.T) {
	p := newFaultyPlace(t, "audit_level")
	run := func(args ...string) int {
		_, _, code := auditCommand(t, append([]string{"-dsn", p.pg.superDSN(p.database), "-app-role", p.app}, args...)...)
		return code
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{nil, 1},
		{[]string{"-level", "warning"}, 1},
		{[]string{"-ignore", "TG001:public.notes"}, 0},
		{[]string{"-ignore", "TG001:public.*", "-level", "warning"}, 1},
		{[]string{"-ignore", "*:*", "-level", "info"}, 0},
		{[]string{"-level", "fatal"}, 2},
		{[]string{"-ignore", "TG999:x"}, 2},
		{[]string{"-format", "xml"}, 2},
		{[]string{"-tenant", "one"}, 2},
	} {
		if code := run(c.args...); code != c.code {
			t.Errorf("%q ends with %d, not %d", c.args, code, c.code)
		}
	}
	if _, stderr, code := auditCommand(t); code != 2 || !strings.Contains(stderr, "-dsn or -config") {
		t.Errorf("without a database: %d, %s", code, stderr)
	}
	if _, stderr, code := auditCommand(t, "-dsn", p.pg.superDSN(p.database), "-app-role", "nobody_at_all"); code != 1 || !strings.Contains(stderr, "nobody_at_all") {
		t.Errorf("a role that is not there: %d, %s", code, stderr)
	}
	if _, stderr, code := auditCommand(t, "-dsn", fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=postgres", p.pg.port, p.database)); code != 1 || !strings.Contains(stderr, "no password was given") {
		t.Errorf("without a password: %d, %s", code, stderr)
	}
}

// TestIgnoredFindingsKeepTheirReasons reads a file of lines: what they fit is
// ignored, what fits nothing is stale, and a line without a reason is an error.
func TestIgnoredFindingsKeepTheirReasons(t *testing.T) {
	p := newFaultyPlace(t, "audit_ignore")
	file := filepath.Join(workDir(t, "ignore"), "ignore")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# the countries are ours\n\nTG017:public.countries # a person adds them by hand\nTG001:public.gone # was dropped\n")
	report := p.audit("-ignore-file", file, "-ignore", "TG013:public.notes/notes_note_key")
	if len(report.of("TG017")) > 0 || len(report.of("TG013")) > 0 || len(report.Ignored) != 2 || len(report.Stale) != 1 || report.Stale[0] != "TG001:public.gone" {
		t.Errorf("ignored %+v, stale %v", report.Ignored, report.Stale)
	}
	for _, f := range report.Ignored {
		if f.Rule == "TG017" && f.Reason != "a person adds them by hand" {
			t.Errorf("the reason is %q", f.Reason)
		}
	}
	write("TG017:public.countries\n")
	if _, stderr, code := auditCommand(t, "-dsn", "host=x", "-ignore-file", file); code != 2 || !strings.Contains(stderr, "say why") {
		t.Errorf("a line without a reason: %d, %s", code, stderr)
	}
}

// TestTheAuditCanBeReadByCodeHosts checks what SARIF 2.1.0 asks for.
func TestTheAuditCanBeReadByCodeHosts(t *testing.T) {
	p := newFaultyPlace(t, "audit_sarif")
	stdout, _, _ := auditCommand(t, "-dsn", p.pg.superDSN(p.database), "-app-role", p.app, "-format", "sarif", "-ignore", "TG017:*")
	var log struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct{ ID string }
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
				PartialFingerprints map[string]string
				Suppressions        []any
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &log); err != nil || log.Version != "2.1.0" || len(log.Runs) != 1 {
		t.Fatalf("%v\n%s", err, stdout)
	}
	run := log.Runs[0]
	prints, suppressed := map[string]bool{}, 0
	for _, r := range run.Results {
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Message.Text == "" || len(r.Locations) != 1 || len(r.Suppressions) > 1 ||
			!regexp.MustCompile(`^(error|warning|note)$`).MatchString(r.Level) || strings.ContainsAny(r.Locations[0].PhysicalLocation.ArtifactLocation.URI, ` "`) {
			t.Errorf("%+v", r)
		}
		prints[r.PartialFingerprints["tenantgate/v1"]] = true
		suppressed += len(r.Suppressions)
	}
	if len(run.Results) < 5 || len(prints) != len(run.Results) || suppressed != 1 {
		t.Errorf("%d results, %d fingerprints, %d suppressed", len(run.Results), len(prints), suppressed)
	}
}

// TestColoursAreForTerminals runs the audit on a terminal of its own, with and
// without NO_COLOR, and into a pipe.
func TestColoursAreForTerminals(t *testing.T) {
	p := newFaultyPlace(t, "audit_color")
	run := func(env string) string {
		cmd := exec.Command("script", "-qec", proxyBinary(t)+" audit -dsn '"+p.pg.superDSN(p.database)+"' -app-role "+p.app, "/dev/null")
		cmd.Env = append(os.Environ(), "TERM=xterm", env)
		out, _ := cmd.Output() // it ends with 1: there are findings
		return string(out)
	}
	if out := run("A=B"); !strings.Contains(out, "\x1b[1;31m") || !strings.Contains(out, "TG001") {
		t.Errorf("on a terminal: %q", out)
	}
	if out := run("NO_COLOR=1"); strings.Contains(out, "\x1b[1;31m") || !strings.Contains(out, "TG001") {
		t.Errorf("with NO_COLOR: %q", out)
	}
	if out, _, _ := auditCommand(t, "-dsn", p.pg.superDSN(p.database), "-app-role", p.app); strings.Contains(out, "\x1b") || !strings.Contains(out, "TG001") {
		t.Errorf("into a pipe: %q", out)
	}
}

// TestTheWorstComesFirst holds the order of the report.
func TestTheWorstComesFirst(t *testing.T) {
	p := newFaultyPlace(t, "audit_order")
	rank := map[string]int{"error": 0, "warning": 1, "info": 2}
	last := ""
	for _, f := range p.audit().Findings {
		at := string(rune('0'+rank[f.Level])) + f.Rule + f.Object
		if at < last {
			t.Errorf("%s comes behind %s", at, last)
		}
		last = at
	}
}

// TestAnOrdinaryRoleIsToldWhatItDoesNotSee runs the audit as the application's
// own role, then with a part of the catalogue closed.
func TestAnOrdinaryRoleIsToldWhatItDoesNotSee(t *testing.T) {
	p := newFaultyPlace(t, "audit_ordinary")
	dsn := strings.NewReplacer("user=postgres", "user="+p.app, superPassword, "'"+quoteDSN(appPassword)+"'").Replace(p.pg.superDSN(p.database))
	report := auditJSON(t, dsn)
	if len(report.of("TG001")) != 1 || len(report.Unseen) != 0 {
		t.Errorf("as the application's role: %+v", report)
	}
	p.run("RESET ROLE; REVOKE SELECT ON pg_event_trigger, pg_db_role_setting FROM PUBLIC")
	report = auditJSON(t, dsn)
	if len(report.Unseen) != 2 || len(report.of("TG001")) != 1 || len(report.of("TG033")) != 0 {
		t.Errorf("with parts closed: %+v", report.Unseen)
	}
	for _, u := range report.Unseen {
		if len(u.Rules) == 0 {
			t.Errorf("%s: no rule is named", u.Part)
		}
	}
	if _, stderr, code := auditCommand(t, "-dsn", dsn, "-prove"); code != 1 && code != 0 || strings.Contains(stderr, "panic") {
		t.Errorf("a proof as an ordinary role: %d, %s", code, stderr)
	}
}

// TestTheWholeScriptMends runs -fix-sql twice on a database with many faults; the
// audit is satisfied with what is left, and the application works.
func TestTheWholeScriptMends(t *testing.T) {
	p := newFaultyPlace(t, "audit_script")
	for _, id := range []string{"TG004", "TG013", "TG014", "TG018", "TG030"} {
		bad := section(readTestdata(t, "audit/"+id+".sql"), "bad")
		bad = regexp.MustCompile(`\b(notes|codes|uses|people|people_nick|pages)\b`).ReplaceAllString(bad, strings.ToLower(id)+"_$1")
		p.run("SET ROLE {owner};" + bad)
	}
	stdout, _, _ := auditCommand(t, "-dsn", p.pg.superDSN(p.database), "-app-role", p.app, "-fix-sql")
	for _, block := range regexp.MustCompile(`(?s)\n\n-- closes.*?\n\n`).FindAllString(stdout, -1) {
		if !strings.Contains(block, "-- may break:") || !strings.Contains(block, "-- give back:") {
			t.Errorf("a statement lacks a comment: %s", block)
		}
	}
	p.psql(stdout)
	p.psql(stdout)
	for _, f := range p.audit().Findings {
		if f.SQL != "" {
			t.Errorf("behind the script: %s %s: %s", f.Rule, f.Object, f.Evidence)
		}
	}
	p.works("SELECT count(*) = 1 FROM projects;\nSELECT count(*) = 1 FROM all_projects;\nSELECT count(*) = 0 FROM notes;\nINSERT INTO notes VALUES ('{A}', 'x');\n")
	other := newAuditPlace(t, p.pg, "audit_script_other")
	cmd := exec.Command("psql", "-X", "-q", "-f", "-", other.pg.superDSN(other.database))
	cmd.Stdin = strings.NewReader(stdout)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another database") {
		t.Errorf("the script runs in another database: %s", out)
	}
}

// TestEveryRuleExplainsItself asks for each, and compares the table of the
// README with the answers.
func TestEveryRuleExplainsItself(t *testing.T) {
	rows := docTable(t, readRoot(t, "README.md"), "rule")
	if len(rows) < 47 {
		t.Fatalf("README.md has %d rules", len(rows))
	}
	for i, row := range rows {
		stdout, _, code := auditCommand(t, "-explain", row[0])
		head, why, _ := strings.Cut(stdout, "\n\n")
		why, rest, _ := strings.Cut(why, "\n\n")
		if !strings.Contains(rest, "-ignore "+row[0]+":OBJECT") {
			t.Errorf("-explain says %q", rest)
		}
		if want := row[0] + " (" + row[1] + "): " + row[2]; code != 0 || head != want {
			t.Errorf("-explain says %q, README.md %q", head, want)
		}
		if n := len(regexp.MustCompile(`[.](\s|$)`).FindAllString(why, -1)); n != 2 {
			t.Errorf("%s: why it matters is %d sentences long: %s", row[0], n, why)
		}
		if i > 0 && row[0] <= rows[i-1][0] {
			t.Errorf("%s stands behind %s", row[0], rows[i-1][0])
		}
	}
	if _, stderr, code := auditCommand(t, "-explain", "TG999"); code != 2 || !strings.Contains(stderr, "TG026 error   app role with powers") ||
		!strings.HasSuffix(stderr, "there is no rule TG999; the rules stand above\nSee `tenantgate audit -h`.\n") {
		t.Errorf("a rule that there is not: %d, %s", code, stderr)
	}
	if stdout, _, code := auditCommand(t, "-explain", "tg007"); code != 0 || !strings.HasPrefix(stdout, "TG007 (error)") {
		t.Errorf("in lower case: %d, %s", code, stdout)
	}
	if cases := auditCases(t); len(cases)+5 != len(rows) { // TG043 to TG046 and TG048 are tested by themselves
		t.Errorf("%d rules, and %d cases", len(rows), len(cases))
	}
}
