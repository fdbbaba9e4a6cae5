package integration

import (
	"fmt"
	"strings"
	"testing"
)

// resets are the statements that take the context's settings away, as drivers
// and applications send them.
var resets = []string{
	"RESET ALL", "DISCARD ALL", "reset all;", "/* a comment */ Discard  All", "RESET app.current_tenant_id", "RESET app.is_admin",
	"SET app.current_tenant_id TO DEFAULT", "SET app.is_admin = DEFAULT", "SET SESSION AUTHORIZATION DEFAULT", "RESET SESSION AUTHORIZATION",
	"SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
}

// contextProbe reads the whole context and the rows behind it.
const contextProbe = "SELECT current_setting('app.current_tenant_id'), current_setting('app.is_admin'), current_setting('app.user_id')," +
	" count(*), count(*) FILTER (WHERE tenant_id::text = current_setting('app.current_tenant_id')) FROM users"

// probed is contextProbe's one right answer.
func probed(x tenant) string { return fmt.Sprintf("D[%s|false|somebody|10|10]", x.id) }

// forms are the ways in which a reset and what follows it reach the server.
var forms = []struct {
	name string
	send func(w *wire, reset string) []frame // answers up to and with the probe's
}{
	{"simple", func(w *wire, reset string) []frame {
		return append(w.do(simple(reset)), w.do(simple(contextProbe))...)
	}},
	{"pipelined", func(w *wire, reset string) []frame {
		w.send(simple(reset), simple(contextProbe))
		return w.until('Z', 2)
	}},
	{"glued in front of an extended query", func(w *wire, reset string) []frame {
		w.send(simple(reset), extended(contextProbe), syncMessage)
		return w.until('Z', 2)
	}},
	{"extended", func(w *wire, reset string) []frame {
		w.send(extended(reset), syncMessage, extended(contextProbe), syncMessage)
		return w.until('Z', 2)
	}},
	{"extended in one pipeline", func(w *wire, reset string) []frame {
		return w.do(extended(reset), extended(contextProbe), syncMessage)
	}},
	{"extended with flushes", func(w *wire, reset string) []frame {
		w.send(extended(reset), flush)
		frames := w.until('C', 1)
		return append(frames, w.do(extended(contextProbe), syncMessage)...)
	}},
	{"as a named statement", func(w *wire, reset string) []frame {
		w.send(parse("", reset), syncMessage, bind("", ""), execute("", 0), syncMessage, simple(contextProbe))
		return w.until('Z', 3)
	}},
	{"byte by byte", func(w *wire, reset string) []frame {
		for _, b := range join(simple(reset), simple(contextProbe)) {
			w.send([]byte{b})
		}
		return w.until('Z', 2)
	}},
}

// canExtend says that a statement may be sent in the extended protocol.
func canExtend(reset string) bool { return strings.Count(reset, ";") < 2 }

// TestTheContextOutlivesResets sends every statement that takes the context away
// in every form; the next statement must find the context in force.
func TestTheContextOutlivesResets(t *testing.T) {
	pg := sharedPostgres(t)
	run := func(t *testing.T, ep endpoint) {
		for _, form := range forms {
			for _, reset := range resets {
				extended := strings.Contains(form.name, "extended") && !strings.Contains(form.name, "glued") || strings.Contains(form.name, "named")
				if extended && !canExtend(reset) {
					continue
				}
				w := ep.login(t)
				for range 2 {
					if got := show(form.send(w, reset)); !strings.Contains(got, probed(ep.tenant)) || strings.Contains(got, "E[") {
						t.Errorf("%s, %q: %s", form.name, reset, got)
					}
				}
				w.close()
			}
		}
	}
	t.Run("direct", func(t *testing.T) { run(t, pg.direct(tenantA)) })
	t.Run("proxy", func(t *testing.T) {
		p := startProxy(t, pg)
		for _, x := range tenants {
			for _, ep := range p.everyMode(x) {
				run(t, ep)
			}
		}
	})
}

