package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// endpoint is one way for one identity to reach the data: PostgreSQL itself, as
// a role that carries the tenant, or the proxy with a token.
type endpoint struct {
	name     string // direct or proxy
	host     string
	port     int
	user     string
	password string
	database string
	tenant   tenant
	tls      *tls.Config // nil: plain TCP
}

// direct is the tenant's own connection to PostgreSQL.
func (p *postgres) direct(x tenant) endpoint {
	return endpoint{name: "direct", host: "127.0.0.1", port: p.port, user: x.role, password: appPassword, database: "app", tenant: x}
}

// directAdmin is a connection to PostgreSQL that sees all tenants.
func (p *postgres) directAdmin() endpoint {
	return endpoint{name: "direct", host: "127.0.0.1", port: p.port, user: "direct_admin", password: appPassword, database: "app", tenant: tenantA}
}

// as is the tenant's connection through the proxy.
func (p *proxy) as(x tenant, changes ...claims) endpoint {
	return endpoint{name: "proxy", host: "127.0.0.1", port: p.port, user: "anybody", password: token(p.t, x, changes...), database: "app", tenant: x}
}

// in is the same identity in another database.
func (e endpoint) in(database string) endpoint {
	e.database = database
	return e
}

// address is host:port.
func (e endpoint) address() string {
	return net.JoinHostPort(e.host, strconv.Itoa(e.port))
}

// dsn is the connection string for pgx and psycopg2.
func (e endpoint) dsn() string {
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", e.host, e.port, e.user,
		quoteDSN(e.password), e.database)
}

// quoteDSN escapes a value for a quoted place in a connection string.
func quoteDSN(s string) string {
	var out []byte
	for i := range len(s) {
		if s[i] == '\'' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(out)
}

// environ is the process environment with libpq's variables for this endpoint.
func (e endpoint) environ() []string {
	return append(os.Environ(), "PGHOST="+e.host, "PGPORT="+strconv.Itoa(e.port), "PGUSER="+e.user, "PGPASSWORD="+e.password,
		"PGDATABASE="+e.database, "PGSSLMODE=disable", "PGCONNECT_TIMEOUT=20", "TENANT_ID="+e.tenant.id, "TENANT_MARKER="+e.tenant.marker,
		"OTHER_ID="+e.tenant.other().id, "OTHER_MARKER="+e.tenant.other().marker)
}

// pgx connects with pgx and closes with the test.
func (e endpoint) pgx(t testing.TB) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, e.dsn())
	if err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	t.Cleanup(func() { closeSoon(c.PgConn()) })
	return c
}

// pgconn connects on the level below.
func (e endpoint) pgconn(t testing.TB) *pgconn.PgConn {
	t.Helper()
	return e.pgx(t).PgConn()
}

// closeSoon closes a connection with a bound on the time it takes.
func closeSoon(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// query runs SQL by the simple protocol and returns its last result as text.
func query(t testing.TB, c *pgconn.PgConn, sql string) [][]string {
	t.Helper()
	rows, err := tryQuery(c, sql)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	return rows
}

// tryQuery is query for statements that may fail.
func tryQuery(c *pgconn.PgConn, sql string) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	var rows [][]string
	for _, row := range results[len(results)-1].Rows {
		var cells []string
		for _, cell := range row {
			if cell == nil {
				cells = append(cells, "NULL")
			} else {
				cells = append(cells, string(cell))
			}
		}
		rows = append(rows, cells)
	}
	return rows, nil
}

// one runs SQL that gives one value.
func one(t testing.TB, c *pgconn.PgConn, sql string) string {
	t.Helper()
	rows := query(t, c, sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s gave %v, not one value", sql, rows)
	}
	return rows[0][0]
}

// everywhere plays run direct and through a proxy in every pool mode.
func everywhere(t *testing.T, pg *postgres, run func(t *testing.T, ep endpoint)) {
	t.Helper()
	t.Run("direct", func(t *testing.T) { run(t, pg.direct(tenantA)) })
	t.Run("proxy", func(t *testing.T) {
		for _, ep := range startProxy(t, pg).everyMode(tenantA) {
			run(t, ep)
		}
	})
}

// sameEverywhere plays run as everywhere does: what it returns must be the same.
func sameEverywhere(t *testing.T, pg *postgres, run func(t *testing.T, ep endpoint) string) {
	t.Helper()
	var want *string
	everywhere(t, pg, func(t *testing.T, ep endpoint) {
		got := run(t, ep)
		if want == nil {
			want = &got
		}
		same(t, ep.database, *want, got)
	})
}
