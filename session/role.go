package session

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// roleQuery reads what makes a role unsafe: everything that row security does
// not apply to ("Row Security Policies" and "Predefined Roles" in the PostgreSQL
// documentation). Each row is one reason.
const roleQuery = `
select current_user, 'is a superuser' from pg_catalog.pg_roles where rolname = current_user and rolsuper
union all
select current_user, 'has BYPASSRLS' from pg_catalog.pg_roles where rolname = current_user and rolbypassrls
union all
select current_user, 'has REPLICATION' from pg_catalog.pg_roles where rolname = current_user and rolreplication and not rolsuper
union all
select current_user, 'is a member of ' || pg_catalog.quote_ident(r.rolname) ||
       case when r.rolsuper then ', a superuser' when r.rolbypassrls then ', which has BYPASSRLS' else '' end
from pg_catalog.pg_roles r
where r.rolname <> current_user
  and not (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
  and pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER')
  and (r.rolsuper or r.rolbypassrls or r.rolname in ('pg_read_all_data', 'pg_write_all_data',
       'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_maintain'))
union all
select current_user, 'has CREATEROLE, and so can make itself a member of any role' from pg_catalog.pg_roles
where rolname = current_user and rolcreaterole and not rolsuper and pg_catalog.current_setting('server_version_num')::int < 160000
union all
(select distinct current_user, 'can get at the seal itself: ' || pg_catalog.quote_ident(r.rolname) || ' has rights on ' || o.what
from pg_catalog.pg_roles r, pg_catalog.pg_namespace n, lateral (
  select 'the schema tenantgate' as what where pg_catalog.pg_has_role(r.oid, n.nspowner, 'MEMBER') or pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
  union all
  select 'tenantgate.' || c.relname from pg_catalog.pg_class c where c.relnamespace = n.oid
    and case c.relkind when 'S' then pg_catalog.has_sequence_privilege(r.oid, c.oid, 'USAGE') or pg_catalog.has_sequence_privilege(r.oid, c.oid, 'UPDATE')
                       when 'r' then pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT') or pg_catalog.has_any_column_privilege(r.oid, c.oid, 'INSERT')
                                  or pg_catalog.has_any_column_privilege(r.oid, c.oid, 'UPDATE') or pg_catalog.has_table_privilege(r.oid, c.oid, 'TRIGGER')
                       else false end) o
where n.nspname = 'tenantgate' and pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') and not r.rolsuper and r.rolname !~ '^pg_'
limit 3)
union all
(select current_user, 'owns ' || case when c.relowner = u.oid then '' else '(through ' || pg_catalog.quote_ident(o.rolname) || ') ' end ||
        'the table ' || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) || ', which has row security'
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_roles u on u.rolname = current_user
join pg_catalog.pg_roles o on o.oid = c.relowner
where c.relrowsecurity and not u.rolsuper
  and pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER')
limit 3)`

// examineRole refuses a role that could see every tenant's rows whatever the
// context says, and a role or database whose default already carries a tenant.
func examineRole(ctx context.Context, conn *pgconn.PgConn, cfg DialConfig, spec *ContextSpec) error {
	if err := examineDefault(ctx, conn, spec); err != nil {
		return err
	}
	if cfg.AllowUnsafeRole {
		return nil
	}
	results, err := conn.Exec(ctx, roleQuery).ReadAll()
	if err != nil {
		return fmt.Errorf("examine the backend role: %w", err)
	}
	var reasons []string
	for _, row := range results[0].Rows {
		reasons = append(reasons, string(row[1]))
	}
	if len(reasons) > 0 {
		return fmt.Errorf("%w: %s %s; use a role of its own that owns nothing (CREATE ROLE app_user LOGIN NOSUPERUSER NOBYPASSRLS), "+
			"or set allow_unsafe_role: true to run without isolation", ErrUnsafeRole, results[0].Rows[0][0], strings.Join(reasons, ", it "))
	}
	return nil
}

// examineDefault makes sure that a backend without context has no tenant: a
// default set with ALTER ROLE or ALTER DATABASE would survive every reset.
func examineDefault(ctx context.Context, conn *pgconn.PgConn, spec *ContextSpec) error {
	result := conn.ExecParams(ctx, "select pg_catalog.current_setting($1, true)", [][]byte{[]byte(spec.TenantSetting)}, nil, nil, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("read the default of %s: %w", spec.TenantSetting, result.Err)
	}
	if len(result.Rows) != 1 || len(result.Rows[0][0]) != 0 {
		return fmt.Errorf("%s has a default on this server, so that a backend without context would carry a tenant; "+
			"take it away with ALTER ROLE … RESET %[1]s, ALTER DATABASE … RESET %[1]s or in postgresql.conf", spec.TenantSetting)
	}
	return nil
}

// forgeableQuery finds the settings that policies read by a literal name.
const forgeableQuery = `
select distinct pg_catalog.lower(m[1])
from pg_catalog.pg_policies p,
     pg_catalog.regexp_matches(pg_catalog.concat(p.qual, ' ', p.with_check), 'current_setting\(''([^'']+\.[^'']+)''', 'g') m
order by 1`

// forgeable names the settings that policies decide by and that the context does
// not enter: every client can set them to what it likes.
func forgeable(ctx context.Context, conn *pgconn.PgConn, spec *ContextSpec) ([]string, error) {
	results, err := conn.Exec(ctx, forgeableQuery).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	var names []string
	for _, row := range results[0].Rows {
		if name := string(row[0]); !Reserved(name, spec) {
			names = append(names, name)
		}
	}
	return names, nil
}
