package integration

import (
	"strings"
	"testing"
	"time"
)

// TestADatabaseIsNotSealedWholeWhereAClientGetsAroundIt opens a sealed database by
// what is no policy: rights to create what others call, and tables beneath others.
func TestADatabaseIsNotSealedWholeWhereAClientGetsAroundIt(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database, with("context/guard", map[string]any{}))
	pg.exec(t, database, `SELECT tenantgate.protect('tenants', 'id');
		SET ROLE app_owner;
		CREATE TABLE logs (tenant_id uuid, at int) PARTITION BY RANGE (at);
		CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (at);
		CREATE TABLE logs_1_1 PARTITION OF logs_1 FOR VALUES FROM (0) TO (10);
		ALTER TABLE logs ENABLE ROW LEVEL SECURITY;
		CREATE POLICY p ON logs USING (tenant_id = current_setting('app.current_tenant_id')::uuid);
		GRANT ALL ON logs TO app_role;
		RESET ROLE;
		SELECT tenantgate.protect('logs')`)
	whole := "databases.app: sealed\n"
	if got := p.says("seal", "status"); !strings.Contains(got, whole) {
		t.Fatalf("status: %s", got)
	}
	for open, want := range map[string]struct{ close, status string }{
		"GRANT CREATE ON SCHEMA public TO PUBLIC":                   {"REVOKE CREATE ON SCHEMA public FROM PUBLIC", "REVOKE CREATE ON SCHEMA public"},
		"GRANT CREATE ON DATABASE " + database + " TO app_role":     {"REVOKE CREATE ON DATABASE " + database + " FROM app_role", "REVOKE CREATE ON DATABASE " + database},
		"CREATE SCHEMA own; GRANT CREATE ON SCHEMA own TO app_user": {"DROP SCHEMA own", "REVOKE CREATE ON SCHEMA own"},
		"GRANT SELECT (at) ON logs_1_1 TO app_role":                 {"REVOKE ALL (at) ON logs_1_1 FROM app_role", "logs_1_1"},
		"GRANT DELETE ON logs_1 TO PUBLIC":                          {"REVOKE ALL ON logs_1 FROM PUBLIC", "logs_1"},
	} {
		pg.exec(t, database, open)
		if got := p.says("seal", "status"); strings.Contains(got, whole) || !strings.Contains(got, want.status) {
			t.Errorf("%s: status: %s", open, got)
		}
		if got := p.says("check"); !strings.Contains(got, "WARN databases.app: not sealed") {
			t.Errorf("%s: check: %s", open, got)
		}
		if _, err := tryQuery(p.as(tenantA).pgconn(t), "DO 'BEGIN PERFORM 1; END'"); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: DO: %v", open, err)
		}
		pg.exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+database+"'")
		pg.exec(t, database, want.close)
	}
	if got := p.says("seal", "status"); !strings.Contains(got, whole) {
		t.Errorf("status in the end: %s", got)
	}
}

// TestATableThatIsAddedOpenEndsHiddenSQL opens a table in a database that was sealed
// whole, and waits until a connection that the pool had kept lets no DO through.
func TestATableThatIsAddedOpenEndsHiddenSQL(t *testing.T) {
	t.Parallel()
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database, with("context/guard", map[string]any{}))
	pg.exec(t, database, "SELECT tenantgate.protect('tenants', 'id')")
	passes := func() bool {
		c := p.as(tenantA).pgconn(t)
		defer closeSoon(c)
		_, err := tryQuery(c, "DO 'BEGIN PERFORM 1; END'")
		return err == nil
	}
	eventually(t, 40*time.Second, "DO is let through", passes)
	pg.exec(t, database, "CREATE TABLE fresh (tenant_id uuid); ALTER TABLE fresh ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON fresh USING (true)")
	if !passes() {
		t.Error("the pool keeps no connection: this shows nothing")
	}
	eventually(t, 40*time.Second, "DO is refused", func() bool { return !passes() })
}
