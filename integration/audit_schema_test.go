package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sealDatabase installs the seal as the README says: the script of the command,
// run by psql.
func (p *auditPlace) sealDatabase() (config string) {
	t := p.t
	t.Helper()
	dir := workDir(t, "seal")
	key, err := exec.Command(proxyBinary(t), "seal", "keygen").Output()
	if err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(dir, "tenantgate.yaml")
	for name, text := range map[string]string{
		"seal.key":     string(key),
		"app.password": appPassword,
		"token.secret": secret,
		"tenantgate.yaml": fmt.Sprintf(`auth: {keys: [{algorithm: HS256, secret_file: token.secret}]}
context: {seal: {key_id: k1, key_file: seal.key}}
databases:
  app: {dsn: "host=127.0.0.1 port=%d dbname=%s user=%s sslmode=disable", password_file: app.password}
`, p.pg.port, p.database, p.app),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script, err := exec.Command(proxyBinary(t), "seal", "sql", "-config", config).Output()
	if err != nil {
		t.Fatalf("seal sql: %v", err)
	}
	p.psql(string(script))
	return config
}

// psql runs a script as superuser.
func (p *auditPlace) psql(script string) {
	p.t.Helper()
	cmd := exec.Command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", p.pg.superDSN(p.database))
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("psql: %v\n%s", err, out)
	}
}

// TestACorrectSchemaGivesNoFinding examines 200 tables on which nothing is wrong,
// sealed, with every rule, and shows that no tenant reaches another.
func TestACorrectSchemaGivesNoFinding(t *testing.T) {
	p := newAuditPlace(t, sharedPostgres(t), "audit_correct")
	p.run("RESET ROLE")
	p.run(readTestdata(t, "audit/correct.sql"))
	config := p.sealDatabase()
	p.run("SELECT tenantgate.protect('tenants', 'id'), tenantgate.protect('numbers.tenants', 'id')")
	if n := p.pg.count(t, p.database, "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relrowsecurity"); n < 195 {
		t.Fatalf("the schema has %d tables only", n)
	}
	stdout, stderr, code := auditCommand(t, "-config", config, "-dsn", p.pg.superDSN(p.database), "-level", "info", "-prove")
	if code != 0 || !regexp.MustCompile(`(?m)^0 errors, 0 warnings, 0 notes$`).MatchString(stdout) {
		t.Errorf("audit ends with %d:\n%s%s", code, stdout, stderr)
	}
	if shown := regexp.MustCompile(`(\d+) of (\d+) tables isolated: neither`).FindStringSubmatch(stdout); shown == nil || shown[1] != shown[2] || len(shown[1]) < 3 {
		t.Errorf("the proof shows %q", shown)
	}
}

// TestTheReadmePrintsTheReportOnTheArticle runs the article's SQL as it stands,
// by the one role that the article has, and compares the report with the README's.
func TestTheReadmePrintsTheReportOnTheArticle(t *testing.T) {
	pg := sharedPostgres(t)
	pg.exec(t, "postgres", "CREATE ROLE myapp_user LOGIN")
	pg.exec(t, "postgres", "CREATE DATABASE citizenapp OWNER myapp_user")
	pg.exec(t, "citizenapp", "SET ROLE myapp_user;"+regexp.MustCompile(`(?m)^GRANT .*$`).ReplaceAllString(literalSQL, ""))
	pg.exec(t, "citizenapp", "ALTER ROLE myapp_user BYPASSRLS")
	stdout, stderr, code := auditCommand(t, "-dsn", pg.superDSN("citizenapp"), "-app-role", "myapp_user", "-prove")
	if code != 1 || stderr != "" {
		t.Errorf("it ends with %d: %s", code, stderr)
	}
	_, text, _ := strings.Cut(readRoot(t, "README.md"), "-app-role myapp_user -prove\n```\n\n```text\n")
	text, _, _ = strings.Cut(text, "```\n")
	got := regexp.MustCompile(`PostgreSQL \d[^:]*:`).ReplaceAllString(strings.Join(strings.Fields(stdout), " "), "PostgreSQL 15:")
	if want := strings.Join(strings.Fields(text), " "); got != want {
		t.Errorf("README.md prints another report than this:\n%s", stdout)
	}
}

