package audit

import (
	"strings"
	"testing"
)

// hostile is a name that tries to get out of whatever it stands in.
const hostile = "x$once$; DROP TABLE y; --\n\\! true\x1b[2J\""

// hostileReport has a finding on a table of that name.
func hostileReport() *Report {
	r := &relation{Name: quoteIdent(hostile), Schema: "public", Relname: hostile}
	return &Report{
		Server: Server{Database: hostile}, AppRole: hostile,
		Findings: []Finding{
			{Rule: Rules[0], Kind: "table", Object: r.Name, Fix: Fix{SQL: once(r, hostile, "SELECT 1;"), Breaks: hostile, Back: hostile}},
			{Rule: Rules[1], Kind: "table", Object: r.Name, Fix: Fix{Manual: hostile}},
		},
	}
}

func TestANameCannotEndAScriptOrAComment(t *testing.T) {
	var out strings.Builder
	report := hostileReport()
	report.Server.Database = "app$once$"
	if err := report.WriteScript(&out); err != nil {
		t.Fatal(err)
	}
	script := out.String()
	if strings.Contains(script, "DO $once$") || strings.Count(script, "DO $once_$") != 2 || strings.Count(script, "END $once_$;") != 2 {
		t.Errorf("a name ends a DO block:\n%s", script)
	}
	for line := range strings.Lines(strings.ReplaceAll(script, report.Findings[0].Fix.SQL, "")) {
		if strings.HasPrefix(line, `\!`) {
			t.Errorf("a name leaves its comment: %q", line)
		}
	}
}

func TestANameCannotSteerTheTerminal(t *testing.T) {
	var out strings.Builder
	report := hostileReport()
	report.Server.Database, report.AppRole = "app", "app"
	if err := report.WriteText(&out, Style{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("the report holds an escape sequence: %q", out.String())
	}
}

func TestIgnoreLinesFitWhatTheyName(t *testing.T) {
	f := &Finding{Rule: RuleByID("TG005"), Object: "public.users", Part: "admins"}
	for line, want := range map[string]bool{
		"TG005:public.users": true, "TG005:public.users/admins": true, "TG005:public.users/other": false, "TG005:public.user": false,
		"TG004:public.users": false, "*:public.users": true, "TG005:*": true, "TG005:public.*": true, "TG005:*.users": true, "TG005:p*c.u*/a*s": true,
		"TG005:*x*": false,
	} {
		i, err := ParseIgnore(line, "test")
		if err != nil {
			t.Fatal(err)
		}
		if got := i.fits(f); got != want {
			t.Errorf("%s fits: %v", line, got)
		}
	}
}
