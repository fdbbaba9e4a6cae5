package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// SealState is what the seal of a database is like, as the backend role sees it.
type SealState struct {
	Version  int      // installed; 0: none
	Key      string   // the id of the configured key; "": none is configured
	Keys     []string // the ids of the keys in the database
	Settings []string // that the seal was installed for
	Tables   []SealedTable
	Excess   []string // rights on the seal's own objects that nobody should have
	Creates  []string // what the backend role may create objects in that others use: functions run in the callers' sessions
}

// SealedTable is a table with row security. State is `sealed` where a restrictive
// policy reads what is sealed, `own policies` where every policy that lets a
// client through does, and else `open`. `open child` is a partition or heir of a
// table with row security that has none itself and that the role gets at directly.
type SealedTable struct{ Name, State string }

// Open lists the tables that nothing sealed restricts, of those with row security
// and of their children.
func (s *SealState) Open() []string {
	var open []string
	for _, t := range s.Tables {
		if strings.HasPrefix(t.State, "open") {
			open = append(open, t.Name)
		}
	}
	return open
}

// Whole says that no setting that can be forged decides whose rows a client gets:
// the key works, there are tables with row security, all of them are restricted
// by what is sealed, nobody can get at the seal itself, and no client can make
// functions that run in the sessions of others.
func (s *SealState) Whole() bool {
	return s.Version != 0 && s.Key != "" && len(s.Tables) > 0 && len(s.Open()) == 0 && len(s.Excess) == 0 && len(s.Creates) == 0
}

// readSeal looks at the seal of the database behind conn. With a key in cfg it
// also proves that the database accepts what is sealed with it and returns what
// to seal with; everything else is then an error that wraps ErrUnsealed.
func readSeal(ctx context.Context, conn *pgconn.PgConn, cfg DialConfig, spec *ContextSpec) (state SealState, s *backendSeal, err error) {
	state.Key = cfg.Seal.ID()
	if s, state.Version, err = identify(ctx, conn, cfg.Seal); err != nil {
		return state, nil, err
	}
	switch {
	case state.Version == SealVersion:
	case state.Key == "":
		return state, nil, nil
	case state.Version == 0:
		return state, nil, fmt.Errorf("%w: it is not sealed; run tenantgate seal sql", ErrUnsealed)
	default:
		return state, nil, fmt.Errorf("%w: its seal has version %d, this program makes version %d; run tenantgate seal sql",
			ErrUnsealed, state.Version, SealVersion)
	}
	if err := state.read(ctx, conn); err != nil || state.Key == "" {
		return state, nil, err
	}
	if names := lowerNames(spec); !slices.Equal(names, state.Settings) {
		return state, nil, fmt.Errorf("%w: it was installed for the settings %s, and the context has %s; run tenantgate seal sql",
			ErrUnsealed, strings.Join(state.Settings, ", "), strings.Join(names, ", "))
	}
	return state, s, s.prove(ctx, conn)
}

// identify asks a backend who it is and which version of the seal is installed.
func identify(ctx context.Context, conn *pgconn.PgConn, key SealKey) (s *backendSeal, version int, err error) {
	row, err := readRow(ctx, conn, `select pg_catalog.pg_backend_pid(),
		(extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8,
		(extract(epoch from pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8,
		coalesce(pg_catalog.inet_client_port(), 0),
		pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('transaction_read_only') = 'on',
		pg_catalog.to_regprocedure('tenantgate.version()') is not null`)
	if err != nil {
		return nil, 0, err
	}
	var n [4]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(row[i], 10, 64); err != nil {
			return nil, 0, fmt.Errorf("read who the backend is: %w", err)
		}
	}
	s = &backendSeal{
		key: key, pid: n[0], epoch: n[1], clock: time.UnixMicro(n[2]), read: time.Now(), now: time.Now,
		port: n[3], keeps: row[4] == "t",
	}
	if row[5] != "t" {
		return s, 0, nil
	}
	if row, err = readRow(ctx, conn, "select tenantgate.version()"); err != nil {
		return nil, 0, err
	}
	version, err = strconv.Atoi(row[0])
	return s, version, err
}