// TestTheSealsRulesFire takes the seal from a table, ages it, and opens it.
func TestTheSealsRulesFire(t *testing.T) {
	p := newAuditPlace(t, sharedPostgres(t), "audit_sealed")
	if found := p.audit().of("TG044"); len(found) != 1 || found[0].Kind != "database" || found[0].Manual == "" {
		t.Errorf("without a seal: %+v", found)
	}
	p.sealDatabase()
	found := p.audit().of("TG044")
	if len(found) != 1 || found[0].Object != "public.tenants" {
		t.Fatalf("the table without a tenant column: %+v", found)
	}
	p.run("RESET ROLE;" + found[0].SQL + found[0].SQL)
	p.run("SELECT tenantgate.unprotect('projects')")
	if found = p.audit().of("TG044"); len(found) != 1 || found[0].Object != "public.projects" {
		t.Fatalf("an unprotected table: %+v", found)
	}
	p.run(found[0].SQL)
	report := p.audit()
	for _, id := range []string{"TG044", "TG045", "TG046"} {
		if found := report.of(id); len(found) > 0 {
			t.Errorf("sealed whole: %+v", found)
		}
	}
	p.run("GRANT SELECT ON tenantgate.key TO {app}; CREATE OR REPLACE FUNCTION tenantgate.version() RETURNS integer LANGUAGE sql IMMUTABLE RETURN 0")
	report = p.audit()
	if old, open := report.of("TG045"), report.of("TG046"); len(old) != 1 || len(open) != 1 || !strings.Contains(open[0].Evidence, "tenantgate.key") {
		t.Errorf("an old seal and an open key: %+v %+v", old, open)
	}
}

// TestAPolicyThatReadsWhatTheProxyDoesNotSetIsFound compares policies with the
// settings of the configuration.
func TestAPolicyThatReadsWhatTheProxyDoesNotSetIsFound(t *testing.T) {
	p := newAuditPlace(t, sharedPostgres(t), "audit_settings")
	p.run(`CREATE POLICY admins ON projects USING ((SELECT nullif(current_setting('App.Is_Admin', true), '')::boolean))`)
	config := p.sealDatabase()
	dsn := p.pg.superDSN(p.database)
	if found := auditJSON(t, dsn, "-config", config).of("TG043"); len(found) != 1 || !strings.Contains(found[0].Evidence, "app.is_admin") {
		t.Errorf("without the setting: %+v", found)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Replace(string(text), "context: {", "context: {settings: {app.is_admin: {claim: role, equals: admin}}, ", 1)
	if err := os.WriteFile(config, []byte(listed), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := auditJSON(t, dsn, "-config", config).of("TG043"); len(found) > 0 {
		t.Errorf("with the setting: %+v", found)
	}
}

// TestALargeCatalogueIsReadInOnePass counts the statements of an audit: as many
// for some hundred tables as for two.
func TestALargeCatalogueIsReadInOnePass(t *testing.T) {
	p := newAuditPlace(t, sharedPostgres(t), "audit_large")
	p.pg.exec(t, "postgres", "ALTER DATABASE audit_large SET log_statement = 'all'")
	statements := func() int {
		t.Helper()
		before, err := os.ReadFile(filepath.Join(p.pg.dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		p.audit()
		after, err := os.ReadFile(filepath.Join(p.pg.dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		return len(regexp.MustCompile(`(?m)LOG:  (execute|statement)`).FindAll(after[len(before):], -1))
	}
	few := statements()
	p.run(`DO $$ BEGIN FOR n IN 1..500 LOOP
		EXECUTE format('CREATE TABLE t_%s (id uuid PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES tenants)', n);
		EXECUTE format('GRANT SELECT ON t_%s TO {app}', n);
	END LOOP; END $$`)
	started := time.Now()
	many := statements()
	if few < 15 || many != few {
		t.Errorf("%d statements for few tables, %d for many", few, many)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("501 tables took %v", took)
	}
	if found := p.audit().of("TG001"); len(found) != 500 {
		t.Errorf("%d of 500 open tables were found", len(found))
	}
}
