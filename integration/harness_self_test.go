package integration

import "testing"

// TestTheHarnessServesBothTenants holds the ground that every other test stands
// on: a direct role sees its own rows, all of them, and the administrator's all.
func TestTheHarnessServesBothTenants(t *testing.T) {
	pg := sharedPostgres(t)
	for _, x := range tenants {
		for _, database := range []string{"app", "literal"} {
			c := pg.direct(x).in(database).pgconn(t)
			if got := one(t, c, "SELECT count(*) FROM users"); got != "10" {
				t.Errorf("%s in %s sees %s users", x.marker, database, got)
			}
			if got := one(t, c, "SELECT count(*) FROM users WHERE email LIKE '%"+x.other().marker+"%'"); got != "0" {
				t.Errorf("%s in %s sees %s foreign users", x.marker, database, got)
			}
		}
		w := pg.direct(x).login(t)
		if got := w.value("SELECT string_agg(DISTINCT tenant_id::text, ',') FROM users"); got != x.id {
			t.Errorf("%s: tenants %s", x.marker, got)
		}
	}
	if got := one(t, pg.directAdmin().pgconn(t), "SELECT count(*) FROM users"); got != "20" {
		t.Errorf("the administrator sees %s users", got)
	}
}
