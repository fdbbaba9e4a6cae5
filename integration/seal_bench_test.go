package integration

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// The policies that the forms begin with; %[1]s is the table.
const (
	perRow       = "CREATE POLICY p ON %[1]s USING (tenant_id = current_setting('app.current_tenant_id', true)::uuid)"
	wrapped      = "CREATE POLICY p ON %[1]s USING (tenant_id = (SELECT current_setting('app.current_tenant_id', true)::uuid))"
	unsealed     = "CREATE POLICY r ON %[1]s AS RESTRICTIVE USING (tenant_id = (SELECT current_setting('app.current_tenant_id', true)::uuid))"
	wrappedAdmin = "CREATE POLICY a ON %[1]s USING ((SELECT current_setting('app.is_admin', true)::boolean))"
)

// sealForms are the policies whose cost is compared, on a table of its own each.
var sealForms = []struct {
	name     string
	policies string // %[1]s is the table
	seal     bool   // the restrictive policy is added
	admin    bool   // and lets administrators through
	slow     bool   // in a session that cannot be latched
}{
	{name: "no row security"},
	{name: "per row", policies: perRow},
	{name: "wrapped", policies: wrapped},
	{name: "per row + unsealed restrictive", policies: perRow + ";" + unsealed},
	{name: "per row + seal", policies: perRow, seal: true},
	{name: "wrapped + unsealed restrictive", policies: wrapped + ";" + unsealed},
	{name: "wrapped + seal", policies: wrapped, seal: true},
	{name: "wrapped + admin", policies: wrapped + ";" + wrappedAdmin},
	{name: "wrapped + admin + seal", policies: wrapped + ";" + wrappedAdmin, seal: true},
	{name: "wrapped + admin + seal with admin", policies: wrapped + ";" + wrappedAdmin, seal: true, admin: true},
	{name: "written with current_tenant_id()", policies: "CREATE POLICY p ON %[1]s USING (tenant_id = (SELECT tenantgate.current_tenant_id()))"},
	{name: "written with tenant()", policies: "CREATE POLICY p ON %[1]s USING (tenant_id = (SELECT tenantgate.tenant()::uuid))"},
	{name: "wrapped + seal, read-only session", policies: wrapped, seal: true, slow: true},
}

// BenchmarkSeal measures what a policy costs the backend in CPU time, as
// /proc/PID/schedstat has it: the least of interleaved batches, in microseconds a
// statement. Run it once: go test -run '^$' -bench Seal -benchtime 1x ./integration/
func BenchmarkSeal(b *testing.B) {
	const rows, tenantCount = 1_000_000, 100
	pg := startPostgres(b, "jit=off", "max_parallel_workers_per_gather=0", "shared_buffers=512MB")
	p := sealedProxy(b, pg, "app")
	for i, f := range sealForms {
		table := fmt.Sprintf("form_%d", i)
		pg.exec(b, "app", fmt.Sprintf(`CREATE TABLE %[1]s (id int PRIMARY KEY, tenant_id uuid NOT NULL, v int NOT NULL);
			INSERT INTO %[1]s SELECT n, CASE n %% %[3]d WHEN 0 THEN '%[4]s' ELSE md5((n %% %[3]d)::text) END::uuid, n FROM generate_series(1, %[2]d) n;
			CREATE INDEX ON %[1]s (tenant_id); GRANT SELECT ON %[1]s TO app_role`, table, rows, tenantCount, tenantA.id))
		if f.policies != "" {
			pg.exec(b, "app", "ALTER TABLE "+table+" ENABLE ROW LEVEL SECURITY; "+fmt.Sprintf(f.policies, table))
		}
		if f.seal {
			pg.exec(b, "app", fmt.Sprintf("SELECT tenantgate.protect('%s', 'tenant_id', %t)", table, f.admin))
		}
		pg.exec(b, "app", "VACUUM (FREEZE, ANALYZE) "+table)
	}
	sessions := map[bool]*pgconn.PgConn{false: p.as(tenantA).pgconn(b), true: p.as(tenantA).pgconn(b)}
	query(b, sessions[true], "SET default_transaction_read_only = on")
	query(b, sessions[true], "DISCARD SEQUENCES")
	for slow, latch := range map[bool]string{false: "uuid", true: "none"} {
		if got := one(b, sessions[slow], "SELECT current_setting('tenantgate.latch')"); got != latch {
			b.Fatalf("the latch is %q", got)
		}
	}
	for b.Loop() {
		m := &sealCosts{b: b, sessions: sessions, results: make([][4]float64, len(sealForms))}
		m.points()
		m.scans()
		m.print()
	}
}

