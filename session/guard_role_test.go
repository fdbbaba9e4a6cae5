package session

import (
	"testing"
)

func TestGuardRefusesWhatTheSharedRoleCouldDo(t *testing.T) {
	mustRefuse(t, []refusal{
		{RuleRoleAlter, `ALTER ROLE CURRENT_USER PASSWORD 'x'`},
		{RuleRoleAlter, `ALTER USER app SET search_path = x`},
		{RuleRoleAlter, `ALTER GROUP a ADD USER b`},
		{RuleRoleAlter, `ALTER USER app SET app.current_tenant_id = 'B'`},
		{RuleRoleDatabase, `ALTER DATABASE app SET app.current_tenant_id = 'B'`},
		{RuleRoleSystem, `ALTER SYSTEM SET work_mem = 1`},
		{RuleRoleCreate, `CREATE ROLE r`},
		{RuleRoleCreate, `CREATE USER r PASSWORD 'x'`},
		{RuleRoleDrop, `DROP ROLE r`},
		{RuleRoleDrop, `DROP USER IF EXISTS r`},
		{RuleRoleDrop, `DROP USER mapping`},
		{RuleRoleCreate, `CREATE USER mapping PASSWORD 'x'`},
		{RuleRoleDrop, `DROP OWNED BY CURRENT_USER`},
		{RuleRoleDrop, `REASSIGN OWNED BY a TO b`},
		{RuleRoleTwoPhase, `PREPARE TRANSACTION 'x'`},
		{RuleRoleTwoPhase, `COMMIT PREPARED 'x'`},
		{RuleRoleTwoPhase, `ROLLBACK/**/PREPARED 'x'`},
		{RuleRoleTerminate, `SELECT pg_terminate_backend(1)`},
		{RuleRoleTerminate, `SELECT pg_cancel_backend(pid) FROM pg_stat_activity`},
		{RuleRoleTerminate, `SELECT (12).pg_cancel_backend`},
		{RuleRoleTerminate, `SELECT pg_reload_conf()`},
		{RuleRoleTerminate, `SELECT pg_rotate_logfile()`},
		{RuleRoleTerminate, `SELECT a.pg_terminate_backend FROM p, LATERAL generate_series(p.pid, p.pid) a`},
		{RuleRoleTerminate, `SELECT TREAT(1 AS pg_cancel_backend)`},
		{RuleRoleTerminate, `SELECT PG_TERMİNATE_BACKEND(1)`},
		{RuleRoleSet, `SET ROLE admin`},
		{RuleRoleSet, `SET SESSION ROLE 'admin'`},
		{RuleRoleSet, `SET LOCAL ROLE "admin"`},
		{RuleRoleSet, `SET role = admin`},
		{RuleRoleSet, `SET "role" TO admin`},
		{RuleRoleSet, `SET SESSION AUTHORIZATION admin`},
		{RuleRoleSet, `SET SESSION SESSION AUTHORIZATION 'admin'`},
		{RuleRoleSet, `SET LOCAL SESSION AUTHORIZATION "admin"`},
		{RuleRoleSet, `SET session_authorization = admin`},
		{RuleRoleSet, `SELECT set_config('role', 'admin', true)`},
		{RuleRoleSet, `SELECT set_config('role', $2, true)`},
		{RuleRoleSet, `SELECT set_config('session_authorization', 'admin', true)`},
		{RuleRoleSet, `ALTER FUNCTION f() SET role = 'admin'`},
		{RuleRoleReplication, `SET session_replication_role = replica`},
	})
}

func TestGuardRefusesWhatKnowsNoTenantWhenChannelsAreOn(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		sql  string
	}{
		{RuleChannelsListen, `LISTEN x`},
		{RuleChannelsListen, `UNLISTEN x`},
		{RuleChannelsNotify, `NOTIFY x, 'y'`},
		{RuleChannelsNotify, `CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM t; NOTIFY x)`},
		{RuleChannelsNotify, `CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x`},
		{RuleChannelsNotify, `SELECT pg_notify('x', 'y')`},
		{RuleChannelsObject, `SELECT lo_open(1, 2)`},
		{RuleChannelsObject, `SELECT (1).lo_unlink`},
		{RuleChannelsObject, `SELECT lowrite(1, 'x')`},
		{RuleChannelsObject, `SELECT pg_catalog.loread(1, 2)`},
		{"", `UNLISTEN *`},
		{"", `SELECT listen, notify, lo_open FROM unlisten`},
	} {
		if v := judgeAll(t, strictGuard, c.sql, true); v.Rule != c.rule {
			t.Errorf("%q: %q, want %q", c.sql, v.Rule, c.rule)
		}
		if v := judgeAll(t, testGuard, c.sql, true); v.Rule != "" {
			t.Errorf("%q with channels off: %q", c.sql, v.Rule)
		}
	}
}
