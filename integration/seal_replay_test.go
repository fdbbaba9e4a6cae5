package integration

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// forgedContext is a context of another tenant's administrator, as tenantgate.enter takes it.
var forgedContext = []string{"app.current_tenant_id", tenantB.id, "app.is_admin", "true", "app.user_id", "somebody"}

// discardUnseen throws the latch away where the proxy does not see it.
const discardUnseen = "DO $$ BEGIN EXECUTE 'DISCARD SEQUENCES'; END $$"

// sealFor makes, with the key, a seal for forgedContext on the server process
// behind c: what a session that was an administrator's may have kept of it.
func sealFor(t *testing.T, c *pgconn.PgConn, until string) (head, code string) {
	t.Helper()
	head = fmt.Sprintf("v1.k1.%012d.%s.AAAAAAAAAAAAAAAAAAAAAAAAAA", time.Now().Unix()+25, until)
	key, err := hex.DecodeString(sealKeys["k1"])
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "tenantgate\n%s\n%s\n", head, one(t, c, "SELECT concat_ws(chr(10), pg_backend_pid(), tenantgate.port(), tenantgate.epoch())"))
	for _, s := range forgedContext {
		_, _ = mac.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...))
	}
	return head, hex.EncodeToString(mac.Sum(nil))
}

// TestASealOfAnotherSessionIsRefusedInALatchedOne replays in a session what an
// administrator's one on the same server process was entered with.
func TestASealOfAnotherSessionIsRefusedInALatchedOne(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	c := p.as(tenantA).pgconn(t)
	head, code := sealFor(t, c, "000000000000")
	if got := one(t, c, "SELECT coalesce(tenantgate.accepts('"+head+"', '\\x"+code+"'), 'good')"); !strings.Contains(got, "code is wrong") {
		t.Errorf("a seal of another context: %s", got)
	}
	quoted := "'" + strings.Join(forgedContext, "', '") + "'"
	enter := fmt.Sprintf("SELECT tenantgate.enter('%s', '\\x%s', ARRAY[%s]::bytea[])", head, code, quoted)
	if rows, err := tryQuery(c, enter); err == nil || !strings.Contains(err.Error(), "TG001") {
		t.Errorf("entered a second time: %v, %v", rows, err)
	}
	keep := fmt.Sprintf("SET app.current_tenant_id = '%s'; SET app.is_admin = 'true'; SET app.user_id = 'somebody'; SET tenantgate.latch = 'none'; SET tenantgate.seal = '%s.%s'",
		tenantB.id, head, code)
	query(t, c, keep)
	if got := one(t, c, "SELECT concat_ws(' ', tenantgate.is_admin(), tenantgate.verified(), count(*)) FROM users"); got != "f f 0" {
		t.Errorf("with a seal to be latched in the setting: %s", got)
	}
	query(t, c, "RESET ALL")
	if got := one(t, c, "SELECT concat_ws(' ', tenantgate.is_admin(), tenantgate.current_tenant_id(), count(*)) FROM users"); got != "f "+tenantA.id+" 10" {
		t.Errorf("entered again: %s", got)
	}
	// What the seal would have been good for, where nothing is latched.
	query(t, c, discardUnseen)
	if got := one(t, c, enter); got != "t" {
		t.Errorf("the seal of this test is not accepted: %s", got)
	}
	d := p.as(tenantA).pgconn(t)
	query(t, d, discardUnseen)
	if rows, err := tryQuery(d, enter); err == nil || !strings.Contains(err.Error(), "TG001") {
		t.Errorf("entered on another server process: %v, %v", rows, err)
	}
}

// TestAServerProcessWithAKeptSealServesNobodyElse reads a kept seal and looks for
// its process in the sessions that follow.
func TestAServerProcessWithAKeptSealServesNobodyElse(t *testing.T) {
	pg := sharedPostgres(t)
	p := sealedProxy(t, pg, newSealable(t, pg))
	processOf := func(sql ...string) (pid, seal string) {
		c := p.as(tenantA).pgconn(t)
		for _, s := range sql {
			query(t, c, s)
		}
		pid, seal = one(t, c, "SELECT pg_backend_pid()"), one(t, c, "SHOW tenantgate.seal")
		if err := c.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		return pid, seal
	}
	again := func(pid string) bool {
		for range 200 { // the reset is proven in the background
			if other, _ := processOf(); other == pid {
				return true
			}
		}
		return false
	}
	if pid, seal := processOf("RESET ALL"); seal != "" || !again(pid) {
		t.Errorf("a session that is latched has the seal %q, or its process is not used again", seal)
	}
	if pid, seal := processOf("SET default_transaction_read_only = on", "DISCARD SEQUENCES"); seal == "" || again(pid) {
		t.Errorf("a session that is not latched has the seal %q, or its process is used again", seal)
	}
}

// TestASealThatCannotBeLatchedEndsTheSession throws the latch away where the proxy
// does not see it, in a transaction in which it cannot be set again.
func TestASealThatCannotBeLatchedEndsTheSession(t *testing.T) {
	pg := sharedPostgres(t)
	p := sealedProxy(t, pg, newSealable(t, pg))
	c := p.as(tenantA).pgconn(t)
	query(t, c, "BEGIN READ ONLY")
	query(t, c, discardUnseen)
	_, err := tryQuery(c, "RESET ALL")
	if err == nil {
		_, err = tryQuery(c, "SELECT count(*) FROM users")
	}
	if err == nil {
		t.Error("the session goes on")
	}
	eventually(t, 10*time.Second, "the log says why", func() bool { return strings.Contains(p.log.String(), "TG002") })
	if got := one(t, p.as(tenantA).pgconn(t), "SELECT count(*) FROM users"); got != "10" {
		t.Errorf("the next session sees %s users", got)
	}
}
