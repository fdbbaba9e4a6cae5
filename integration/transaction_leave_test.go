package integration

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNobodyMeetsWhatAnotherSessionLeft has one session leave something behind its
// transaction, by every way that does not look like it. Another session with the
// same context and one of an administrator find nothing of it. Once with the guard,
// once where only the seal protects.
func TestNobodyMeetsWhatAnotherSessionLeft(t *testing.T) {
	const trap = "CREATE TABLE projects (id uuid, tenant_id uuid, organization_id uuid, name text)"
	plants := []string{
		"BEGIN; SET LOCAL search_path = 'pg_temp', public; " + trap + "; COMMIT",
		"BEGIN; SET LOCAL search_path TO \"pg_temp\", public; CREATE VIEW projects AS SELECT 'trap'::text AS name; COMMIT",
		"BEGIN; SELECT set_config('search_path', 'pg_temp, public', true); " + trap + "; COMMIT",
		"BEGIN; SET LOCAL SCHEMA 'pg_temp'; SELECT 'trap'::text AS name INTO projects; COMMIT",
		"BEGIN; SET LOCAL search_path = 'pg_temp', public; " + trap + "; CREATE RULE r AS ON INSERT TO projects DO INSTEAD NOTHING; COMMIT",
		"UPDATE pg_settings SET setting = 'pg_temp, public' WHERE name = 'search_path'",
		"UPDATE pg_settings SET setting = '77' WHERE name = 'work_mem'",
		"SELECT set_config('work_' || 'mem', '77kB', false)",
		"SELECT set_rls_context('" + tenantB.id + "')",
	}
	const look = `SELECT current_setting('app.current_tenant_id') || ' ' || current_setting('search_path') || ' ' || current_setting('work_mem') || ' ' ||
		(SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) || ' ' || (SELECT count(*) FROM projects WHERE name LIKE '% of alpha')`
	want := tenantA.id + ` "$user", public 4MB 0 6`
	end := claims{"exp": time.Now().Add(time.Hour).Unix()} // another one would be another context where it is sealed
	run := func(t *testing.T, p *proxy) {
		for n, plant := range plants {
			planter := p.as(tenantA, end).login(t)
			planter.do(simple(plant)) // it may be refused
			if p.metrics(t).sum("server_connections", `database="app"`, `state="active"`) > 0 {
				depart(planter, "Terminate") // it keeps its backend: nobody gets that before it leaves
			}
			for _, ep := range []endpoint{p.as(tenantA, end), p.as(tenantA, end, admin)} {
				w := ep.login(t)
				if got := w.value(look); got != want {
					t.Errorf("behind %d %s: %s, want %s", n, plant, got, want)
				}
				depart(w, "Terminate")
			}
			depart(planter, "Terminate")
		}
	}
	pg := startPostgres(t)
	pg.exec(t, "app", `CREATE FUNCTION set_rls_context(id text) RETURNS void LANGUAGE sql AS $$ SELECT set_config('app.current_tenant_id', id, false) $$`)
	t.Run("guarded", func(t *testing.T) { run(t, inTransactions(t, pg, 1)) })
	t.Run("sealed", func(t *testing.T) {
		run(t, sealedProxy(t, pg, "app", func(p *proxy) { p.database("app", "app", "transaction", 1) }))
	})
}

// TestAnotherSessionIsEnteredAgain lets a function of the application change the
// context of its session: a session with the same context, on the same backend, does
// not feel it, and the first one finds its own context again when it had to share.
func TestAnotherSessionIsEnteredAgain(t *testing.T) {
	pg := startPostgres(t)
	pg.exec(t, "app", `CREATE FUNCTION set_rls_context(id text) RETURNS void LANGUAGE sql AS $$ SELECT set_config('app.current_tenant_id', id, false) $$`)
	p := inTransactions(t, pg, 1)
	first, second := p.as(tenantA).login(t), p.as(tenantA).login(t)
	for range 3 {
		first.do(simple("SELECT set_rls_context('" + tenantB.id + "')"))
		for _, w := range []*wire{second, first} {
			if got := w.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
				t.Fatalf("it works as %s", got)
			}
		}
	}
}

// hangers are what clients may send and then wait, without being in a transaction.
var hangers = map[string][][]byte{
	"nothing":           {},
	"Flush":             {message('H')},
	"CopyData":          {copyData("x")},
	"CopyDone":          {message('c')},
	"CopyFail":          {copyFail("x")},
	"half CopyData":     {copyData("xxxx")[:7]},
	"part of a header":  {[]byte("Q\x00\x00")},
	"half a Query":      {[]byte("Q\x00\x00\x00\x20SELE")},
	"half a Parse":      {parse("", "SELECT 1")[:9]},
	"half a Bind":       {bind("", "")[:8]},
	"Query and Flush":   {simple("SELECT 1"), message('H')},
	"Query and a start": {simple("SELECT 1"), simple("SELECT 2")[:8]},
}

// TestNobodyKeepsABackendForNothing holds that a client has a backend from the first
// whole message that PostgreSQL answers on: whatever else it sends and leaves so,
// another one gets the only backend.
func TestNobodyKeepsABackendForNothing(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1, with("timeouts/query_wait_timeout", "3s"))
	other := p.as(tenantB).login(t)
	for name, messages := range hangers {
		w := p.as(tenantA).login(t)
		w.send(messages...)
		if strings.HasPrefix(name, "Query") {
			w.until('Z', 1)
		}
		if got := other.value("SELECT current_setting('app.current_tenant_id')"); got != tenantB.id {
			t.Errorf("%s: the other one works as %s", name, got)
		}
		defer depart(w, "FIN")
	}
}

// endedHangers are hangers, and what keeps a backend for a reason.
func endedHangers() map[string][][]byte {
	all := map[string][][]byte{
		"failed pipeline":  {parse("", "selekt"), bind("", ""), execute("", 0), parse("", "SELECT 1"), bind("", ""), execute("", 0), syncMessage},
		"long Parse":       {parse("", "SELECT 1 --"+strings.Repeat("x", 20_000)), syncMessage},
		"Close":            {parse("", "SELECT 1"), bind("", ""), execute("", 0), closeOf('S', ""), syncMessage},
		"named":            {parse("named", "SELECT 1"), syncMessage},
		"SET":              {simple("SET work_mem = '5MB'")},
		"SET and a Flush":  {simple("SET work_mem = '5MB'"), message('H')},
		"SET and CopyData": {simple("SET work_mem = '5MB'"), copyData("xxxx")[:7]},
	}
	for name, messages := range hangers {
		all[name] = messages
	}
	return all
}

// TestAnIdleClientIsEndedWhateverItHasSent holds that client_idle_timeout ends each of
// them, with and without a backend.
func TestAnIdleClientIsEndedWhateverItHasSent(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 20, with("timeouts/client_idle_timeout", "500ms"))
	for name, messages := range endedHangers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := p.as(tenantA).login(t)
			w.send(messages...)
			if _, code := lastError(w.rest(5 * time.Second)); code != "57P05" {
				t.Errorf("it ends with %q", code)
			}
		})
	}
}

// TestADrainWaitsForNobodyWhoIsIdle holds the same of the end of the proxy.
func TestADrainWaitsForNobodyWhoIsIdle(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 20)
	for _, messages := range endedHangers() {
		w := p.as(tenantA).login(t)
		w.send(messages...)
		if len(messages) > 0 && (messages[0][0] == 'Q' && len(messages[0]) > 10 || len(messages) > 1) {
			w.until('Z', 1)
		}
	}
	begin := time.Now()
	p.signal(t, syscall.SIGTERM)
	if code := p.waitExit(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
