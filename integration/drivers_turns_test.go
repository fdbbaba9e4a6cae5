package integration

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
)

// taker is a driver of which a program keeps several connections at work at once.
type taker struct {
	name string
	run  func(t *testing.T, ep endpoint, env ...string) string
}

// takers are those that the tests of the drivers need anyway.
var takers = []taker{
	{"pgx", pgxTurns},
	{"asyncpg", program("python", "/usr/bin/python3", "asyncpg_turns.py")},
	{"jdbc", program("java", "java", "-cp", "/usr/share/java/postgresql.jar", "Turns.java")},
}

// turnsBackends is how many backends the six connections of two tenants share.
const turnsBackends = 2

// TestDriversTakeTurnsOnFewBackends holds that every driver works in transaction
// mode as it comes: each keeps three connections of each tenant busy on two backends,
// far beyond the point from which it prepares its statements, and must see what it
// sees with connections of its own.
func TestDriversTakeTurnsOnFewBackends(t *testing.T) {
	takeTurns(t, takers)
}

// takeTurns runs the programs of both tenants at the same time, direct and through
// the proxy; both must print the same.
func takeTurns(t *testing.T, takers []taker) {
	pg := sharedPostgres(t)
	for _, d := range takers {
		t.Run(d.name, func(t *testing.T) {
			want := turnsOf(t, pg, d, pg.direct)
			p := inTransactions(t, pg, turnsBackends)
			got := turnsOf(t, pg, d, func(x tenant) endpoint { return p.as(x) })
			for i, x := range tenants {
				same(t, "as "+x.marker, want[i], got[i])
			}
			m := p.metrics(t)
			if pins := m.sum("client_pins_total"); pins > 0 || m.sum("tenant_switches_total") < 2 {
				t.Errorf("%v clients kept a backend; %v", pins, m.of("tenant_switches_total", "client_pins_total"))
			}
		})
	}
}

// turnsOf runs a program once for each tenant, at once, each with a table of its own
// whose columns it changes as the owner.
func turnsOf(t *testing.T, pg *postgres, d taker, ep func(x tenant) endpoint) [2]string {
	t.Helper()
	var out [2]string
	var all sync.WaitGroup
	for i, x := range tenants {
		table := "turns_" + x.marker
		pg.exec(t, "app", fmt.Sprintf(`DROP TABLE IF EXISTS %[1]s; SET ROLE app_owner; CREATE TABLE %[1]s AS SELECT 1 AS a, '%[2]s' AS b;
			GRANT SELECT ON %[1]s TO app_role`, table, x.marker))
		all.Go(func() {
			out[i] = d.run(t, ep(x), "TURNS_TABLE="+table, "OWNER_PORT="+strconv.Itoa(pg.port), "OWNER_PASSWORD="+appPassword)
		})
	}
	all.Wait()
	return out
}