// neighbours are what may stand around a reset in one pipeline, with the number
// of ReadyForQuery that they owe.
var neighbours = map[string]exchange{
	"nothing":                 {nil, 0},
	"a query":                 q("SELECT 1"),
	"several statements":      q("SELECT 1; SELECT 2"),
	"an extended query":       x(extended("SELECT 1")),
	"a failing query":         q("SELECT 1/0"),
	"a failing pipeline":      x(extended("SELECT 1/0"), extended("SELECT 1")),
	"a transaction":           {join(simple("BEGIN"), simple("SELECT 1"), simple("ROLLBACK")), 3},
	"a failing transaction":   {join(simple("BEGIN"), simple("SELECT 1/0"), simple("SELECT 2"), simple("ROLLBACK")), 4},
	"COPY in":                 {join(simple("CREATE TEMP TABLE IF NOT EXISTS c (t text)"), simple("COPY c FROM STDIN"), copyData("x\n"), copyDone), 2},
	"COPY in, extended":       {join(simple("CREATE TEMP TABLE IF NOT EXISTS c (t text)"), extended("COPY c FROM STDIN"), copyData("x\n"), copyDone, syncMessage), 2},
	"COPY in, early Sync":     {join(simple("CREATE TEMP TABLE IF NOT EXISTS c (t text)"), extended("COPY c FROM STDIN"), syncMessage, copyData("x\n"), copyDone, syncMessage), 2},
	"COPY in that fails":      {join(simple("CREATE TEMP TABLE IF NOT EXISTS d (n int)"), simple("COPY d FROM STDIN"), copyData("x\n"), copyDone), 2},
	"COPY in that is refused": {join(simple("COPY nowhere FROM STDIN"), copyData("x\n"), copyDone), 1},
	"CopyFail":                {join(simple("CREATE TEMP TABLE IF NOT EXISTS c (t text)"), simple("COPY c FROM STDIN"), copyFail("no")), 2},
	"COPY out":                q("COPY (SELECT 1) TO STDOUT"),
	"settings":                q("SET search_path = pg_catalog, public; SET statement_timeout = '9s'"),
	"RESET ALL":               q("RESET ALL"),
	"DISCARD ALL":             q("DISCARD ALL"),
	"RESET ALL, extended":     x(extended("RESET ALL")),
	"an empty query":          q(""),
	"a guarded statement":     q("SET app.is_admin = 'false'"),
	"a Sync":                  x(),
	"a named statement":       {join(parse("n", "SELECT 1"), syncMessage, bind("", "n"), execute("", 0), syncMessage, closeOf('S', "n"), syncMessage), 3},
}

// TestTheContextOutlivesResetsInPipelines puts everything in front of and behind
// a reset, all of it in one write.
func TestTheContextOutlivesResetsInPipelines(t *testing.T) {
	pg := sharedPostgres(t)
	run := func(t *testing.T, ep endpoint) {
		for before, b := range neighbours {
			w := ep.login(t)
			for after, a := range neighbours {
				for _, reset := range []exchange{q("RESET ALL"), q("DISCARD ALL"), x(extended("RESET ALL")), q("RESET app.current_tenant_id")} {
					w.send(b.bytes, reset.bytes, a.bytes, simple(contextProbe))
					frames := w.until('Z', b.ready+1+a.ready+1)
					if got := show(frames); !strings.Contains(got, probed(ep.tenant)) {
						t.Errorf("%s, %q, %s: %s", before, reset.bytes, after, got)
						w.close()
						w = ep.login(t)
					}
				}
			}
			w.close()
		}
	}
	everywhere(t, pg, run)
}

// TestTheAnswersToAResetAreTheServersOwn compares the whole answer: the proxy's
// own statements must leave no trace in it.
func TestTheAnswersToAResetAreTheServersOwn(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	for _, ep := range p.everyMode(tenantA) {
		for _, form := range forms {
			for _, reset := range []string{"RESET ALL", "DISCARD ALL"} {
				same(t, form.name+", "+reset, show(form.send(pg.direct(tenantA).login(t), reset)), show(form.send(ep.login(t), reset)))
			}
		}
	}
}

