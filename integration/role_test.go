package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAnUnsafeRoleIsRefused configures backend roles to which Row-Level Security
// does not apply; each must be refused at the start, unless the operator insists.
func TestAnUnsafeRoleIsRefused(t *testing.T) {
	pg := startPostgres(t)
	quoted := strings.ReplaceAll(appPassword, "'", "''")
	for name, attributes := range map[string]string{
		"superuser":                       "SUPERUSER",
		"bypass":                          "BYPASSRLS IN ROLE app_role",
		"member of the owner":             "IN ROLE app_role, app_owner",
		"member of a superuser":           "IN ROLE app_role, postgres",
		"member of pg_read_all_data":      "IN ROLE app_role, pg_read_all_data",
		"member of pg_write_all_data":     "IN ROLE app_role, pg_write_all_data",
		"member without inheriting":       "NOINHERIT IN ROLE app_role, app_owner",
		"member of pg_execute_server_prg": "IN ROLE app_role, pg_execute_server_program",
		"owner":                           "",
		"who may join any role":           "CREATEROLE IN ROLE app_role",
	} {
		if strings.HasPrefix(attributes, "CREATEROLE") && pg.count(t, "postgres", "SELECT current_setting('server_version_num')") >= 160000 {
			continue // CREATEROLE reaches only the roles that it made
		}
		t.Run(name, func(t *testing.T) {
			role := "app_owner"
			if attributes != "" {
				role = "unsafe_" + strings.ReplaceAll(name, " ", "_")
				pg.exec(t, "postgres", "CREATE ROLE "+role+" LOGIN PASSWORD '"+quoted+"' "+attributes)
			}
			configure := func(p *proxy) {
				p.set("databases", map[string]any{"app": map[string]any{
					"dsn":           strings.Replace(pg.backendDSN("app"), "user=app_user", "user="+role, 1),
					"password_file": filepath.Join(p.dir, "app_password"), "pool_size": 2,
				}})
			}
			p := newProxy(t, pg, configure)
			p.launch(t)
			code := p.waitExit(10 * time.Second)
			if code <= 0 {
				t.Errorf("serve ended with %d", code)
			}
			if log := p.log.String(); !strings.Contains(log, role) || !strings.Contains(log, "allow_unsafe_role") {
				t.Errorf("the log does not say which role and what to do:\n%s", log)
			}
			p.ended = code != -1
			p.finish(t)
			check := exec.Command(proxyBinary(t), "check", "-config", p.configFile)
			if out, err := check.CombinedOutput(); err == nil || !strings.Contains(string(out), role) {
				t.Errorf("check: %v\n%s", err, out)
			}
			allowed := startProxy(t, pg, configure, with("databases/app/allow_unsafe_role", true))
			if got := refusal(t, allowed.as(tenantA)); got != "" {
				t.Errorf("with allow_unsafe_role: %q", got)
			}
			out, err := exec.Command(proxyBinary(t), "check", "-config", allowed.configFile).CombinedOutput()
			if err != nil || strings.Contains(string(out), "FAIL") {
				t.Errorf("check with allow_unsafe_role: %v\n%s", err, out)
			}
		})
	}
}

// TestARoleThatBecomesUnsafeIsRefused changes the role under a running proxy:
// a backend dialled after that must not serve anybody.
func TestARoleThatBecomesUnsafeIsRefused(t *testing.T) {
	pg := startPostgres(t)
	p := startProxy(t, pg)
	depart(p.as(tenantA).login(t), "Terminate")
	pg.exec(t, "postgres", "ALTER ROLE app_user BYPASSRLS")
	pg.exec(t, "postgres", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app_user'")
	noBackends(t, p)
	if w, err := p.as(tenantA).tryLogin(t); err == nil {
		t.Errorf("a client got in and sees %s users", w.value("SELECT count(*) FROM users"))
	}
	pg.exec(t, "postgres", "ALTER ROLE app_user NOBYPASSRLS")
	eventually(t, 10*time.Second, "logins work again", func() bool { return refusal(t, p.as(tenantA)) == "" })
}

// TestTheAuditOfTheRoleIsCounted changes what the rules about the role find, and
// looks at the metrics after the start and after a reload, and at check.
func TestTheAuditOfTheRoleIsCounted(t *testing.T) {
	pg := startPostgres(t)
	p := startProxy(t, pg)
	warnings := p.metrics(t).sum("audit_findings", `level="warning"`)
	if got := p.metrics(t); warnings < 1 || got.sum("audit_findings", `level="error"`) != 0 { // TG044: there is no seal
		t.Errorf("after the start: %v", got)
	}
	pg.exec(t, "app", "ALTER ROLE app_user CREATEDB; GRANT CREATE ON SCHEMA public TO app_user")
	p.reload(t)
	eventually(t, 10*time.Second, "the reload counts the new findings of each database", func() bool {
		return p.metrics(t).sum("audit_findings", `level="warning"`) > warnings+1
	})
	if !strings.Contains(p.log.String(), "rule=TG029") {
		t.Error("the log does not name the rule")
	}
	out, err := exec.Command(proxyBinary(t), "check", "-config", p.configFile).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "TG029 warning") || !strings.Contains(string(out), "CREATEDB") {
		t.Errorf("check: %v\n%s", err, out)
	}
	pg.exec(t, "app", "ALTER ROLE app_user NOCREATEDB; REVOKE CREATE ON SCHEMA public FROM app_user; ALTER ROLE app_user SET app.is_admin = 'true'")
	if out, err := exec.Command(proxyBinary(t), "check", "-config", p.configFile).CombinedOutput(); err == nil || !strings.Contains(string(out), "FAIL databases.app: TG042 error") {
		t.Errorf("check of a stored value: %v\n%s", err, out)
	}
	pg.exec(t, "app", "ALTER ROLE app_user RESET app.is_admin; CREATE POLICY p ON users USING (current_setting('app.region', true) = 'x')")
	if out, err := exec.Command(proxyBinary(t), "check", "-config", p.configFile).CombinedOutput(); err == nil || !strings.Contains(string(out), "FAIL databases.app: policies read app.region") {
		t.Errorf("check of a policy that reads another setting: %v\n%s", err, out)
	}
	pg.exec(t, "app", "DROP POLICY p ON users")
	p.database("late", "late", "session", 2)
	p.reload(t)
	eventually(t, 10*time.Second, "the next reload counts them no more", func() bool {
		return p.metrics(t).sum("audit_findings", `level="warning"`) == warnings
	})
	if got := p.metrics(t).of("audit_findings"); got.sum("audit_findings", `database="app"`) == 0 || strings.Contains(fmt.Sprint(got), `database="late"`) {
		t.Errorf("of a database that does not answer: %v", got)
	}
	pg.exec(t, "postgres", "CREATE DATABASE late TEMPLATE app")
	eventually(t, 20*time.Second, "a database that answers late is audited", func() bool {
		return p.metrics(t).sum("audit_findings", `database="late"`) == p.metrics(t).sum("audit_findings", `database="app"`)
	})
	delete(p.config["databases"].(map[string]any), "late")
	p.reload(t)
	eventually(t, 10*time.Second, "a database that is gone is not counted", func() bool {
		return !strings.Contains(fmt.Sprint(p.metrics(t).of("audit_findings")), `database="late"`)
	})
}
