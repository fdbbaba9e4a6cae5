package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestADatabaseThatDoesNotAcceptTheSealIsRefused serves nobody where a key is
// configured and the database has no seal, another key, or other settings.
func TestADatabaseThatDoesNotAcceptTheSealIsRefused(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := unsealedProxy(t, pg, database, "k1")
	for _, want := range []string{refusal(t, p.as(tenantA)), p.says("check"), p.says("seal", "status"), p.log.String()} {
		if want != "08006" && !strings.Contains(want, "not sealed") {
			t.Errorf("of a database without a seal it says %q", want)
		}
	}
	p.seal(t, database)
	eventually(t, 10*time.Second, "the sealed database is served", func() bool { return refusal(t, p.as(tenantA)) == "" })

	other := unsealedProxy(t, pg, database, "k2")
	if got := refusal(t, other.as(tenantA)); got != "08006" {
		t.Errorf("with an unknown key: %q", got)
	}
	if got := other.says("check"); !strings.Contains(got, "FAIL databases.app: ") || !strings.Contains(got, "key k2: its key is not in this database") {
		t.Errorf("check: %s", got)
	}
	more := unsealedProxy(t, pg, database, "k1", with("context/settings/app.more", map[string]any{"claim": "more", "default": ""}))
	if got := refusal(t, more.as(tenantA)); got != "08006" {
		t.Errorf("with other settings: %q", got)
	}
	if got := more.says("seal", "status"); !strings.Contains(got, "app.more, app.user_id; run tenantgate seal sql") {
		t.Errorf("status: %s", got)
	}
	version := func(n int) string {
		return fmt.Sprintf("CREATE OR REPLACE FUNCTION tenantgate.version() RETURNS integer LANGUAGE sql IMMUTABLE RETURN %d", n)
	}
	pg.exec(t, database, version(9))
	if got := p.says("check"); !strings.Contains(got, "FAIL databases.app: the database does not accept the seal: its seal has version 9, this program makes version 1") {
		t.Errorf("check of another version: %s", got)
	}
	pg.exec(t, database, version(1))
	// A key of the same name that is not the same.
	pg.exec(t, database, "UPDATE tenantgate.key SET ipad = sha256('x') || sha256('y')")
	if got := p.says("seal", "status"); !strings.Contains(got, "its code is wrong") {
		t.Errorf("status: %s", got)
	}
	if out, err := runPsql(pg.superDSN(database), p.tenantgate(t, "seal", "sql", "-config", p.configFile)); err == nil || !strings.Contains(out, "the key id k1 stands for another key already") {
		t.Errorf("psql: %v, %s", err, out)
	}
	// A seal that goes away while sessions are served.
	pg.exec(t, database, "DELETE FROM tenantgate.key")
	w, err := p.as(tenantB).tryLogin(t)
	if err == nil {
		t.Errorf("a login without the key sees %s users", w.value("SELECT count(*) FROM users"))
	}
	if got := refusal(t, p.as(tenantB)); got != "08006" {
		t.Errorf("after the key was taken away: %q", got)
	}
}

// TestAnUnsealedConfigurationSaysSo looks at what is said about a database
// without a key, sealed or not.
func TestAnUnsealedConfigurationSaysSo(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	plain := func(p *proxy) { p.set("databases", map[string]any{}); p.database("app", database, "session", 2) }
	p := startProxy(t, pg, plain)
	for name, got := range map[string]string{"check": p.says("check"), "the log": p.log.String()} {
		if strings.Count(got, "the context is not sealed: the guard is a filter") != 1 {
			t.Errorf("%s: %s", name, got)
		}
	}
	sealedProxy(t, pg, database)
	if got := p.says("check"); !strings.Contains(got, "WARN databases.app: the database is sealed and context.seal names no key") {
		t.Errorf("check: %s", got)
	}
	if got, _, _ := auditCommand(t, "-config", p.configFile, "-dsn", pg.superDSN(database)); !strings.Contains(got, "note: the database is sealed and context.seal names no key") {
		t.Errorf("audit: %s", got)
	}
	if w := p.as(tenantA).login(t); w.value("SELECT count(*) FROM users") != "0" {
		t.Error("without a seal there are rows")
	}
}

