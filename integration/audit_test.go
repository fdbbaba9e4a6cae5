package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// auditFinding is what a test reads of a finding in JSON.
type auditFinding struct {
	Rule, Level, Title, Why, Kind, Object, Part, Evidence, SQL string
	Breaks                                                     string `json:"may_break"`
	Back                                                       string `json:"give_back"`
	Manual                                                     string `json:"by_hand"`
	Reason                                                     string `json:"ignored_because"`
}

// auditReport is what a test reads of a report in JSON.
type auditReport struct {
	Findings, Ignored []auditFinding
	Stale             []string `json:"stale_ignores"`
	Tables            int
	Notes             []string
	Unseen            []struct {
		Part  string
		Rules []string
	} `json:"not_seen"`
	Proof []struct {
		Table, Result, Rows string
		Detail              []string
	}
	Summary map[string]int
}

// of returns the findings of one rule.
func (r *auditReport) of(rule string) []auditFinding {
	var found []auditFinding
	for _, f := range r.Findings {
		if f.Rule == rule {
			found = append(found, f)
		}
	}
	return found
}

// auditCommand runs the audit command and returns what it printed, on standard
// output and on standard error, and its exit code.
func auditCommand(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, proxyBinary(t), append([]string{"audit"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for _, secret := range []string{superPassword, appPassword} {
		if strings.Contains(out.String()+complaints.String(), secret) {
			t.Error("the audit prints a password")
		}
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

// auditJSON runs the audit command as superuser and reads its report.
func auditJSON(t testing.TB, dsn string, args ...string) *auditReport {
	t.Helper()
	stdout, stderr, code := auditCommand(t, append([]string{"-format", "json", "-dsn", dsn}, args...)...)
	var report auditReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code > 1 {
		t.Fatalf("audit %q ended with %d: %v\n%s%s", args, code, err, stdout, stderr)
	}
	return &report
}

// auditPlace is one database of a case with the roles that are its own.
type auditPlace struct {
	t                    testing.TB
	pg                   *postgres
	database, app, owner string
	super                *pgconn.PgConn
}

// newAuditPlace makes the database and runs the prelude.
func newAuditPlace(t testing.TB, pg *postgres, name string) *auditPlace {
	t.Helper()
	p := &auditPlace{t: t, pg: pg, database: name, app: name + "_app", owner: name + "_owner"}
	pg.exec(t, "postgres", "CREATE DATABASE "+name)
	pg.exec(t, "postgres", p.fill("CREATE ROLE {owner}; CREATE ROLE {app} LOGIN PASSWORD '"+strings.ReplaceAll(appPassword, "'", "''")+"'"))
	p.super = p.connect("postgres", superPassword)
	p.run(readTestdata(t, "audit/prelude.sql"))
	return p
}

// connect logs a role in directly.
func (p *auditPlace) connect(user, password string) *pgconn.PgConn {
	return endpoint{name: "direct", host: "127.0.0.1", port: p.pg.port, user: user, password: password, database: p.database}.pgconn(p.t)
}

// readTestdata reads a file of testdata.
func readTestdata(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fill puts the names of the place into SQL.
func (p *auditPlace) fill(sql string) string {
	return strings.NewReplacer("{app}", p.app, "{owner}", p.owner, "{database}", p.database, "{A}", tenantA.id, "{B}", tenantB.id).Replace(sql)
}

// run runs SQL on the superuser's connection, where temporary objects stay.
func (p *auditPlace) run(sql string) {
	p.t.Helper()
	if _, err := p.super.Exec(context.Background(), p.fill(sql)).ReadAll(); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.database, err, p.fill(sql))
	}
}

// audit examines the place as superuser.
func (p *auditPlace) audit(args ...string) *auditReport {
	p.t.Helper()
	return auditJSON(p.t, p.pg.superDSN(p.database), append([]string{"-app-role", p.app}, args...)...)
}

// works runs the queries of an application as tenant A: none may fail, and what
// gives a row gives true.
func (p *auditPlace) works(script string) {
	p.t.Helper()
	c := p.connect(p.app, appPassword)
	defer closeSoon(c)
	query(p.t, c, "SET app.current_tenant_id = '"+tenantA.id+"'")
	for statement := range strings.SplitSeq(p.fill(script), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		rows, err := tryQuery(c, statement)
		if err != nil {
			p.t.Errorf("%s: %s: %v", p.database, statement, err)
		} else if len(rows) > 0 && rows[0][0] != "t" {
			p.t.Errorf("%s: %s gives %v", p.database, statement, rows)
		}
	}
}

// section cuts a part out of a case: what stands behind `-- name`.
func section(text, name string) string {
	_, rest, _ := strings.Cut("\n"+text, "\n-- "+name+"\n")
	for _, next := range []string{"bad", "good", "works"} {
		rest, _, _ = strings.Cut(rest, "\n-- "+next+"\n")
	}
	return rest
}

// auditRules lists the ids of all rules, by asking for one after the other.
func auditCases(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/audit/TG*.sql")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	var ids []string
	for _, f := range files {
		ids = append(ids, strings.TrimSuffix(filepath.Base(f), ".sql"))
	}
	return ids
}

// TestEveryRuleOfTheAuditFiresAndIsMended holds three promises of every rule: it
// fires on the database that it is for, it does not on one that is as it should
// be, and behind its own SQL it is silent and the application works.
func TestEveryRuleOfTheAuditFiresAndIsMended(t *testing.T) {
	pg := sharedPostgres(t)
	for _, id := range auditCases(t) {
		t.Run(id, func(t *testing.T) {
			text := readTestdata(t, "audit/"+id+".sql")
			bad := newAuditPlace(t, pg, strings.ToLower(id)+"_bad")
			bad.run(section(text, "bad"))
			found := bad.audit().of(id)
			if want := max(1, strings.Count(text, "-- fires")); len(found) < want {
				t.Fatalf("it fires %d times, not %d", len(found), want)
			}
			for _, f := range found {
				if f.Evidence == "" || f.Breaks == "" && f.SQL != "" || f.Back == "" && f.SQL != "" || f.SQL == "" && f.Manual == "" {
					t.Errorf("the finding lacks something: %+v", f)
				}
				bad.run("RESET ROLE;" + f.SQL)
				bad.run("RESET ROLE;" + f.SQL) // again: no harm
			}
			if left := bad.audit().of(id); len(left) > 0 {
				t.Errorf("it still fires behind its own SQL: %+v", left)
			}
			bad.works(section(text, "works"))
			good := newAuditPlace(t, pg, strings.ToLower(id)+"_good")
			good.run(section(text, "good"))
			if wrong := good.audit().of(id); len(wrong) > 0 {
				t.Errorf("it fires where nothing is wrong: %+v", wrong)
			}
			for _, p := range []*auditPlace{bad, good} {
				closeSoon(p.super)
				pg.exec(t, "postgres", fmt.Sprintf("DROP DATABASE %s (FORCE)", p.database))
			}
		})
	}
}
