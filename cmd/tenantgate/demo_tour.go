package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// errTour ends the demo when something did not hold; the page has said what.
var errTour = errors.New("not everything held")

// tour shows what the proxy does, step by step, and checks every line that it
// prints. The pool holds one backend, so every client gets the same one, and no
// step may keep a client that another step waits for.
type tour struct {
	demo *demo
	page *page

	held, broken int
	backend      string   // process id of the one backend
	tenants      []string // of the sessions so far, in order
	refused      int      // logins refused for their token
	guarded      int      // statements that the guard refused
}

// run takes all the steps. It goes on after a check that failed, and ends at
// what cannot be shown at all.
func (t *tour) run(ctx context.Context) error {
	begin := time.Now()
	for i, step := range []struct {
		title string
		show  func(context.Context) error
	}{
		{"Two tenants, one backend, the same statement", t.showRows},
		{"A transaction, and a JOIN across three tables", t.showJoin},
		{"Nothing can be written for somebody else", t.showWrites},
		{"A token that does not hold opens nothing", t.showTokens},
		{"The tenant cannot be changed from SQL", t.showGuard},
		{"RESET ALL and DISCARD ALL do not lose it", t.showReset},
		{"The next client finds nothing of the last one", t.showLeftovers},
		{"An administrator's token sees both", t.showAdmin},
		{"What Prometheus sees", t.showMetrics},
	} {
		t.page.heading(fmt.Sprintf("%d  %s", i+1, step.title))
		if err := step.show(ctx); err != nil {
			return fmt.Errorf("%s: %w\n%s", step.title, err, tail(t.demo.gate.log))
		}
	}
	return t.verdict(time.Since(begin))
}

// verdict prints how many checks held; one that did not is an error.
func (t *tour) verdict(took time.Duration) error {
	t.page.print("")
	if t.broken > 0 {
		t.page.mark(false, fmt.Sprintf("%d of %d checks failed", t.broken, t.held+t.broken))
		return fmt.Errorf("%w; the proxy's log ends with:\n%s", errTour, tail(t.demo.gate.log))
	}
	t.page.mark(true, fmt.Sprintf("all %d checks held, in %.1f s", t.held, took.Seconds()))
	t.page.line("note: %s", unsealed)
	return t.page.err
}

// check prints a claim and counts whether it holds.
func (t *tour) check(held bool, format string, args ...any) {
	if held {
		t.held++
	} else {
		t.broken++
	}
	t.page.mark(held, fmt.Sprintf(format, args...))
}

// connect logs in through the proxy; options are the startup packet's.
func (t *tour) connect(ctx context.Context, user, token, options string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(t.demo.keywords(user))
	if err != nil {
		return nil, err
	}
	config.Password = token
	if options != "" {
		config.RuntimeParams["options"] = options
	}
	return pgconn.ConnectConfig(ctx, config)
}

// session logs in and runs work; the client has left when it returns.
func (t *tour) session(ctx context.Context, tenant, token string, work func(*pgconn.PgConn) error) error {
	conn, err := t.connect(ctx, tenant, token, "")
	if err != nil {
		return err
	}
	defer closeSoon(conn)
	t.tenants = append(t.tenants, tenant)
	return work(conn)
}

// truth asks PostgreSQL itself, past all policies.
func (t *tour) truth(ctx context.Context, sql string) ([][]string, error) {
	return t.demo.cluster.query(ctx, "app", sql)
}

// rowsOf sums up every row that a tenant has, so that a change of any shows.
func (t *tour) rowsOf(ctx context.Context, tenant string) (string, error) {
	var parts []string
	for _, table := range []string{"organizations", "users", "projects", "audit_logs", "invoices"} {
		parts = append(parts, "SELECT r::text FROM "+table+" r WHERE tenant_id = '"+tenant+"'")
	}
	rows, err := t.truth(ctx, "SELECT count(*), md5(string_agg(r, ',' ORDER BY r)) FROM ("+strings.Join(parts, " UNION ALL ")+") all_rows (r)")
	if err != nil {
		return "", err
	}
	return strings.Join(rows[0], " "), nil
}

