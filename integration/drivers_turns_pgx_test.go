package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// pgxClient is one of the connections that pgxTurns keeps at work.
type pgxClient struct {
	*pgx.Conn
	ep    endpoint
	n     int
	table string
	seen  transcript
}

// pgxTurns uses three connections of pgx at once, as they come: with a cache of
// prepared statements.
func pgxTurns(t *testing.T, ep endpoint, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	table, _ := strings.CutPrefix(env[0], "TURNS_TABLE=")
	var clients []*pgxClient
	for n := range 3 {
		clients = append(clients, &pgxClient{Conn: ep.pgx(t), ep: ep, n: n, table: table, seen: transcript{t: t}})
	}
	each := func(step func(*pgxClient, context.Context) error) {
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(func() {
				if err := step(c, ctx); err != nil {
					t.Errorf("%s, client %d: %v", ep.name, c.n, err)
				}
			})
		}
		all.Wait()
	}
	for range 2 {
		each((*pgxClient).prepared)
		each((*pgxClient).transaction)
		each((*pgxClient).copyBothWays)
		each((*pgxClient).cancelled)
	}
	owner := pgxOwner(t, env)
	each((*pgxClient).described)
	query(t, owner, "ALTER TABLE "+table+" ADD COLUMN c int DEFAULT 3")
	each((*pgxClient).described)
	query(t, owner, "ALTER TABLE "+table+" ALTER COLUMN a TYPE text")
	each((*pgxClient).described)
	var all strings.Builder
	for _, c := range clients {
		all.WriteString(c.seen.text.String())
		closeSoon(c.PgConn())
	}
	return all.String()
}

// pgxOwner connects as the owner of the tables to PostgreSQL itself, whose port is in env.
func pgxOwner(t *testing.T, env []string) *pgconn.PgConn {
	t.Helper()
	port, _ := strings.CutPrefix(env[1], "OWNER_PORT=")
	c, err := pgx.Connect(t.Context(), fmt.Sprintf("host=127.0.0.1 port=%s user=app_owner password='%s' dbname=app sslmode=disable", port, quoteDSN(appPassword)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSoon(c.PgConn()) })
	return c.PgConn()
}

// outcome runs a statement and notes its rows, or the state of its error.
func (c *pgxClient) outcome(ctx context.Context, sql string, args ...any) (string, error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return "", err
	}
	values, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (any, error) { return r.Values() })
	text := fmt.Sprint(values)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		text = fmt.Sprint(refused.Severity, refused.Code, refused.Message)
	} else if err != nil {
		return "", err
	}
	c.seen.note("%d %s", c.n, text)
	return text, nil
}

// expect is outcome of what must be as given.
func (c *pgxClient) expect(ctx context.Context, want, sql string, args ...any) error {
	if got, err := c.outcome(ctx, sql, args...); err != nil || !strings.Contains(got, want) {
		return fmt.Errorf("%s: %q, want %q: %w", sql, got, want, err)
	}
	return nil
}

// prepared repeats statements and errors of them; each client has others than the next.
func (c *pgxClient) prepared(ctx context.Context) error {
	var problems []error
	for turn := range 12 {
		problems = append(problems,
			c.expect(ctx, fmt.Sprintf("[[%d %s %s]]", turn+c.n, c.ep.tenant.id, c.ep.tenant.marker),
				fmt.Sprintf("SELECT $1::int + %d AS client%d, tenant_id::text, marker FROM load_rows LIMIT 1", c.n, c.n), turn),
			c.expect(ctx, "[[user10@"+c.ep.tenant.marker, "SELECT email FROM users WHERE email LIKE $1 ORDER BY email", "user%"),
			c.expect(ctx, "22012", "SELECT 10 / $1::int", 0))
	}
	return errors.Join(append(problems, c.expect(ctx, "42501", "INSERT INTO users (tenant_id, email) VALUES ($1, 'forged@example')", c.ep.tenant.other().id))...)
}

