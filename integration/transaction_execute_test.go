package integration

import (
	"strings"
	"testing"
	"time"
)

// another is SQL by which a client tries to run a statement of a session that it shares
// its backend and its principal with: what that one is called, and what the client
// prepares for it. %s is the argument.
var another = map[string]struct{ name, prepares, runs string }{
	"by its name":               {"zz", "SELECT 1", `EXECUTE zz(%s)`},
	"by a name in capitals":     {"zz", "SELECT 1", `EXECUTE ZZ(%s)`},
	"by a quoted name":          {"zz", "SELECT 1", `EXECUTE "zz"(%s)`},
	"by an escaped name":        {"zz", "SELECT 1", `EXECUTE U&"\007az"(%s)`},
	"by a name cut behind 62":   {strings.Repeat("m", 62), "SELECT 1", `EXECUTE "` + strings.Repeat("m", 62) + `é"(%s)`},
	"by a name cut behind 60":   {strings.Repeat("m", 60), "SELECT 1", `EXECUTE ` + strings.Repeat("m", 60) + `😀(%s)`},
	"behind a comment":          {"zz", "SELECT 1", `EXECUTE/**/zz(%s)`},
	"explained":                 {"zz", "SELECT 1", `EXPLAIN ANALYZE EXECUTE zz(%s)`},
	"behind another statement":  {"zz", "SELECT 1", `SELECT 1; EXECUTE zz(%s)`},
	"by one of its own":         {"zz", "EXECUTE zz(%s)", `EXECUTE m`},
	"beside one that is broken": {"zz", "SELECT * FROM no_such_table", `EXECUTE zz(%s) /* EXECUTE m */`},
}

// TestNobodyExecutesAnothersStatement by SQL, whatever it is called and however that is
// spelt: not even of the same principal, and least of all one that sets the context.
func TestNobodyExecutesAnothersStatement(t *testing.T) {
	pg := startPostgres(t)
	for text, value := range map[string]string{
		"SELECT set_config('app.current_tenant_id', $1, false)": "'" + tenantB.id + "'", // keeps its backend
		"SELECT 'SECRET', $1::text":                             "'x'",
	} {
		size := 1
		if strings.Contains(text, "set_config") {
			size = 2
		}
		p := inTransactions(t, pg, size)
		for how, c := range another {
			t.Run(text+"/"+how, func(t *testing.T) {
				owner, other := p.as(tenantA).login(t), p.as(tenantA).login(t)
				defer depart(owner, "Terminate")
				defer depart(other, "Terminate")
				other.do(parse("m", strings.ReplaceAll(c.prepares, "%s", value)), syncMessage)
				if _, code := lastError(owner.do(parse(c.name, text), syncMessage)); code != "" {
					t.Fatal(code)
				}
				got := show(other.do(simple(strings.ReplaceAll(c.runs, "%s", value))))
				if strings.Contains(got, "SECRET") || strings.Contains(got, tenantB.id) {
					t.Errorf("it runs: %s", got)
				}
				if got := other.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
					t.Errorf("the tenant is %s", got)
				}
			})
		}
	}
}

// TestABoundContextIsNotPreparedAgain: what the guard holds a Bind to belongs to the
// Parse that the client has sent. The proxy may believe that PostgreSQL has refused the
// next one, by an encoding that is not in force any more.
func TestABoundContextIsNotPreparedAgain(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 2, with("timeouts/query_wait_timeout", "5s"))
	forge := join(bind("", "", tenantB.id), execute("", 0), syncMessage)
	a, b := p.as(tenantA).login(t), p.as(tenantB).login(t)
	a.do(parse("latin", "SET client_encoding = 'LATIN1'"), syncMessage)
	a.do(parse("", "SELECT set_config('app.current_tenant_id', $1, false)"), syncMessage)
	a.send(join(bind("", "latin"), execute("", 0), syncMessage, parse("", "SELECT 1 /*\xe9*/"), syncMessage))
	a.until('Z', 2)
	b.do(simple("SELECT 1"))
	a.do(forge)
	if got := a.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
		t.Errorf("the tenant is %s", got)
	}
}

// TestNobodysStatementIsRunUnseen where the proxy cannot tell what PostgreSQL makes of
// what the client has sent in front.
func TestNobodysStatementIsRunUnseen(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1)
	for name, unseen := range map[string][]byte{
		"behind a change of the encoding":   join(simple("SET client_encoding = 'LATIN1'"), simple("EXECUTE zz /*\xe9*/")),
		"under a name that is only pledged": join(parse("", "bad"), parse("zz", "SELECT 'mine'"), syncMessage, simple("EXECUTE --\rzz")),
		"amid a COPY that has failed":       join(simple("CREATE TEMP TABLE c (i int)"), simple("COPY c FROM STDIN"), copyData("none\n"), simple("EXECUTE zz")),
	} {
		t.Run(name, func(t *testing.T) {
			owner, other := p.as(tenantA).login(t), p.as(tenantA).login(t)
			defer depart(owner, "Terminate")
			defer other.close()
			owner.do(parse("zz", "SELECT 'SECRET'"), syncMessage)
			other.send(unseen, terminate)
			if got := show(other.rest(10 * time.Second)); strings.Contains(got, "SECRET") {
				t.Error(got)
			}
		})
	}
}

// TestTheFetchOfAStatementHidesNothing of what runs in front of it: a time limit, a
// cancel and the end of the client come through.
func TestTheFetchOfAStatementHidesNothing(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1, with("timeouts/statement_timeout", "500ms"))
	a, b := p.as(tenantA).login(t), p.as(tenantB).login(t)
	a.do(parse("zz", "SELECT 'mine'"), syncMessage)
	apart := func() { b.do(simple("SELECT 1")) }
	apart()
	begun := time.Now()
	a.send(join(simple("SELECT pg_sleep(20)"), simple("EXECUTE zz")))
	got := show(a.until('Z', 2))
	if !strings.Contains(got, "57014") || !strings.Contains(got, "mine") || time.Since(begun) > 10*time.Second {
		t.Errorf("after %v: %s", time.Since(begun), got)
	}
	apart()
	a.send(join(simple("SELECT pg_sleep(20)"), simple("EXECUTE zz")))
	depart(a, "RST")
	begun = time.Now()
	if apart(); time.Since(begun) > 10*time.Second {
		t.Errorf("the backend of a client that has gone was free after %v", time.Since(begun))
	}
}