// TestTheContextInTransactions takes the context away inside transactions that
// commit, roll back and fail.
func TestTheContextInTransactions(t *testing.T) {
	pg := sharedPostgres(t)
	scripts := [][]string{
		{"BEGIN", "RESET ALL", contextProbe, "COMMIT", contextProbe},
		{"BEGIN", "RESET ALL", contextProbe, "ROLLBACK", contextProbe},
		{"BEGIN", "RESET app.current_tenant_id", contextProbe, "SAVEPOINT s", "RESET ALL", "ROLLBACK TO s", contextProbe, "ROLLBACK", contextProbe},
		{"BEGIN", "RESET ALL", "SELECT 1/0", "ROLLBACK", contextProbe},
		{"BEGIN", "SET LOCAL app.current_tenant_id TO DEFAULT", contextProbe, "COMMIT", contextProbe},
		{"BEGIN", "DISCARD ALL", "ROLLBACK", contextProbe},
		{"BEGIN; RESET ALL; COMMIT", contextProbe},
		{"BEGIN", "SELECT 1/0", "RESET ALL", "ROLLBACK", contextProbe},
		{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "RESET ALL", contextProbe, "DISCARD ALL", contextProbe},
		{"SET statement_timeout = '2s'", "RESET ALL", "SHOW statement_timeout", contextProbe},
	}
	run := func(t *testing.T, ep endpoint) string {
		var b strings.Builder
		for _, script := range scripts {
			w := ep.login(t)
			for _, sql := range script {
				frames := w.do(simple(sql))
				fmt.Fprintf(&b, "%s\n%s", sql, show(frames))
				if text := show(frames); sql == contextProbe && !strings.Contains(text, probed(ep.tenant)) {
					t.Errorf("%s, in %q: %s", ep.name, script, text)
				}
			}
			w.close()
		}
		return b.String()
	}
	sameEverywhere(t, pg, run)
}

// TestAClientCannotChangeItsContext holds the guard's part: naming a reserved
// setting with another value is refused, with the value it has it is allowed.
func TestAClientCannotChangeItsContext(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	a, b := tenantA.id, tenantB.id
	for _, ep := range p.everyMode(tenantA) {
		w := ep.login(t)
		for _, sql := range []string{
			"SET app.current_tenant_id = '" + b + "'", "set SESSION App.Current_Tenant_Id to '" + b + "'", "SET LOCAL app.current_tenant_id = '" + b + "'",
			"SELECT set_config('app.current_tenant_id', '" + b + "', false)", "SELECT pg_catalog.set_config('app.is_admin', 'true', true)",
			`SET "app.current_tenant_id" = '` + b + `'`, `SET app."current_tenant_id" = '` + b + `'`, "SET app.is_admin = 'true'", "SET app.is_admin TO true",
			"SELECT set_config('app.' || 'is_admin', 'true', false)", "DO $$ BEGIN PERFORM set_config('app.is_admin', 'true', false); END $$",
			`SET U&"\0061pp.is_admin" = 'true'`, "SET app.is_admin = 'true'; SELECT 1", "SELECT 1; SET/**/app.is_admin='true'",
			"SELECT query_to_xml('select set_config(''app.is_admin'', ''true'', false)', true, false, '')", "SET ROLE app_owner", "ALTER ROLE CURRENT_USER SET app.is_admin = 'true'",
		} {
			frames := w.do(simple(sql))
			if severity, code := lastError(frames); severity != "ERROR" || code != "42501" {
				t.Errorf("%q: %s", sql, show(frames))
			}
			frames = w.do(extended(sql), syncMessage)
			if severity, code := lastError(frames); severity != "ERROR" || code != "42501" && !strings.Contains(sql, ";") {
				t.Errorf("extended %q: %s", sql, show(frames))
			}
			if text := show(w.do(simple(contextProbe))); !strings.Contains(text, probed(tenantA)) {
				t.Fatalf("after %q: %s", sql, text)
			}
		}
		for _, sql := range []string{
			"SET app.current_tenant_id = '" + a + "'", "SET app.is_admin = false", "SET app.is_admin = 'false'", "SELECT set_config('app.current_tenant_id', '" + a + "', false)",
			"SHOW app.current_tenant_id", "SELECT current_setting('app.current_tenant_id')", "SET work_mem = '5MB'", "SELECT set_config('search_path', 'public', false)",
		} {
			if frames := w.do(simple(sql)); strings.Contains(show(frames), "E[") {
				t.Errorf("%q: %s", sql, show(frames))
			}
		}
		// In a transaction a refusal fails the transaction, as PostgreSQL's would.
		frames := append(w.do(simple("BEGIN")), w.do(simple("SET app.is_admin = 'true'"))...)
		frames = append(frames, w.do(simple("SELECT 1"))...)
		frames = append(frames, w.do(simple("ROLLBACK"))...)
		var states []string
		for _, f := range frames {
			switch f.typ {
			case 'E':
				states = append(states, f.field('C'))
			case 'Z':
				states = append(states, string(f.body))
			}
		}
		if got := strings.Join(states, " "); got != "T 42501 E 25P02 E I" {
			t.Errorf("a refusal in a transaction went %s: %s", got, show(frames))
		}
		if text := show(w.do(simple(contextProbe))); !strings.Contains(text, probed(tenantA)) {
			t.Errorf("at the end: %s", text)
		}
	}
}