// transaction commits with an error behind a savepoint, rolls back, and sends a batch.
func (c *pgxClient) transaction(ctx context.Context) error {
	const insert, count = "INSERT INTO load_rows (tenant_id, marker, nonce) VALUES ($1, $2, $3)", "SELECT count(*) FROM load_rows WHERE nonce = $1"
	id, marker, nonce := c.ep.tenant.id, c.ep.tenant.marker, fmt.Sprintf("%s %d", c.ep.tenant.marker, c.n)
	undo := errors.New("undone")
	for range 7 {
		err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			problems := []error{c.expect(ctx, "[]", insert, id, marker, nonce)}
			err := pgx.BeginFunc(ctx, tx, func(pgx.Tx) error {
				return errors.Join(c.expect(ctx, "[]", insert, id, marker, nonce), c.expect(ctx, "[[2]]", count, nonce), c.expect(ctx, "22012", "SELECT 10 / $1::int", 0), undo)
			})
			if !errors.Is(err, undo) {
				problems = append(problems, err)
			}
			return errors.Join(append(problems, c.expect(ctx, "[[1]]", count, nonce))...)
		})
		if err != nil {
			return err
		}
		if err = pgx.BeginFunc(ctx, c, func(pgx.Tx) error {
			return errors.Join(c.expect(ctx, "[]", "DELETE FROM load_rows WHERE nonce = $1", nonce), undo)
		}); !errors.Is(err, undo) {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(insert, id, marker, nonce)
		batch.Queue("DELETE FROM load_rows WHERE nonce = $1", nonce)
		if err := errors.Join(c.expect(ctx, "[[1]]", count, nonce), c.SendBatch(ctx, batch).Close(), c.expect(ctx, "[[0]]", count, nonce)); err != nil {
			return err
		}
	}
	return nil
}

// copyBothWays copies in, in a transaction that is rolled back, and out.
func (c *pgxClient) copyBothWays(ctx context.Context) error {
	nonce := fmt.Sprintf("%s %d ", c.ep.tenant.marker, c.n)
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	n, err := tx.CopyFrom(ctx, pgx.Identifier{"plain_arrivals"}, []string{"t"}, pgx.CopyFromSlice(3000, func(i int) ([]any, error) {
		return []any{nonce + fmt.Sprint(i)}, nil
	}))
	c.seen.note("copied %d", n)
	const count = "SELECT count(*) FROM plain_arrivals WHERE t LIKE $1"
	err = errors.Join(err, c.expect(ctx, "[[3000]]", count, nonce+"%"), tx.Rollback(ctx), c.expect(ctx, "[[0]]", count, nonce+"%"))
	var out strings.Builder
	_, failed := c.PgConn().CopyTo(ctx, &out, "COPY (SELECT email FROM users ORDER BY email) TO STDOUT")
	if got := strings.Count(out.String(), c.ep.tenant.marker); got != 10 || strings.Count(out.String(), "\n") != 10 {
		failed = errors.Join(failed, fmt.Errorf("copied out %q", out.String()))
	}
	return errors.Join(err, failed)
}

// cancelled cancels a statement until it ends.
func (c *pgxClient) cancelled(ctx context.Context) error {
	if err := c.expect(ctx, "[[", "SELECT pg_sleep($1)", 0); err != nil { // prepared before, which a cancel could hit
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.expect(ctx, "57014", "SELECT pg_sleep($1)", 30) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Millisecond):
			if err := c.PgConn().CancelRequest(ctx); err != nil {
				return err
			}
		}
	}
}

// described reads a table whose columns change from time to time, outside of
// transactions and in one.
func (c *pgxClient) described(ctx context.Context) error {
	for range 4 {
		if _, err := c.outcome(ctx, "SELECT * FROM "+c.table); err != nil {
			return err
		}
	}
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = c.outcome(ctx, "SELECT * FROM "+c.table)
	return errors.Join(err, tx.Rollback(ctx))
}