// TestHiddenSQLIsLetThroughOnlyWhereTheDatabaseIsSealedWhole runs DO with the
// guard's defaults while one table is not protected, and when all are.
func TestHiddenSQLIsLetThroughOnlyWhereTheDatabaseIsSealedWhole(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database, with("context/guard", map[string]any{}))
	const hidden = "DO 'BEGIN PERFORM 1; END'"
	if _, err := tryQuery(p.as(tenantA).pgconn(t), hidden); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("with an open table: %v", err)
	}
	for _, want := range []string{p.says("seal", "status"), p.says("check"), p.log.String()} {
		if !strings.Contains(want, "tenants") || !strings.Contains(want, "sealed") {
			t.Errorf("the open table is not named: %s", want)
		}
	}
	pg.exec(t, database, "SELECT tenantgate.protect('tenants', 'id')")
	if got := p.says("seal", "status"); !strings.Contains(got, "databases.app: sealed\n") {
		t.Errorf("status: %s", got)
	}
	pg.exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+database+"'")
	eventually(t, 10*time.Second, "DO is let through", func() bool {
		_, err := tryQuery(p.as(tenantA).pgconn(t), hidden)
		return err == nil
	})
	if _, err := tryQuery(p.as(tenantA).pgconn(t), "SET app.is_admin = 'true'"); err == nil {
		t.Error("a reserved setting can be named")
	}
	pg.exec(t, database, "CREATE POLICY region ON users USING (current_setting('app.region', true) = 'here')")
	if got := p.says("check"); !strings.Contains(got, "app.region, which tenantgate does not set: every client can set it to what it likes, though within its tenant only;") {
		t.Errorf("check: %s", got)
	}
	c := p.as(tenantA).pgconn(t)
	query(t, c, "SET app.region = 'here'")
	if got := one(t, c, "SELECT count(DISTINCT tenant_id) FROM users"); got != "1" {
		t.Errorf("a setting that the proxy does not know shows %s tenants", got)
	}
}

// TestKeysRotateWithoutInterruption brings a second key into the database, then
// into the proxy, and takes the first away.
func TestKeysRotateWithoutInterruption(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	before := p.as(tenantA).pgconn(t)
	sealWith("k2")(p)
	p.writeConfig(t)
	p.seal(t, database)
	if got := refusal(t, p.as(tenantB)); got != "" {
		t.Errorf("with both keys in the database the old one gets %q", got)
	}
	p.reload(t)
	eventually(t, 10*time.Second, "the new key is used", func() bool {
		return strings.Contains(p.log.String(), "the configuration was reloaded")
	})
	during := p.as(tenantB).pgconn(t)
	query(t, before, "RESET ALL")
	pg.exec(t, database, "SELECT tenantgate.drop_key('k1')")
	for name, c := range map[string]string{"old": one(t, before, "SELECT count(*) FROM users"), "new": one(t, during, "SELECT count(*) FROM users")} {
		if c != "10" {
			t.Errorf("the %s session sees %s users", name, c)
		}
	}
	query(t, during, "DISCARD ALL")
	if got := one(t, during, "SELECT count(*) FROM users"); got != "10" {
		t.Errorf("entered again with the new key: %s users", got)
	}
	if _, err := tryQuery(before, "DISCARD ALL; SELECT 1"); err == nil {
		if rows, err := tryQuery(before, "SELECT count(*) FROM users"); err == nil && rows[0][0] != "0" {
			t.Errorf("entered again with the dropped key: %v", rows)
		}
	}
	if got := p.says("seal", "status"); !strings.Contains(got, "keys      k2 (configured)\n") {
		t.Errorf("status: %s", got)
	}
	if out, _ := runPsql(pg.superDSN(database), "SELECT tenantgate.drop_key('k2')"); !strings.Contains(out, "k2 is the last key") || pg.count(t, database, "SELECT count(*) FROM tenantgate.keys()") != 1 {
		t.Errorf("the last key: %s", out)
	}
}