// createsQuery reads where the role, or one that it can become, may create what
// other sessions find. Schemas for temporary objects are a session's own.
const createsQuery = `
with me as (select r.oid from pg_catalog.pg_roles r where pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') and not r.rolsuper)
select 'schema ' || pg_catalog.quote_ident(n.nspname) from pg_catalog.pg_namespace n
where n.nspname !~ '^pg_(toast_)?temp_' and n.nspname <> 'tenantgate'
  and exists (select from me where pg_catalog.has_schema_privilege(me.oid, n.oid, 'CREATE'))
union all
select 'database ' || pg_catalog.quote_ident(d.datname) from pg_catalog.pg_database d
where d.datname = pg_catalog.current_database() and exists (select from me where pg_catalog.has_database_privilege(me.oid, d.oid, 'CREATE'))
order by 1`

// childrenQuery reads the partitions and heirs of tables with row security that
// have none and that the role gets at by their own names: the policies of the
// parent count only where the parent is named ("Row Security Policies").
const childrenQuery = `
select child::pg_catalog.regclass::pg_catalog.text, 'open child' from (
  with recursive heir(child) as (
    select i.inhrelid from pg_catalog.pg_inherits i join pg_catalog.pg_class p on p.oid = i.inhparent where p.relrowsecurity
    union
    select i.inhrelid from pg_catalog.pg_inherits i join heir h on i.inhparent = h.child)
  select h.child from heir h) h
join pg_catalog.pg_class c on c.oid = h.child
where c.relkind in ('r', 'p', 'f') and not c.relrowsecurity and exists (
  select from pg_catalog.pg_roles r where pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') and not r.rolsuper
    and (pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE') or pg_catalog.has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE')))`

// read fills in what this version can say of itself.
func (s *SealState) read(ctx context.Context, conn *pgconn.PgConn) error {
	for _, list := range []struct {
		into *[]string
		sql  string
	}{
		{&s.Settings, "select u.n from pg_catalog.unnest(tenantgate.settings()) with ordinality u(n, i) order by u.i"},
		{&s.Keys, "select k.kid from tenantgate.keys() k"},
		{&s.Excess, "select e from tenantgate.excess() e"},
		{&s.Creates, createsQuery},
	} {
		rows, err := readRows(ctx, conn, list.sql)
		if err != nil {
			return err
		}
		for _, row := range rows {
			*list.into = append(*list.into, row[0])
		}
	}
	rows, err := readRows(ctx, conn, "select t.relation::pg_catalog.text, t.state from tenantgate.tables() t union all "+childrenQuery)
	for _, row := range rows {
		s.Tables = append(s.Tables, SealedTable{row[0], row[1]})
	}
	return err
}

// prove lets the database verify a seal over no context at all.
func (s *backendSeal) prove(ctx context.Context, conn *pgconn.PgConn) error {
	made := s.make(nil, time.Time{})
	s.kept = false // nobody reads this one
	result := conn.ExecParams(ctx, "select tenantgate.accepts($1, $2)", [][]byte{[]byte(made.head), made.code},
		[]uint32{oidText, oidBytea}, []int16{0, 1}, nil).Read()
	switch {
	case result.Err != nil:
		return fmt.Errorf("try the seal: %w", result.Err)
	case len(result.Rows) != 1 || len(result.Rows[0]) != 1:
		return fmt.Errorf("%w: it does not say why", ErrUnsealed)
	case result.Rows[0][0] != nil:
		return fmt.Errorf("%w made with the key %s: %s", ErrUnsealed, s.key.id, result.Rows[0][0])
	}
	return nil
}

// readRow is readRows for one row.
func readRow(ctx context.Context, conn *pgconn.PgConn, sql string) ([]string, error) {
	rows, err := readRows(ctx, conn, sql)
	if err == nil && len(rows) != 1 {
		err = errors.New("examine the seal: not one row")
	}
	if err != nil {
		return nil, err
	}
	return rows[0], nil
}

// readRows runs one query without parameters and returns its rows as text.
func readRows(ctx context.Context, conn *pgconn.PgConn, sql string) ([][]string, error) {
	result := conn.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, fmt.Errorf("examine the seal: %w", result.Err)
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		for _, cell := range row {
			rows[i] = append(rows[i], string(cell))
		}
	}
	return rows, nil
}

// lowerNames are the names of the context as a seal holds them.
func lowerNames(spec *ContextSpec) []string {
	names := spec.Names()
	for i, n := range names {
		names[i] = strings.ToLower(n)
	}
	return names
}