// showRows runs one SELECT without a condition as both tenants.
func (t *tour) showRows(ctx context.Context) error {
	const sql = "SELECT pg_backend_pid(), id, email, role FROM users ORDER BY id"
	t.page.code(sql)
	var shown [][]string
	own, backends := true, map[string]bool{}
	for _, who := range []struct{ name, id, token string }{
		{"acme", tenantAcme, t.demo.gate.acme}, {"globex", tenantGlobex, t.demo.gate.globex},
	} {
		err := t.session(ctx, who.name, who.token, func(conn *pgconn.PgConn) error {
			rows, err := simpleQuery(ctx, conn, sql)
			if err != nil {
				return err
			}
			expected, err := t.truth(ctx, "SELECT id, email, role FROM users WHERE tenant_id = '"+who.id+"' ORDER BY id")
			own = own && err == nil && len(rows) > 0 && len(rows) == len(expected)
			for i, row := range rows {
				backends[row[0]] = true
				t.backend = row[0]
				shown = append(shown, append([]string{who.name}, row...))
				own = own && slices.Equal(row[1:], expected[i])
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	t.page.table([]string{"token", "backend", "id", "email", "role"}, shown)
	t.check(len(backends) == 1, "both were served by backend %s", t.backend)
	t.check(own, "each got exactly its own rows, although the statement names no tenant")
	return nil
}

// showJoin writes and joins in one transaction.
func (t *tour) showJoin(ctx context.Context) error {
	before, err := t.rowsOf(ctx, tenantGlobex)
	if err != nil {
		return err
	}
	const join = "SELECT o.name, p.name, count(*) FROM organizations o JOIN projects p ON p.organization_id = o.id\n" +
		"  JOIN audit_logs a ON a.project_id = p.id GROUP BY 1, 2 ORDER BY 1, 2"
	var rows [][]string
	err = t.session(ctx, "acme", t.demo.gate.acme, func(conn *pgconn.PgConn) error {
		for _, sql := range []string{
			"BEGIN",
			"INSERT INTO projects (organization_id, name) SELECT id, 'Orbit' FROM organizations WHERE name = 'Acme Rockets'",
			"INSERT INTO audit_logs (project_id, action) SELECT id, 'created' FROM projects WHERE name = 'Orbit'",
			join,
			"COMMIT",
		} {
			t.page.code(sql)
			got, err := simpleQuery(ctx, conn, sql)
			if err != nil {
				return err
			}
			if sql == join {
				rows = got
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	expected, err := t.truth(ctx, strings.Replace(join, " GROUP BY", " WHERE o.tenant_id = '"+tenantAcme+"' AND p.tenant_id = o.tenant_id AND a.tenant_id = o.tenant_id GROUP BY", 1))
	if err != nil {
		return err
	}
	after, err := t.rowsOf(ctx, tenantGlobex)
	if err != nil {
		return err
	}
	t.page.table([]string{"organization", "project", "audit logs"}, rows)
	t.check(slices.EqualFunc(rows, expected, slices.Equal[[]string]) && len(rows) == 4, "acme's rows and its new project, nothing else")
	t.check(before == after, "globex has what it had")
	return nil
}

// showWrites tries to write for, to and over the other tenant.
func (t *tour) showWrites(ctx context.Context) error {
	before, err := t.rowsOf(ctx, tenantGlobex)
	if err != nil {
		return err
	}
	var answers []string
	err = t.session(ctx, "acme", t.demo.gate.acme, func(conn *pgconn.PgConn) error {
		for _, sql := range []string{
			"INSERT INTO users (tenant_id, email) VALUES ('" + tenantGlobex + "', 'mallory@globex.example')",
			"UPDATE users SET tenant_id = '" + tenantGlobex + "'",
			"UPDATE invoices SET amount = 0 WHERE tenant_id = '" + tenantGlobex + "'",
			"DELETE FROM users WHERE tenant_id = '" + tenantGlobex + "'",
		} {
			answers = append(answers, t.attempt(ctx, conn, sql))
		}
		return nil
	})
	if err != nil {
		return err
	}
	after, err := t.rowsOf(ctx, tenantGlobex)
	if err != nil {
		return err
	}
	t.page.print("")
	t.check(strings.HasPrefix(answers[0], "42501") && strings.HasPrefix(answers[1], "42501"), "rows for globex are refused by PostgreSQL's policies")
	t.check(answers[2] == "UPDATE 0" && answers[3] == "DELETE 0", "rows of globex are not there to be changed")
	t.check(before == after, "globex has what it had")
	return nil
}

// attempt shows a statement and what came of it: a command tag, or the
// SQLSTATE and text of an error.
func (t *tour) attempt(ctx context.Context, conn *pgconn.PgConn, sql string) string {
	t.page.code(sql)
	results, err := conn.Exec(ctx, sql).ReadAll()
	answer := refusal(err)
	if err == nil && len(results) > 0 {
		answer = results[len(results)-1].CommandTag.String()
	}
	t.page.answer(answer)
	return answer
}

// refusal is an error as PostgreSQL or the proxy has put it: SQLSTATE and text.
func refusal(err error) string {
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return "accepted"
	case errors.As(err, &refused):
		return refused.Code + " " + refused.Message
	default:
		return err.Error()
	}
}