// TestAHardenedDatabaseIsSealed takes both languages from everybody, as the audit
// and SECURITY.md propose, then seals, rotates, hardens once more and takes the
// seal away, twice.
func TestAHardenedDatabaseIsSealed(t *testing.T) {
	pg := startPostgres(t)
	database := newSealable(t, pg)
	pg.exec(t, database, "REVOKE USAGE ON LANGUAGE sql, plpgsql FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	p := sealedProxy(t, pg, database)
	sealWith("k2")(p)
	p.writeConfig(t)
	p.seal(t, database)
	if got := pg.exec(t, database, "SELECT string_agg(kid, ' ' ORDER BY kid) FROM tenantgate.key")[0][0]; got != "k1 k2" {
		t.Errorf("the keys are %s", got)
	}
	// Hardened only when it was sealed already: the audit's own SQL leaves the seal its languages.
	pg.exec(t, database, "SELECT tenantgate.unprotect('words'); REVOKE ALL ON LANGUAGE sql, plpgsql FROM tenantgate_owner; GRANT USAGE ON LANGUAGE sql, plpgsql TO PUBLIC")
	for _, f := range auditJSON(t, pg.superDSN(database), "-app-role", "app_role").of("TG040") {
		pg.exec(t, database, f.SQL)
	}
	if n := pg.count(t, database, "SELECT count(*) FROM pg_language WHERE has_language_privilege('tenantgate_owner', oid, 'USAGE') AND NOT has_language_privilege('app_role', oid, 'USAGE') AND lanname IN ('sql', 'plpgsql')"); n != 2 {
		t.Errorf("the seal's owner and nobody else may use %d languages", n)
	}
	p.seal(t, database)
	// Who may not grant it is told who may.
	pg.exec(t, database, fmt.Sprintf(`REVOKE ALL ON LANGUAGE sql FROM tenantgate_owner; GRANT USAGE ON LANGUAGE sql, plpgsql TO app_owner;
		CREATE ROLE dba LOGIN PASSWORD '%s' CREATEROLE; GRANT app_owner, tenantgate_owner TO dba; GRANT CREATE ON DATABASE %s TO dba`, superPassword, database))
	dba := strings.Replace(pg.superDSN(database), "user=postgres", "user=dba", 1)
	if out, err := runPsql(dba, p.tenantgate(t, "seal", "sql", "-config", p.configFile)); err == nil || !strings.Contains(out, "HINT:  As superuser: GRANT USAGE ON LANGUAGE sql TO tenantgate_owner") {
		t.Errorf("psql: %v, %s", err, out)
	}
	for range 2 {
		if out := p.seal(t, database, "-remove"); out != "" {
			t.Errorf("taking the seal away says %s", out)
		}
	}
	if n := pg.count(t, database, "SELECT count(*) FROM pg_roles WHERE rolname = 'tenantgate_owner'"); n != 0 {
		t.Error("the seal's owner is left")
	}
}

// TestSealingUnderARunningProxyRefusesNobody brings the key in first, then into
// the proxy, protects the tables when the sessions from before are over, and takes
// it all away again in the reverse order.
func TestSealingUnderARunningProxyRefusesNobody(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	plain := func(p *proxy) { p.set("databases", map[string]any{}); p.database("app", database, "session", 4) }
	p := startProxy(t, pg, plain, unguarded)
	rows := func(when string, c *pgconn.PgConn) {
		t.Helper()
		if got := one(t, c, "SELECT count(*) FROM users"); got != "10" {
			t.Errorf("%s there are %s users", when, got)
		}
	}
	before := p.as(tenantA).pgconn(t)
	sealWith("k1")(p)
	p.writeConfig(t)
	if out := p.seal(t, database, "-keys-only"); out != "" {
		t.Errorf("-keys-only says %s", out)
	}
	rows("with the key in the database, in the session from before,", before)
	rows("with the key in the database, in a new session,", p.as(tenantB).pgconn(t))
	p.reload(t)
	eventually(t, 10*time.Second, "the key is taken up", func() bool { return strings.Contains(p.log.String(), "the configuration was reloaded") })
	during := p.as(tenantB).pgconn(t)
	rows("behind the reload, in the session from before,", before)
	rows("behind the reload, in a new session,", during)
	closeSoon(before)
	p.seal(t, database)
	rows("with the tables protected, in the session from before,", during)
	rows("with the tables protected, in a new session,", p.as(tenantA).pgconn(t))
	if got := one(t, during, "SELECT count(*) FROM tenantgate.tables() WHERE state = 'sealed'"); got != "8" {
		t.Errorf("%s tables are sealed", got)
	}
	// And back.
	pg.exec(t, database, "SELECT tenantgate.unprotect(relation) FROM tenantgate.tables()")
	p.set("context/seal", nil)
	p.reload(t)
	eventually(t, 10*time.Second, "the key is given up", func() bool {
		return strings.Count(p.log.String(), "the configuration was reloaded") == 2
	})
	after := p.as(tenantA).pgconn(t)
	closeSoon(during)
	p.seal(t, database, "-remove")
	rows("with the seal gone, in the session from before,", after)
	rows("with the seal gone, in a new session,", p.as(tenantB).pgconn(t))
}

// TestSealingTwiceChangesNothing runs the script again and compares the catalogue.
func TestSealingTwiceChangesNothing(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	const catalogue = `SELECT string_agg(x, ' ' ORDER BY x) FROM (
		SELECT concat(oid, relname, relacl, relfilenode) FROM pg_class WHERE relnamespace = 'tenantgate'::regnamespace
		UNION ALL SELECT concat(oid, proname, proacl, prosrc, md5(pg_get_functiondef(oid))) FROM pg_proc WHERE pronamespace = 'tenantgate'::regnamespace
		UNION ALL SELECT concat(oid, polname, xmin, pg_get_expr(polqual, polrelid)) FROM pg_policy
		UNION ALL SELECT concat(kid, ipad, created) FROM tenantgate.key) c(x)`
	before := pg.exec(t, database, catalogue)
	p.seal(t, database)
	if after := pg.exec(t, database, catalogue); after[0][0] != before[0][0] {
		t.Errorf("before: %s\nafter: %s", before[0][0], after[0][0])
	}
}

// TestRightsThatNobodyShouldHaveAreFoundAndTakenAway opens the seal by default
// privileges and by grants.
func TestRightsThatNobodyShouldHaveAreFoundAndTakenAway(t *testing.T) {
	pg := startPostgres(t)
	database := newSealable(t, pg)
	pg.exec(t, database, `CREATE ROLE tenantgate_owner NOLOGIN; CREATE ROLE backup;
		ALTER DEFAULT PRIVILEGES FOR ROLE tenantgate_owner GRANT ALL ON TABLES TO app_role;
		ALTER DEFAULT PRIVILEGES FOR ROLE tenantgate_owner GRANT ALL ON SEQUENCES TO app_role, PUBLIC;
		ALTER DEFAULT PRIVILEGES FOR ROLE tenantgate_owner GRANT ALL ON FUNCTIONS TO app_role;
		ALTER DEFAULT PRIVILEGES FOR ROLE tenantgate_owner GRANT ALL ON SCHEMAS TO app_role`)
	p := sealedProxy(t, pg, database)
	excess := func(want ...string) {
		t.Helper()
		var got []string
		for _, row := range pg.exec(t, database, "SELECT * FROM tenantgate.excess() ORDER BY 1") {
			got = append(got, row[0])
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("excess: %q, want %q", got, want)
		}
	}
	excess()
	pg.exec(t, database, `GRANT SELECT (ipad) ON tenantgate.key TO backup;
		GRANT EXECUTE ON FUNCTION tenantgate.configure TO backup; GRANT CREATE ON SCHEMA tenantgate TO backup`)
	excess("backup may CREATE on schema tenantgate", "backup may EXECUTE on tenantgate.configure()",
		"backup may SELECT on tenantgate.key.ipad")
	if got := p.says("seal", "status"); !strings.Contains(got, "backup may SELECT on tenantgate.key.ipad") {
		t.Errorf("status: %s", got)
	}
	pg.exec(t, database, "GRANT USAGE ON SEQUENCE tenantgate.latch_2 TO PUBLIC")
	p.seal(t, database)
	excess()
	for grant, revoke := range map[string]string{
		"GRANT SELECT ON tenantgate.key TO app_role":                                                        "REVOKE ALL ON tenantgate.key FROM app_role",
		"GRANT SELECT (opad) ON tenantgate.key TO app_user":                                                 "REVOKE ALL ON tenantgate.key FROM app_user",
		"GRANT UPDATE ON SEQUENCE tenantgate.latch_1 TO app_role":                                           "REVOKE ALL ON SEQUENCE tenantgate.latch_1 FROM app_role",
		"GRANT USAGE ON SEQUENCE tenantgate.latch_3 TO PUBLIC":                                              "REVOKE USAGE ON SEQUENCE tenantgate.latch_3 FROM PUBLIC",
		"GRANT CREATE ON SCHEMA tenantgate TO app_user":                                                     "REVOKE CREATE ON SCHEMA tenantgate FROM app_user",
		"GRANT tenantgate_owner TO app_user":                                                                "REVOKE tenantgate_owner FROM app_user",
		"ALTER ROLE app_user NOINHERIT; GRANT backup TO app_user; GRANT INSERT ON tenantgate.key TO backup": "REVOKE backup FROM app_user; REVOKE ALL ON tenantgate.key FROM backup",
	} {
		pg.exec(t, database, grant)
		if got := p.says("check"); !strings.Contains(got, "can get at the seal itself") {
			t.Errorf("%s: check says %s", grant, got)
		}
		pg.exec(t, database, revoke)
	}
	if got := p.says("check"); strings.Contains(got, "FAIL") {
		t.Errorf("check: %s", got)
	}
}

// TestWhatAnotherRoleHasPreparedIsNotBuiltUpon makes the schema before the seal.
func TestWhatAnotherRoleHasPreparedIsNotBuiltUpon(t *testing.T) {
	pg := sharedPostgres(t)
	for name, sql := range map[string]string{
		"schema":   "CREATE SCHEMA tenantgate AUTHORIZATION app_owner",
		"sequence": "CREATE SCHEMA tenantgate; ALTER SCHEMA tenantgate OWNER TO tenantgate_owner; GRANT ALL ON SCHEMA tenantgate TO app_owner; SET ROLE app_owner; CREATE UNLOGGED SEQUENCE tenantgate.latch_1",
	} {
		database := newSealable(t, pg)
		pg.exec(t, database, "DO 'BEGIN CREATE ROLE tenantgate_owner NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END'")
		pg.exec(t, database, sql)
		p := newProxy(t, pg, sealWith("k1"))
		if out, err := runPsql(pg.superDSN(database), p.tenantgate(t, "seal", "sql", "-config", p.configFile)); err == nil || !strings.Contains(out, "does not belong to tenantgate_owner") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}

// TestTheSealIsInstalledWithoutASuperuser runs the script as a role such as a
// managed service gives: CREATEROLE, CREATE on the database, member of the owner.
func TestTheSealIsInstalledWithoutASuperuser(t *testing.T) {
	pg := startPostgres(t)
	database := newSealable(t, pg)
	pg.exec(t, database, fmt.Sprintf(`CREATE ROLE dba LOGIN PASSWORD '%s' CREATEROLE CREATEDB NOSUPERUSER;
		GRANT app_owner TO dba; GRANT CREATE ON DATABASE %s TO dba; REVOKE TEMPORARY ON DATABASE %[2]s FROM PUBLIC`, superPassword, database))
	p := newProxy(t, pg, sealWith("k1"), unguarded, with("databases", map[string]any{}), func(p *proxy) { p.database("app", database, "session", 2) })
	script := p.tenantgate(t, "seal", "sql", "-config", p.configFile)
	dsn := strings.Replace(pg.superDSN(database), "user=postgres", "user=dba", 1)
	for range 2 {
		if out := p.psql(t, dsn, script); !strings.Contains(out, "table public.tenants: not sealed") || strings.Count(out, "\n") != 1+8 {
			t.Errorf("psql: %s", out)
		}
	}
	p.start(t)
	defer p.finish(t)
	c := p.as(tenantA).pgconn(t)
	query(t, c, "SET app.current_tenant_id = '"+tenantB.id+"'")
	if got := one(t, c, "SELECT count(*) FROM users"); got != "0" {
		t.Errorf("%s users", got)
	}
	closeSoon(c)
	// And away with it, as the same role; what is built upon the readers stops it.
	pg.exec(t, database, "SET ROLE app_owner; CREATE POLICY own ON tenants USING (id = (SELECT tenantgate.current_tenant_id()))")
	removal := p.tenantgate(t, "seal", "sql", "-remove", "-config", p.configFile)
	if out, err := runPsql(dsn, removal); err == nil || !strings.Contains(out, "still in use by policy own on table tenants") {
		t.Errorf("psql: %v, %s", err, out)
	}
	pg.exec(t, database, "DROP POLICY own ON tenants")
	p.psql(t, dsn, removal)
	if got := pg.count(t, database, "SELECT (SELECT count(*) FROM pg_policy WHERE polname = 'tenantgate_seal') + (SELECT count(*) FROM pg_namespace WHERE nspname = 'tenantgate') + (SELECT count(*) FROM pg_roles WHERE rolname = 'tenantgate_owner')"); got != 0 {
		t.Errorf("%d things are left", got)
	}
}
