package integration

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestTheOwnTenantMayBeBound: an application that sets its own tenant with a bound parameter goes on
// working in every way in which drivers bind, and no other tenant can be bound.
func TestTheOwnTenantMayBeBound(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	const set = "SELECT set_config('app.current_tenant_id', $1, false)"
	ctx := context.Background()
	for name, mode := range map[string]pgx.QueryExecMode{
		"cached statement":   pgx.QueryExecModeCacheStatement,
		"cached description": pgx.QueryExecModeCacheDescribe,
		"described":          pgx.QueryExecModeDescribeExec,
		"executed":           pgx.QueryExecModeExec,
		"simple":             pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(name, func(t *testing.T) {
			c := p.as(tenantA).pgx(t)
			for round := range 3 {
				var got string
				if err := c.QueryRow(ctx, set, mode, tenantA.id).Scan(&got); err != nil || got != tenantA.id {
					t.Fatalf("round %d: %q, %v", round, got, err)
				}
				var pgErr *pgconn.PgError
				if err := c.QueryRow(ctx, set, mode, tenantB.id).Scan(&got); !errors.As(err, &pgErr) || pgErr.Code != "42501" {
					t.Fatalf("round %d: the other tenant: %q, %v", round, got, err)
				}
				if got := one(t, c.PgConn(), "SELECT count(DISTINCT tenant_id) || ' ' || current_setting('app.current_tenant_id') FROM users"); got != "1 "+tenantA.id {
					t.Fatalf("round %d: %s", round, got)
				}
			}
			// In the middle of a transaction it fails that, and a pipeline stays in step.
			tx, err := c.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			b := &pgx.Batch{}
			b.Queue("SELECT 1")
			b.Queue(set, tenantB.id)
			b.Queue("SELECT 2")
			if err := tx.SendBatch(ctx, b).Close(); err == nil {
				t.Error("the batch passed")
			}
			if err := tx.Commit(ctx); !errors.Is(err, pgx.ErrTxCommitRollback) {
				t.Errorf("the transaction: %v", err)
			}
			if got := one(t, c.PgConn(), "SELECT 3"); got != "3" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestAPreparedSetIsNotExecutedInSQL: EXECUTE would give it a value that no Bind shows.
func TestAPreparedSetIsNotExecutedInSQL(t *testing.T) {
	p := startProxy(t, sharedPostgres(t))
	ctx := context.Background()
	c := p.as(tenantA).pgconn(t)
	if _, err := c.Prepare(ctx, "own", "SELECT set_config('app.current_tenant_id', $1, false)", nil); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"EXECUTE own('" + tenantB.id + "')", "SELECT 1; eXeCuTe own('" + tenantB.id + "')", "EXPLAIN ANALYZE EXECUTE own('" + tenantB.id + "')",
		"CREATE TEMP TABLE forged AS EXECUTE own('" + tenantB.id + "')",
	} {
		var pgErr *pgconn.PgError
		if _, err := tryQuery(c, sql); !errors.As(err, &pgErr) || pgErr.Code != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if r := c.ExecPrepared(ctx, "own", [][]byte{[]byte(tenantA.id)}, nil, nil).Read(); r.Err != nil || string(r.Rows[0][0]) != tenantA.id {
		t.Errorf("the own value: %v", r.Err)
	}
	if got := one(t, c, "SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
		t.Errorf("the tenant is %s", got)
	}
}
