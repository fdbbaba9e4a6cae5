package integration

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestTheSealSurvivesDumpAndRestore dumps a sealed database without its keys and
// restores it under another name.
func TestTheSealSurvivesDumpAndRestore(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	dump := exec.Command("pg_dump", "-d", pg.superDSN(database), "--exclude-table-data=tenantgate.key")
	text, err := dump.CombinedOutput()
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, text)
	}
	inner := fmt.Sprintf("%x", 0x5e^0x36)
	if strings.Contains(string(text), inner+"97363636") {
		t.Error("the key is in the dump")
	}
	restored := database + "_restored"
	pg.exec(t, "postgres", "CREATE DATABASE "+restored)
	p.psql(t, pg.superDSN(restored), "\\set ON_ERROR_STOP on\n"+string(text))
	if got := pg.count(t, restored, "SELECT count(*) FROM pg_class WHERE relnamespace = 'tenantgate'::regnamespace AND relkind = 'S' AND relpersistence = 'u'"); got != 4 {
		t.Errorf("%d unlogged sequences", got)
	}
	q := unsealedProxy(t, pg, restored, "k1", unguarded)
	if got := refusal(t, q.as(tenantA)); got != "08006" {
		t.Errorf("without the key: %q", got)
	}
	if out := q.seal(t, restored); strings.Count(out, "\n") != 1+8 {
		t.Errorf("psql: %s", out)
	}
	c := q.as(tenantA).pgconn(t)
	if got := one(t, c, "SELECT concat(current_setting('tenantgate.latch'), count(*)) FROM users"); got != "uuid10" {
		t.Errorf("after the restore: %s", got)
	}
	query(t, c, "SET app.current_tenant_id = '"+tenantB.id+"'")
	if got := one(t, c, "SELECT count(*) FROM users"); got != "0" {
		t.Errorf("after the restore, forged: %s", got)
	}
}

// TestTheSealSurvivesACrash ends the server without a checkpoint: the sequences
// are reset, and what was sealed before is worthless.
func TestTheSealSurvivesACrash(t *testing.T) {
	pg := startPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database)
	_ = p.as(tenantA).pgconn(t)
	pg.signal(t, syscall.SIGQUIT)
	<-pg.exited
	pg.start(t)
	eventually(t, 20*time.Second, "the proxy serves again", func() bool { return refusal(t, p.as(tenantB)) == "" })
	c := p.as(tenantB).pgconn(t)
	if got := one(t, c, "SELECT concat(current_setting('tenantgate.latch'), count(*)) FROM users"); got != "uuid10" {
		t.Errorf("after the crash: %s", got)
	}
}

// standbyOf makes a physical standby of pg and starts it.
func standbyOf(t testing.TB, pg *postgres) *postgres {
	t.Helper()
	pg.write(t, "data/pg_hba.conf", "host replication all 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n")
	pg.exec(t, "postgres", "SELECT pg_reload_conf()")
	s := &postgres{t: t, bin: pg.bin, as: pg.as, port: freePort(t), dir: workDir(t, "standby"), settings: []string{"hot_standby=on"}}
	s.own(t, s.dir)
	dsn := strings.Replace(pg.superDSN("postgres"), "dbname=postgres ", "", 1)
	eventually(t, 10*time.Second, "a base backup is made", func() bool {
		cmd := exec.Command(filepath.Join(pg.bin, "pg_basebackup"), "-D", filepath.Join(s.dir, "data"), "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", dsn)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
		cmd.Dir = s.dir
		return cmd.Run() == nil
	})
	s.start(t)
	t.Cleanup(func() {
		if t.Failed() {
			s.dumpLog(t)
		}
		s.destroy()
	})
	return s
}

