package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantgate/tenantgate/auth"
)

// showTokens logs in with what is no token of this proxy.
func (t *tour) showTokens(ctx context.Context) error {
	attempts, err := t.forgeries()
	if err != nil {
		return err
	}
	var shown [][]string
	same, told := true, true
	for _, a := range attempts {
		conn, err := t.connect(ctx, "globex", a.token, "")
		if err == nil {
			closeSoon(conn)
		}
		answer := refusal(err)
		t.refused++
		reason, err := t.loggedReason(ctx)
		if err != nil {
			return err
		}
		shown = append(shown, []string{a.what, answer, reason})
		same = same && strings.HasPrefix(answer, "28P01 ") && answer == shown[0][1]
		told = told && reason != ""
	}
	log, err := os.ReadFile(t.demo.gate.log)
	if err != nil {
		return err
	}
	t.page.table([]string{"password", "what the client is told", "what the log says"}, shown)
	t.check(same && told, "all are refused, and the client cannot tell why")
	t.check(!strings.Contains(string(log), "eyJ"), "no token stands in the log")
	return nil
}

// refusedLogin finds in the proxy's log why a login was refused.
var refusedLogin = regexp.MustCompile(`msg="login refused".* error\.reason=([^ ]+)`)

// loggedReason waits for the log's word on the latest refused login; empty when
// there is none.
func (t *tour) loggedReason(ctx context.Context) (string, error) {
	for deadline := time.Now().Add(5 * time.Second); ; {
		log, err := os.ReadFile(t.demo.gate.log)
		if err != nil {
			return "", err
		}
		if found := refusedLogin.FindAllSubmatch(log, -1); len(found) == t.refused {
			return string(found[len(found)-1][1]), nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return "", ctx.Err()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// forgery is something that is not to be accepted as a password.
type forgery struct{ what, token string }

// forgeries are tokens that the demo's proxy must refuse.
func (t *tour) forgeries() ([]forgery, error) {
	now := time.Now()
	foreign, err := auth.LoadSigningKey(auth.KeyConfig{Algorithm: "HS256", Secret: auth.Secret(strings.Repeat("somebody else's ", 4))})
	if err != nil {
		return nil, err
	}
	signed, err := auth.Mint(foreign, map[string]any{"tenant_id": tenantGlobex, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	if err != nil {
		return nil, err
	}
	old := tokenRequest{tenant: tenantGlobex, ttl: time.Hour}
	expired, err := old.mint(t.demo.gate.loaded.file, now.Add(-2*time.Hour))
	if err != nil {
		return nil, err
	}
	parts := strings.Split(t.demo.gate.acme, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	changed := strings.Replace(string(payload), tenantAcme, tenantGlobex, 1)
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(changed))
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	return []forgery{
		{"a token signed by somebody else", signed},
		{"a token that expired an hour ago", expired},
		{"acme's token, its tenant changed to globex", strings.Join(parts, ".")},
		{`the same with "alg": "none"`, unsigned},
		{"a password", "correct horse battery staple"},
	}, nil
}

// showGuard tries to become the other tenant in SQL and in the startup packet.
func (t *tour) showGuard(ctx context.Context) error {
	refused, own := true, false
	err := t.session(ctx, "acme", t.demo.gate.acme, func(conn *pgconn.PgConn) error {
		for _, sql := range []string{
			"SET app.current_tenant_id = '" + tenantGlobex + "'",
			"SELECT set_config('app.' || 'current_tenant_id', '" + tenantGlobex + "', false)",
			"DO $$ BEGIN PERFORM set_config('app.is_admin', 'true', false); END $$",
			"SET ROLE app_owner",
		} {
			t.guarded++
			refused = strings.HasPrefix(t.attempt(ctx, conn, sql), "42501 ") && refused
		}
		rows, err := simpleQuery(ctx, conn, "SELECT DISTINCT tenant_id FROM users")
		own = err == nil && len(rows) == 1 && rows[0][0] == tenantAcme
		return err
	})
	if err != nil {
		return err
	}
	options := "-c app.current_tenant_id=" + tenantGlobex
	t.page.code("psql \"options='" + options + "' …\"")
	conn, err := t.connect(ctx, "acme", t.demo.gate.acme, options)
	if err == nil {
		closeSoon(conn)
	}
	t.page.answer(refusal(err))
	t.page.print("")
	t.check(refused && strings.HasPrefix(refusal(err), "42501 "), "the guard refuses every one of them")
	t.check(own, "the session goes on, as acme")
	return nil
}

// showReset lets a client throw away its settings, as many drivers' pools do.
func (t *tour) showReset(ctx context.Context) error {
	const count = "SELECT count(*), min(tenant_id::text), max(tenant_id::text) FROM users"
	kept := true
	err := t.session(ctx, "globex", t.demo.gate.globex, func(conn *pgconn.PgConn) error {
		before, err := simpleQuery(ctx, conn, count)
		if err != nil {
			return err
		}
		for _, sql := range []string{"RESET ALL", "DISCARD ALL"} {
			tag := t.attempt(ctx, conn, sql)
			after, err := simpleQuery(ctx, conn, count)
			if err != nil {
				return err
			}
			kept = kept && tag == strings.Fields(sql)[0]+map[string]string{"DISCARD ALL": " ALL"}[sql] &&
				after[0][1] == tenantGlobex && slices.Equal(before[0], after[0])
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.page.print("")
	t.check(kept, "globex sees its own rows after each")
	return nil
}

// leftovers are what a client can leave in a session, and how the next one
// would find it; the first column says so to a person.
var leftovers = []struct{ what, leave, find string }{
	{"temporary tables", "CREATE TEMP TABLE basket AS SELECT email FROM users", "SELECT count(*) FROM pg_class WHERE relname = 'basket'"},
	{"statement_timeout", "SET statement_timeout = '7s'", "SHOW statement_timeout"},
	{"search_path", "SET search_path = pg_temp, public", "SHOW search_path"},
	{"prepared statements", "PREPARE mine AS SELECT email FROM users", "SELECT count(*) FROM pg_prepared_statements"},
	{"open cursors", "DECLARE mine CURSOR WITH HOLD FOR SELECT email FROM users", "SELECT count(*) FROM pg_cursors WHERE name = 'mine'"},
	{"advisory locks", "SELECT pg_advisory_lock(42)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"},
}

// showLeftovers leaves things in acme's session and looks for them in globex's.
func (t *tour) showLeftovers(ctx context.Context) error {
	rows := [][]string{{"backend"}}
	for _, l := range leftovers {
		rows = append(rows, []string{l.what})
	}
	look := func(conn *pgconn.PgConn) error {
		for i := range rows {
			sql := "SELECT pg_backend_pid()"
			if i > 0 {
				sql = leftovers[i-1].find
			}
			found, err := simpleQuery(ctx, conn, sql)
			if err != nil {
				return err
			}
			rows[i] = append(rows[i], found[0][0])
		}
		return nil
	}
	err := t.session(ctx, "acme", t.demo.gate.acme, func(conn *pgconn.PgConn) error {
		if err := look(conn); err != nil {
			return err
		}
		for _, l := range leftovers {
			if _, err := simpleQuery(ctx, conn, l.leave); err != nil {
				return err
			}
		}
		return look(conn)
	})
	if err == nil {
		err = t.session(ctx, "globex", t.demo.gate.globex, look)
	}
	if err != nil {
		return err
	}
	t.page.table([]string{"in the session", "acme begins", "acme leaves", "globex finds"}, rows)
	clean := true
	for _, row := range rows[1:] {
		clean = clean && row[1] != row[2] && row[3] == row[1]
	}
	t.check(rows[0][2] == rows[0][3], "globex got the backend that acme left")
	t.check(clean, "nothing of acme's is in it any more")
	return nil
}

// showAdmin lets a token with another claim see more.
func (t *tour) showAdmin(ctx context.Context) error {
	const sql = "SELECT t.name, count(*) FROM tenants t JOIN users u ON u.tenant_id = t.id GROUP BY 1 ORDER BY 1"
	t.page.code(sql)
	var rows [][]string
	err := t.session(ctx, "acme", t.demo.gate.admin, func(conn *pgconn.PgConn) (err error) {
		rows, err = simpleQuery(ctx, conn, sql)
		return err
	})
	if err != nil {
		return err
	}
	expected, err := t.truth(ctx, sql)
	if err != nil {
		return err
	}
	t.page.table([]string{"tenant", "users"}, rows)
	t.check(len(rows) == 2 && slices.EqualFunc(rows, expected, slices.Equal[[]string]), "its claim role: admin sets app.is_admin, which the policies ask for")
	return nil
}

// showMetrics reads /metrics and compares it with what the tour did.
func (t *tour) showMetrics(ctx context.Context) error {
	switches := 0
	for i, tenant := range t.tenants[1:] {
		if tenant != t.tenants[i] {
			switches++
		}
	}
	expected := []struct {
		series string
		value  int
	}{
		{`tenantgate_logins_total{result="success"}`, len(t.tenants)},
		{`tenantgate_logins_total{result="token"}`, t.refused},
		{`tenantgate_guard_rejections_total`, t.guarded},
		{`tenantgate_server_connects_total{database="app",result="ok"}`, 1},
		{`tenantgate_server_resets_total{database="app",result="ok"}`, len(t.tenants)},
		{`tenantgate_tenant_switches_total{database="app"}`, switches},
		{`tenantgate_server_discarded_total`, 0},
	}
	var shown [][]string
	// The reset after the last session may still be under way.
	for deadline := time.Now().Add(5 * time.Second); ; {
		scraped, err := t.scrape(ctx)
		if err != nil {
			return err
		}
		shown = shown[:0]
		matching := 0
		for _, e := range expected {
			value := 0.0
			for series, v := range scraped {
				if series == e.series || strings.HasPrefix(series, e.series+"{") {
					value += v
				}
			}
			text := strconv.FormatFloat(value, 'f', -1, 64)
			shown = append(shown, []string{e.series, text, strconv.Itoa(e.value)})
			if text == strconv.Itoa(e.value) {
				matching++
			}
		}
		if matching == len(expected) || time.Now().After(deadline) {
			t.page.table([]string{"series", "value", "the tour did"}, shown)
			t.check(matching == len(expected), "one connection to PostgreSQL for %d sessions, every one counted", len(t.tenants))
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// scrape fetches /metrics: the value by the series as it is printed.
func (t *tour) scrape(ctx context.Context) (map[string]float64, error) {
	url := fmt.Sprintf("http://127.0.0.1:%d/metrics", t.demo.httpPort)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	scraped := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		value, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		scraped[lines.Text()[:at]] = value
	}
	return scraped, lines.Err()
}
