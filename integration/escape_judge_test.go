package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// escapeSchemaSQL and escapeSeedSQL are what the corpus is played on.
//
//go:embed testdata/escape_schema.sql
var escapeSchemaSQL string

//go:embed testdata/escape_seed.sql
var escapeSeedSQL string

// escapeCorpus is the corpus with the databases that it is played on.
type escapeCorpus struct {
	pg        *postgres
	version   int // major
	full      string
	entries   []escape
	secrets   map[tenant]string // stands in every row of the tenant and nowhere else
	keys      []string          // of the seal, in all forms in which they might be shown
	super     map[string]*pgconn.PgConn
	clean     map[string]string // the state of a database before an entry
	oids      map[string]uint32
	endpoints map[*proxy]map[tenant]endpoint
}

// newEscapeCorpus reads the corpus and learns the server's version.
func newEscapeCorpus(t *testing.T, pg *postgres) *escapeCorpus {
	t.Helper()
	c := &escapeCorpus{
		pg: pg, entries: readEscapes(t), secrets: map[tenant]string{}, super: map[string]*pgconn.PgConn{}, clean: map[string]string{},
		oids: map[string]uint32{}, endpoints: map[*proxy]map[tenant]endpoint{},
	}
	for _, x := range tenants {
		var b [12]byte
		_, _ = rand.Read(b[:])
		c.secrets[x] = x.marker + hex.EncodeToString(b[:])
	}
	for _, key := range sealKeys {
		for _, pad := range []byte{0, 0x36, 0x5c} {
			raw, err := hex.DecodeString(key)
			if err != nil {
				t.Fatal(err)
			}
			for i := range raw {
				raw[i] ^= pad
			}
			c.keys = append(c.keys, string(raw), hex.EncodeToString(raw))
		}
	}
	c.version = pg.count(t, "postgres", "SELECT current_setting('server_version_num')::int / 10000")
	c.full = pg.exec(t, "postgres", "SHOW server_version")[0][0]
	return c
}

// database makes a database for the corpus, with its rows.
func (c *escapeCorpus) database(t *testing.T, name string) {
	t.Helper()
	c.pg.exec(t, "postgres", "CREATE DATABASE "+name+" OWNER app_owner")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, c.pg.superDSN(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSoon(conn) })
	c.super[name] = conn
	query(t, conn, "SET lock_timeout = '10s'")
	query(t, conn, "GRANT ALL ON SCHEMA public TO app_owner")
	for _, extension := range []string{"tablefunc", "xml2", "dblink", "refint", "lo", "pageinspect"} {
		query(t, conn, "CREATE EXTENSION "+extension)
	}
	query(t, conn, "SET ROLE app_owner;\n"+escapeSchemaSQL)
	query(t, conn, "RESET ROLE")
}

// seed fills the tables and remembers the state.
func (c *escapeCorpus) seed(t *testing.T, database string) {
	t.Helper()
	conn := c.super[database]
	query(t, conn, fmt.Sprintf(escapeSeedSQL, tenantA.id, c.secrets[tenantA], tenantB.id, c.secrets[tenantB]))
	c.clean[database] = c.state(t, database)
}

// fingerprint is B's rows with the place and the transaction of each, so that a
// write that changes nothing shows as well.
func (c *escapeCorpus) fingerprint(t *testing.T, database string) string {
	t.Helper()
	return one(t, c.super[database], `SELECT concat_ws(';',
		(SELECT string_agg(concat(ctid, xmin, r), ',') FROM projects r WHERE tenant_id = '`+tenantB.id+`'),
		(SELECT string_agg(concat(ctid, xmin, r), ',') FROM notes r WHERE tenant_id = '`+tenantB.id+`'),
		(SELECT string_agg(concat(ctid, xmin, r), ',') FROM jobs r WHERE tenant_id = '`+tenantB.id+`'))`)
}

// state is everything that an entry can leave behind in the database or the
// cluster, short enough to be asked for after each.
func (c *escapeCorpus) state(t *testing.T, database string) string {
	t.Helper()
	return one(t, c.super[database], `SELECT md5(concat_ws(';',
		(SELECT string_agg(concat(ctid, xmin), ',') FROM projects), (SELECT string_agg(concat(ctid, xmin), ',') FROM notes),
		(SELECT string_agg(concat(ctid, xmin), ',') FROM jobs), (SELECT string_agg(concat(r), ',') FROM countries r),
		(SELECT string_agg(gid, ',') FROM pg_prepared_xacts), (SELECT string_agg(concat(r), ',' ORDER BY setrole) FROM pg_db_role_setting r),
		(SELECT string_agg(oid::text, ',') FROM pg_largeobject_metadata), (SELECT md5(string_agg(concat(r), ',' ORDER BY oid)) FROM pg_authid r)))`)
}

// restore puts the database back as it was, when anything is different.
func (c *escapeCorpus) restore(t *testing.T, database string) {
	t.Helper()
	if c.state(t, database) == c.clean[database] {
		return
	}
	conn := c.super[database]
	for _, row := range query(t, conn, "SELECT gid FROM pg_prepared_xacts") {
		query(t, conn, "ROLLBACK PREPARED '"+row[0]+"'")
	}
	query(t, conn, `SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
		ALTER ROLE app_user RESET ALL;
		ALTER ROLE app_user LOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity' PASSWORD '`+appPassword2SQL+`'`)
	c.seed(t, database)
}

// appPassword2SQL is appPassword inside of a literal.
const appPassword2SQL = "app-user''s-own password"

// oid is the OID of a function, given with its argument types.
func (c *escapeCorpus) oid(t *testing.T, database, function string) uint32 {
	t.Helper()
	key := database + " " + function
	if _, ok := c.oids[key]; !ok {
		n, err := strconv.ParseUint(one(t, c.super[database], "SELECT coalesce(to_regprocedure('"+function+"')::oid, 0)"), 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		c.oids[key] = uint32(n)
	}
	return c.oids[key]
}

// escapeResult is what became of one entry.
type escapeResult struct {
	read   bool // a row of the other tenant was heard, or the key of the seal
	wrote  bool // B's rows are others than before
	own    bool // A has heard rows of its own
	errors []string
}

// leaked reports whether either happened.
func (o escapeResult) leaked() bool { return o.read || o.wrote }

// judge plays one entry and says what came of it.
func (c *escapeCorpus) judge(t *testing.T, gate *proxy, database string, e *escape) escapeResult {
	t.Helper()
	before := c.fingerprint(t, database)
	s := stage{
		t: t, corpus: c, database: database, gate: gate, entry: e, sessions: map[tenant]*wire{}, dead: map[tenant]bool{},
		piped: map[tenant][][]byte{}, heard: map[tenant]*bytes.Buffer{tenantA: {}, tenantB: {}},
	}
	s.play()
	o := escapeResult{errors: s.errors}
	for _, x := range tenants {
		for _, secret := range append(c.keys, c.secrets[x.other()]) {
			o.read = o.read || bytes.Contains(s.heard[x].Bytes(), []byte(secret))
		}
	}
	o.own = bytes.Contains(s.heard[tenantA].Bytes(), []byte(c.secrets[tenantA]))
	o.wrote = c.fingerprint(t, database) != before
	c.restore(t, database)
	return o
}