// TestTheSealHoldsOnAStandby serves from a hot standby, where nothing can be
// latched, and goes on when it is promoted.
func TestTheSealHoldsOnAStandby(t *testing.T) {
	pg := startPostgres(t)
	database := newSealable(t, pg)
	primary := sealedProxy(t, pg, database)
	standby := standbyOf(t, pg)
	p := unsealedProxy(t, standby, database, "k1", unguarded)
	c := p.as(tenantA).pgconn(t)
	const state = "SELECT concat_ws(' ', pg_is_in_recovery(), current_setting('tenantgate.latch'), count(*), min(tenant_id::text)) FROM users"
	if got := one(t, c, state); got != "t none 10 "+tenantA.id {
		t.Errorf("on the standby: %s", got)
	}
	if got := one(t, c, "SELECT concat_ws(' ', tenantgate.current_tenant_id(), tenantgate.tenant(), tenantgate.claim('app.user_id'), tenantgate.is_admin())"); got != tenantA.id+" "+tenantA.id+" somebody f" {
		t.Errorf("on the standby: %s", got)
	}
	own := one(t, c, "SHOW tenantgate.seal")
	for _, sql := range []string{
		"SET app.current_tenant_id = '" + tenantB.id + "'", "SET app.is_admin = 'true'", "SET tenantgate.latch = 'uuid'", "SET tenantgate.latch = 'text'",
		"SET tenantgate.seal = '" + own[:len(own)-1] + "x'", "SET tenantgate.seal = ''", "SET tenantgate.seal = '" + strings.Replace(own, "v1.k1.", "v1.k1.9", 1) + "'",
		"SET tenantgate.seal = '" + strings.Replace(own, ".k1.", ".k2.", 1) + "'", "SET tenantgate.seal = '." + own + "'",
	} {
		query(t, c, sql)
		if rows, err := tryQuery(c, "SELECT count(*) FROM users"); err == nil && rows[0][0] != "0" {
			t.Errorf("after %s there are %s users", sql, rows[0][0])
		} else if err != nil && !strings.Contains(sql, "latch") {
			t.Errorf("after %s: %v", sql, err)
		}
		query(t, c, "RESET ALL")
		if got := one(t, c, "SELECT count(*) FROM users"); got != "10" {
			t.Errorf("after RESET ALL: %s users", got)
		}
	}
	// A seal is worth nothing on another process, nor on the primary.
	for _, elsewhere := range []endpoint{p.as(tenantB), primary.as(tenantB)} {
		d := elsewhere.pgconn(t)
		query(t, d, "SET app.current_tenant_id = '"+tenantA.id+"'; SET tenantgate.latch = 'none'; SET tenantgate.seal = '"+own+"'")
		if got := one(t, d, "SELECT count(*) FROM users"); got != "0" {
			t.Errorf("with the seal of another process: %s users", got)
		}
	}
	standby.exec(t, "postgres", "SELECT pg_promote()")
	eventually(t, 20*time.Second, "the standby is promoted", func() bool { return standby.exec(t, "postgres", "SELECT pg_is_in_recovery()")[0][0] == "f" })
	if got := one(t, c, state); got != "f none 10 "+tenantA.id {
		t.Errorf("the session from before the promotion: %s", got)
	}
	query(t, c, "RESET ALL")
	if got := one(t, c, state); got != "f uuid 10 "+tenantA.id {
		t.Errorf("entered again after the promotion: %s", got)
	}
}

// TestEnteringAgainHasATimeLimit: behind RESET ALL a lock on the key's table holds the
// entering up, and neither a client that stays nor one that has gone keeps its place.
func TestEnteringAgainHasATimeLimit(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := sealedProxy(t, pg, database, with("timeouts/server_reset_timeout", "700ms"))
	for _, how := range []string{"stays", "FIN"} {
		t.Run(how, func(t *testing.T) {
			w := p.as(tenantA).login(t)
			defer w.close()
			lock, err := pgconn.Connect(t.Context(), pg.superDSN(database))
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close(context.Background())
			query(t, lock, "BEGIN; LOCK TABLE tenantgate.key IN ACCESS EXCLUSIVE MODE")
			w.do(simple("RESET ALL"))
			depart(w, how)
			eventually(t, 5*time.Second, "the backend is given up", func() bool {
				return p.metrics(t).sum("server_connections", `state="active"`) == 0
			})
		})
	}
}
