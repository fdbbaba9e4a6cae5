package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	sessionPool     = 100   // backends in session pooling, enough for all the active clients
	transactionPool = 20    // in transaction pooling
	mostClients     = 12000 // that the proxies accept
	scale           = 10    // of pgbench's tables: a million accounts, all of them in memory
)

// startPostgres makes a cluster with pgbench's tables, owned by the role app, in
// which nothing waits for a disk.
func (b *bench) startPostgres(ctx context.Context) (err error) {
	if err := b.write("super.password", b.password); err != nil {
		return err
	}
	initdb := b.command(ctx, filepath.Join(b.bin, "initdb"), "-D", filepath.Join(b.dir, "data"), "-U", "postgres", "-E", "UTF8", "--locale=C",
		"--no-sync", "-A", "scram-sha-256", "--pwfile", filepath.Join(b.dir, "super.password"))
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if b.pgPort, err = freePort(); err != nil {
		return err
	}
	args := []string{"-D", filepath.Join(b.dir, "data"), "-k", b.dir, "-p", strconv.Itoa(b.pgPort)}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1", fmt.Sprintf("max_connections=%d", 500), "shared_buffers=256MB", "fsync=off", "synchronous_commit=off",
		"full_page_writes=off", "autovacuum=off", "jit=off", "max_parallel_workers_per_gather=0", "max_wal_size=4GB",
	} {
		args = append(args, "-c", setting)
	}
	if b.postgres, err = startProcess(b.dir, b.as, "postgres", filepath.Join(b.bin, "postgres"), args...); err != nil {
		return err
	}
	if err := b.postgres.await(func() bool { return b.sql(ctx, "SELECT 1") == nil }); err != nil {
		return err
	}
	if err := b.sql(ctx, "CREATE ROLE app LOGIN PASSWORD '"+b.password+"'"); err != nil {
		return err
	}
	if err := b.sql(ctx, "CREATE DATABASE bench OWNER app"); err != nil {
		return err
	}
	tables := b.client(ctx, &endpoint{port: b.pgPort, database: "bench", password: b.password}, "disable", "pgbench", "-q", "-i", "-I", "dtGvp", "-s", strconv.Itoa(scale))
	if out, err := tables.CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench -i: %w\n%s", err, out)
	}
	return nil
}

// command prepares a program that runs as PostgreSQL's user.
func (b *bench) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = b.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.as, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// client prepares pgbench or psql for an endpoint.
func (b *bench) client(ctx context.Context, e *endpoint, sslmode, program string, args ...string) *exec.Cmd {
	cmd := b.command(ctx, filepath.Join(b.bin, program), args...)
	cmd.Env = append(cmd.Env, "PGHOST=127.0.0.1", "PGPORT="+strconv.Itoa(e.port), "PGUSER=app", "PGDATABASE="+e.database,
		"PGPASSWORD="+e.password, "PGSSLMODE="+sslmode, "PGCONNECT_TIMEOUT=20")
	return cmd
}

// sql runs one statement as superuser.
func (b *bench) sql(ctx context.Context, sql string) error {
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres user=postgres sslmode=disable", b.pgPort))
	if err != nil {
		return err
	}
	config.Password = b.password
	c, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, sql).ReadAll()
	_ = c.Close(ctx) // the answer is there
	return err
}

// pgbouncerConfig is PgBouncer's side of the comparison: what tenantgate does,
// too, and no log.
const pgbouncerConfig = `[databases]
session = host=127.0.0.1 port=%[1]d dbname=bench user=app pool_mode=session pool_size=%[2]d
transaction = host=127.0.0.1 port=%[1]d dbname=bench user=app pool_mode=transaction pool_size=%[3]d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %[4]d
unix_socket_dir =
auth_type = plain
auth_file = users.txt
server_reset_query = DISCARD ALL
max_client_conn = %[5]d
log_connections = 0
log_disconnections = 0
stats_period = 3600
client_tls_sslmode = allow
client_tls_key_file = server.key
client_tls_cert_file = server.crt
`

// startPgBouncer runs PgBouncer in front of the PostgreSQL, or stand-in, at a port.
func (b *bench) startPgBouncer(server, pool int) (*endpoint, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	name := "pgbouncer" + strconv.Itoa(port)
	if err := b.write(name+".ini", fmt.Sprintf(pgbouncerConfig, server, pool, transactionPool, port, mostClients)); err != nil {
		return nil, err
	}
	p, err := startProcess(b.dir, b.as, name, b.pgbouncer, name+".ini")
	if err != nil {
		return nil, err
	}
	e := &endpoint{name: "PgBouncer", port: port, database: "session", password: b.password, proxy: p}
	return e, e.ready(func() bool { return listens(port) })
}

// startGate runs tenantgate in front of the PostgreSQL, or stand-in, at a port;
// loops is as in the configuration.
func (b *bench) startGate(server, pool, loops int) (*endpoint, error) {
	var ports [2]int
	for i := range ports {
		var err error
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	type object = map[string]any
	database := func(mode string, pool int) object {
		return object{
			"dsn":           fmt.Sprintf("host=127.0.0.1 port=%d dbname=bench user=app sslmode=disable", server),
			"password_file": "app.password", "pool_mode": mode, "pool_size": pool, "allow_unsafe_role": server != b.pgPort,
		}
	}
	text, err := json.Marshal(object{ // JSON is YAML
		"listen": object{
			"address": fmt.Sprintf("127.0.0.1:%d", ports[0]), "loops": loops,
			"tls": object{"mode": "prefer", "cert_file": "server.crt", "key_file": "server.key"},
		},
		"http": object{"address": fmt.Sprintf("127.0.0.1:%d", ports[1])},
		"auth": object{"keys": []any{object{"algorithm": "HS256", "secret": b.secret}}},
		"databases": object{
			"session": database("session", pool), "transaction": database("transaction", transactionPool),
		},
		"limits": object{"max_client_conn": mostClients},
		"log":    object{"level": "warn"},
	})
	if err != nil {
		return nil, err
	}
	name := "tenantgate" + strconv.Itoa(ports[0])
	if err := b.write(name+".yaml", string(text)); err != nil {
		return nil, err
	}
	p, err := startProcess(b.dir, nil, name, b.tenantgate, "serve", "-config", name+".yaml")
	if err != nil {
		return nil, err
	}
	e := &endpoint{name: "tenantgate", port: ports[0], database: "session", password: b.token(0), proxy: p}
	return e, e.ready(func() bool {
		r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", ports[1]))
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK && listens(ports[0])
	})
}

// ready waits until the proxy takes connections, or ends it.
func (e *endpoint) ready(asked func() bool) error {
	err := e.proxy.await(asked)
	if err != nil {
		e.proxy.stop(syscall.SIGKILL)
	}
	return err
}

// token signs a token of the tenant with that number.
func (b *bench) token(tenant int) string {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"tenant_id": fmt.Sprintf("00000000-0000-4000-8000-%012d", tenant), "sub": "bench", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	s, err := t.SignedString([]byte(b.secret))
	if err != nil {
		panic(err) // HMAC over bytes of our own
	}
	return s
}