// sealCosts is one run of BenchmarkSeal.
type sealCosts struct {
	b        *testing.B
	sessions map[bool]*pgconn.PgConn // by whether they cannot be latched
	results  [][4]float64            // µs: prepared, simple, scan without and with index
}

// batch runs something n times in the session of a form and keeps the least.
func (m *sealCosts) batch(form, column, n int, run func(c *pgconn.PgConn, k int)) {
	c := m.sessions[sealForms[form].slow]
	pid := strconv.Itoa(m.pid(c))
	before := cpuNanos(m.b, pid)
	for k := range n {
		run(c, k)
	}
	spent := float64(cpuNanos(m.b, pid)-before) / float64(n) / 1000
	if r := &m.results[form][column]; *r == 0 || spent < *r {
		*r = spent
	}
}

// pid is the server process behind a session of the proxy.
func (m *sealCosts) pid(c *pgconn.PgConn) (pid int) {
	pid, err := strconv.Atoi(one(m.b, c, "SELECT pg_backend_pid()"))
	if err != nil {
		m.b.Fatal(err)
	}
	return pid
}

// points selects single rows of the tenant, every hundredth, by primary key.
func (m *sealCosts) points() {
	ctx := context.Background()
	const sql = "SELECT v FROM form_%d WHERE id = $1"
	for i, f := range sealForms {
		if _, err := m.sessions[f.slow].Prepare(ctx, fmt.Sprintf("point_%d", i), fmt.Sprintf(sql, i), nil); err != nil {
			m.b.Fatal(err)
		}
	}
	for range 40 {
		for i, f := range sealForms {
			m.batch(i, 0, 400, func(c *pgconn.PgConn, k int) {
				id := []byte(strconv.Itoa(100 * (1 + k%1000)))
				if r := c.ExecPrepared(ctx, fmt.Sprintf("point_%d", i), [][]byte{id}, nil, nil).Read(); r.Err != nil || len(r.Rows) != 1 {
					m.b.Fatal(f.name, r.Err, len(r.Rows))
				}
			})
			m.batch(i, 1, 100, func(c *pgconn.PgConn, k int) {
				if rows := query(m.b, c, strings.ReplaceAll(fmt.Sprintf(sql, i), "$1", strconv.Itoa(100*(1+k%1000)))); len(rows) != 1 {
					m.b.Fatal(f.name, len(rows))
				}
			})
		}
	}
}

// scans counts the rows of the tenant, without and with the index on it.
func (m *sealCosts) scans() {
	for column, setting := range map[int]string{2: "off", 3: "on"} {
		for _, c := range m.sessions {
			query(m.b, c, "SET enable_indexscan = "+setting+"; SET enable_bitmapscan = "+setting)
		}
		for range 4 {
			for i := range sealForms {
				sql := fmt.Sprintf("SELECT count(*), sum(v) FROM form_%d", i)
				if i == 0 {
					sql += " WHERE tenant_id = '" + tenantA.id + "'"
				}
				m.batch(i, column, 1, func(c *pgconn.PgConn, _ int) {
					if rows := query(m.b, c, sql); rows[0][0] != "10000" {
						m.b.Fatal(sealForms[i].name, rows)
					}
				})
			}
		}
	}
}

// print prints the table, and what entering costs.
func (m *sealCosts) print() {
	c := m.sessions[false]
	fmt.Printf("%s\n", one(m.b, c, "SELECT version()"))
	fmt.Printf("%-34s %9s %9s %9s %9s\n", "policy", "prepared", "simple", "1M scan", "by index")
	for i, f := range sealForms {
		r := m.results[i]
		fmt.Printf("%-34s %6.1f µs %6.1f µs %6.1f ms %6.1f ms\n", f.name, r[0], r[1], r[2]/1000, r[3]/1000)
	}
	pid, least := strconv.Itoa(m.pid(c)), 0.0
	for range 10 {
		before := cpuNanos(m.b, pid)
		for range 200 {
			query(m.b, c, "DISCARD SEQUENCES")
		}
		if spent := float64(cpuNanos(m.b, pid)-before) / 200 / 1000; least == 0 || spent < least {
			least = spent
		}
	}
	fmt.Printf("DISCARD SEQUENCES, and entering again behind it: %.1f µs\n", least)
}

// cpuNanos is the CPU time that a process has used.
func cpuNanos(t testing.TB, pid string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/schedstat")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
