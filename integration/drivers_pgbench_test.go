package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// ownRows is a script of pgbench that fails at the first foreign row, and when a row
// of its own is not there.
const ownRows = `
SELECT 1 / (count(*) FILTER (WHERE marker <> '%[1]s') = 0)::int, 1 / (count(*) >= 50)::int FROM load_rows;
BEGIN;
SELECT 1 / (current_setting('app.current_tenant_id') = '%[2]s')::int;
INSERT INTO load_rows (tenant_id, marker, nonce) VALUES ('%[2]s', '%[1]s', 'pgbench ' || (:client_id)::int) RETURNING 1 / (tenant_id = '%[2]s')::int;
DELETE FROM load_rows WHERE nonce = 'pgbench ' || (:client_id)::int;
END;
`

// TestPgbenchTakesTurnsOnFewBackends runs pgbench in each of its protocols, with
// lasting connections and with one for each transaction, as both tenants at once:
// twelve clients on two backends, and none of their transactions may fail. Each has
// a thread, because it waits for nothing else while it connects.
func TestPgbenchTakesTurnsOnFewBackends(t *testing.T) {
	pg := startPostgres(t)
	tool(t, endpoint{name: "init", host: "127.0.0.1", port: pg.port, user: "postgres", password: superPassword, database: "app"}, "pgbench", "-i", "-q", "-I", "dtGvp")
	pg.exec(t, "app", "GRANT ALL ON pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history TO app_role")
	p := inTransactions(t, pg, 2)
	scripts := map[tenant]string{}
	for _, x := range tenants {
		scripts[x] = filepath.Join(p.dir, x.marker+".sql")
		if err := os.WriteFile(scripts[x], []byte(fmt.Sprintf(ownRows, x.marker, x.id)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, protocol := range []string{"simple", "extended", "prepared"} {
		for _, connections := range [][]string{{"-t", "60"}, {"-t", "8", "-C"}} {
			t.Run(strings.Join(append([]string{protocol}, connections...), " "), func(t *testing.T) {
				var all sync.WaitGroup
				for _, x := range tenants {
					all.Go(func() {
						command := append([]string{"pgbench", "-n", "-M", protocol, "-c", "6", "-j", "6", "-b", "tpcb-like", "-b", "select-only", "-f", scripts[x]}, connections...)
						out := tool(t, p.as(x), command...)
						if !strings.Contains(out, "number of failed transactions: 0 ") || !strings.Contains(out, "latency average") {
							t.Errorf("%s: %s", x.marker, out)
						}
					})
				}
				all.Wait()
			})
		}
	}
	m := p.metrics(t)
	if pins := m.sum("client_pins_total"); pins > 0 || m.sum("tenant_switches_total") < 10 {
		t.Errorf("%v clients kept a backend; %v", pins, m.of("tenant_switches_total"))
	}
}
