package integration

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestAReloadRotatesKeys changes the signing key: new tokens get in, old ones do
// not, sessions that exist go on.
func TestAReloadRotatesKeys(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	w := p.as(tenantA).login(t)
	const next = "the-next-secret-of-thirty-two-bytes-or-more-0"
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"tenant_id": tenantB.id, "sub": "somebody", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(next))
	if err != nil {
		t.Fatal(err)
	}
	rotated := p.as(tenantB)
	rotated.password = signed
	if got := refusal(t, rotated); got != "28P01" {
		t.Errorf("before the reload the next key's token got %q", got)
	}
	p.set("auth/keys", []any{map[string]any{"algorithm": "HS256", "secret": next}})
	p.reload(t)
	eventually(t, 10*time.Second, "the next key is in force", func() bool { return refusal(t, rotated) == "" })
	if got := refusal(t, p.as(tenantA)); got != "28P01" {
		t.Errorf("after the reload the old key's token got %q", got)
	}
	if got := w.value("SELECT count(*) FROM users"); got != "10" {
		t.Errorf("the session from before sees %s users", got)
	}
	if m := p.metrics(t); m["config_last_reload_successful"] != 1 {
		t.Errorf("%v", m.of("config_last_reload_successful"))
	}
}

// TestABrokenConfigurationIsNotTakenUp reloads nonsense, then something that
// parses and may not be, then a good one.
func TestABrokenConfigurationIsNotTakenUp(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	w := p.as(tenantA).login(t)
	state := func(want float64) func() bool {
		return func() bool { return p.metrics(t)["config_last_reload_successful"] == want }
	}
	for _, broken := range []string{"{", "no_such_key: true\n", "", "auth: {keys: []}\n"} {
		if err := os.WriteFile(p.configFile, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		p.signal(t, 1)
		eventually(t, 10*time.Second, "the broken configuration is reported: "+broken, state(0))
		for _, ep := range p.everyMode(tenantB) {
			if got := refusal(t, ep); got != "" {
				t.Errorf("after %q a login got %q", broken, got)
			}
		}
		if got := w.value("SELECT count(*) FROM users"); got != "10" {
			t.Error(got)
		}
		before := p.metrics(t)["config_last_reload_success_timestamp_seconds"]
		p.reload(t)
		eventually(t, 10*time.Second, "the good configuration is taken up", state(1))
		if after := p.metrics(t)["config_last_reload_success_timestamp_seconds"]; after < before {
			t.Errorf("the time of the last good reload went from %v to %v", before, after)
		}
	}
}

// TestAReloadChangesLimitsAndDatabases adds a database, takes one away and
// changes a bound.
func TestAReloadChangesLimitsAndDatabases(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	w := p.as(tenantA).in("literal").login(t)
	if got := refusal(t, p.as(tenantA).in("added")); got != "3D000" {
		t.Errorf("an unknown database: %q", got)
	}
	p.database("added", "app", "session", 2)
	delete(p.config["databases"].(map[string]any), "literal")
	p.set("limits/max_tenant_client_conn", 1)
	p.reload(t)
	eventually(t, 10*time.Second, "the added database is there", func() bool { return refusal(t, p.as(tenantB).in("added")) == "" })
	if got := refusal(t, p.as(tenantB).in("literal")); got != "3D000" {
		t.Errorf("the database that was taken away: %q", got)
	}
	if got := w.value("SELECT count(*) FROM users"); got != "10" {
		t.Errorf("the session in it sees %s users", got)
	}
	// The bound counts a tenant's clients of all databases: w is one.
	if got := refusal(t, p.as(tenantA)); got != "53300" {
		t.Errorf("the second client under the new bound: %q", got)
	}
}

// TestAReloadChangesTheLog turns the log up: for sessions from before, too.
func TestAReloadChangesTheLog(t *testing.T) {
	p := startProxy(t, sharedPostgres(t), with("log/level", "warn"))
	before := p.as(tenantA).login(t)
	depart(p.as(tenantB).login(t), "Terminate")
	eventually(t, 10*time.Second, "a session has ended", func() bool { return p.metrics(t).sum("sessions_total") == 1 })
	p.set("log/level", "debug")
	p.reload(t)
	eventually(t, 10*time.Second, "the reload is over", func() bool { return strings.Contains(p.log.String(), "the configuration was reloaded") })
	if got := p.log.String(); strings.Contains(got, "session=") {
		t.Errorf("at the level warn:\n%s", got)
	}
	depart(before, "Terminate")
	eventually(t, 10*time.Second, "the end of a session is logged", func() bool {
		return strings.Contains(p.log.String(), `msg="session ended" session=1 `)
	})
}
