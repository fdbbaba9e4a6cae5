package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// transcript collects what a program in this process saw.
type transcript struct {
	t    *testing.T
	text strings.Builder
}

// note adds a line.
func (s *transcript) note(format string, args ...any) {
	fmt.Fprintf(&s.text, format+"\n", args...)
}

// must fails the test on an error.
func (s *transcript) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// pgxWalk uses pgx as an application does: prepared statements that it names by
// itself, batches, COPY, transactions, notifications.
func pgxWalk(t *testing.T, ep endpoint, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	administrator := strings.Contains(strings.Join(env, " "), "ROLE=admin")
	s := &transcript{t: t}
	c := ep.pgx(t)
	defer closeSoon(c.PgConn())
	for range 3 {
		rows, err := c.Query(ctx, "SELECT email FROM users WHERE email LIKE $1 ORDER BY email", "user%")
		s.must(err)
		emails, err := pgx.CollectRows(rows, pgx.RowTo[string])
		s.must(err)
		s.note("users %q", emails)
		if text := strings.Join(emails, " "); !administrator && (strings.Contains(text, ep.tenant.other().marker) || len(emails) != 10) {
			t.Fatalf("%s: %q", ep.name, emails)
		}
	}
	pgxTransaction(ctx, s, c, ep)
	for _, sql := range []string{"INSERT INTO users (tenant_id, email) VALUES ($1, 'forged@example')", "UPDATE users SET tenant_id = $1 WHERE email LIKE 'user1@%'"} {
		tx, err := c.Begin(ctx)
		s.must(err)
		_, err = tx.Exec(ctx, sql, ep.tenant.other().id)
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			s.note("%s %s %s", refused.Severity, refused.Code, refused.Message)
		}
		if (refused != nil && refused.Code == "42501") == administrator {
			t.Fatalf("%s: a write for the other tenant: %v", ep.name, err)
		}
		s.must(tx.Rollback(ctx))
	}
	pgxBulk(ctx, s, c)
	return s.text.String()
}

// pgxTransaction writes three tables in one transaction and takes the rows out again.
func pgxTransaction(ctx context.Context, s *transcript, c *pgx.Conn, ep endpoint) {
	s.t.Helper()
	tx, err := c.Begin(ctx)
	s.must(err)
	var organization, project string
	s.must(tx.QueryRow(ctx, "INSERT INTO organizations (tenant_id, name) VALUES ($1, 'new') RETURNING id::text", ep.tenant.id).Scan(&organization))
	s.must(tx.QueryRow(ctx, "INSERT INTO projects (tenant_id, organization_id, name) VALUES ($1, $2::text::uuid, 'new') RETURNING id::text", ep.tenant.id, organization).Scan(&project))
	_, err = tx.Exec(ctx, "INSERT INTO audit_logs (tenant_id, project_id, action) VALUES ($1, $2::text::uuid, 'new')", ep.tenant.id, project)
	s.must(err)
	s.must(tx.Commit(ctx))
	var joined int
	s.must(c.QueryRow(ctx, "SELECT count(*) FROM projects p JOIN audit_logs a ON a.project_id = p.id WHERE p.organization_id = $1::text::uuid", organization).Scan(&joined))
	s.note("transaction %d", joined)
	batch := &pgx.Batch{}
	batch.Queue("DELETE FROM audit_logs WHERE project_id = $1::text::uuid", project)
	batch.Queue("DELETE FROM projects WHERE id = $1::text::uuid", project)
	batch.Queue("DELETE FROM organizations WHERE id = $1::text::uuid", organization)
	s.must(c.SendBatch(ctx, batch).Close())
}

// pgxBulk copies rows in, reads many back, and listens to itself.
func pgxBulk(ctx context.Context, s *transcript, c *pgx.Conn) {
	s.t.Helper()
	_, err := c.Exec(ctx, "CREATE TEMP TABLE arrivals (n int, t text)")
	s.must(err)
	n, err := c.CopyFrom(ctx, pgx.Identifier{"arrivals"}, []string{"n", "t"}, pgx.CopyFromSlice(20000, func(i int) ([]any, error) {
		return []any{i, fmt.Sprintf("row %d", i)}, nil
	}))
	s.must(err)
	var sum int64
	s.must(c.QueryRow(ctx, "SELECT sum(n) FROM arrivals").Scan(&sum))
	s.note("copied %d, sum %d", n, sum)
	_, err = c.Exec(ctx, "LISTEN a_channel")
	s.must(err)
	_, err = c.Exec(ctx, "SELECT pg_notify('a_channel', 'a payload')")
	s.must(err)
	notification, err := c.WaitForNotification(ctx)
	s.must(err)
	s.note("notification %s %s", notification.Channel, notification.Payload)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	results := c.PgConn().Exec(short, "SELECT pg_sleep(0.01); SELECT 'two results'")
	all, err := results.ReadAll()
	s.must(err)
	s.note("results %d %s", len(all), all[1].Rows[0][0])
}
