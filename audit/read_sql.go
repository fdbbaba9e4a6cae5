package audit

// own is the condition on pg_class c and pg_namespace n for what belongs to the
// application: no system schema, nothing temporary, nothing of an extension, and
// nothing of the seal.
const own = `n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'tenantgate') and c.relpersistence <> 't'
  and not exists (select from pg_depend x where x.classid = 'pg_class'::regclass and x.objid = c.oid and x.deptype = 'e')`

// granteeName writes the grantee of aclexplode's a as REVOKE would name it.
const granteeName = `case a.grantee when 0 then 'PUBLIC' else a.grantee::regrole::text end`

const serverQuery = `
select current_setting('server_version_num')::int as version, current_setting('server_version') as release, d.datname as database,
  current_user as "user", (select rolsuper from pg_roles where rolname = current_user) as super, d.datdba::int8 as owner,
  has_database_privilege(r.oid, d.oid, 'CREATE') as create, has_database_privilege(r.oid, d.oid, 'TEMP') as temp,
  coalesce((select string_agg(` + granteeName + `, ', ') from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    where a.privilege_type = 'TEMPORARY' and (a.grantee = 0 or pg_has_role(r.oid, a.grantee, 'USAGE'))), '') as temp_via
from pg_database d, pg_roles r
where d.datname = current_database() and r.rolname = coalesce(nullif($1::text, ''), current_user)`

const rolesQuery = `
select oid::int8, rolname, quote_ident(rolname) as name, rolsuper as super, rolbypassrls as bypass, rolreplication as replication,
  rolcreaterole as createrole, rolcreatedb as createdb
from pg_roles`

// membershipsQuery reads the options of a membership, which are columns since 16.
const membershipsQuery = `
select m.roleid::int8 as role, m.member::int8 as member,
  coalesce((to_jsonb(m)->>'inherit_option')::boolean, r.rolinherit) as inherit,
  m.admin_option or coalesce((to_jsonb(m)->>'set_option')::boolean, true) as become
from pg_auth_members m join pg_roles r on r.oid = m.member`

const relationsQuery = `
select c.oid::int8, n.nspname as schema, c.relname, format('%I.%I', n.nspname, c.relname) as name, c.relkind::text as kind,
  c.relowner::int8 as owner, c.relrowsecurity as secured, c.relforcerowsecurity as forced, greatest(c.reltuples, 0)::int8 as rows,
  has_schema_privilege($1::oid, n.oid, 'USAGE') as open, c.relispartition as partition,
  c.relkind = 'v' and exists (select from pg_options_to_table(c.reloptions)
    where option_name = 'security_invoker' and option_value::boolean) as invoker,
  case when c.relkind = 'v' and exists (select from pg_options_to_table(c.reloptions)
    where option_name = 'security_barrier' and option_value::boolean) then pg_get_viewdef(c.oid) else '' end as barrier,
  coalesce(t.attname, '') as tenant, coalesce(format_type(t.atttypid, t.atttypmod), '') as tenant_type,
  coalesce(p.partstrat::text, '') as strategy,
  (select jsonb_agg(a.attname order by k.n) from unnest(p.partattrs::int2[]) with ordinality k(att, n)
    join pg_attribute a on a.attrelid = c.oid and a.attnum = k.att) as partition_key,
  (select jsonb_agg(jsonb_build_array(` + granteeName + `, a.privilege_type)) from aclexplode(c.relacl) a
    where a.grantee = any($3::oid[])) as grants
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_partitioned_table p on p.partrelid = c.oid
left join lateral (select attname, atttypid, atttypmod from pg_attribute
  where attrelid = c.oid and attname = any($2::name[]) and attnum > 0 and not attisdropped and c.relkind <> 'S'
  order by array_position($2::name[], attname) limit 1) t on true
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and ` + own

const columnGrantsQuery = `
select c.oid::int8 as relation, t.attname as column, ` + granteeName + ` as grantee, a.privilege_type as privilege
from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a
where t.attacl is not null and t.attnum > 0 and not t.attisdropped and a.grantee = any($1::oid[]) and ` + own

const policiesQuery = `
select p.polrelid::int8 as relation, p.polname as name, p.polcmd::text as command, p.polpermissive as permissive,
  p.polroles::int8[] as roles, coalesce(pg_get_expr(p.polqual, p.polrelid), '') as using,
  coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') as check
from pg_policy p
order by p.polname`

const indexesQuery = `
select i.indrelid::int8 as relation, ic.relname as name, i.indisunique as uniq, i.indisprimary as prim, i.indisexclusion as excl,
  i.indisvalid as valid, i.indpred is not null as partial, am.amname as method, coalesce(con.conname, '') as con,
  case when con.oid is not null then pg_get_constraintdef(con.oid)
    when i.indisunique then pg_get_indexdef(i.indexrelid) else '' end as def,
  (select jsonb_agg(jsonb_build_object(
      'name', coalesce(a.attname, pg_get_indexdef(i.indexrelid, k.n::int, true)), 'expr', k.att = 0,
      -- 36 characters (and the length of a header) are what a uuid has that is kept as text
      'type', case when a.atttypid in ('varchar'::regtype, 'bpchar'::regtype) and a.atttypmod = 40 then 'uuid'
        else coalesce(format_type(a.atttypid, null), '') end,
      'generated', coalesce(a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) ~* '^nextval\(|uuid|random|token|ulid|nanoid', false)) order by k.n)
    from unnest(i.indkey::int2[]) with ordinality k(att, n)
    left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.att
    left join pg_attrdef d on d.adrelid = i.indrelid and d.adnum = k.att
    where k.n <= i.indnkeyatts) as columns
from pg_index i
join pg_class ic on ic.oid = i.indexrelid
join pg_class c on c.oid = i.indrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_am am on am.oid = ic.relam
left join pg_constraint con on con.conindid = i.indexrelid and con.conrelid = i.indrelid and con.contype in ('p', 'u', 'x')
where c.relkind in ('r', 'p') and not c.relispartition and ` + own + `
  and exists (select from pg_attribute t where t.attrelid = c.oid and t.attname = any($1::name[]) and t.attnum > 0 and not t.attisdropped)
order by ic.relname`

const foreignKeysQuery = `
select con.conname as name, con.conrelid::int8 as relation, con.confrelid::int8 as target, con.confdeltype::text as del,
  con.confupdtype::text as upd, con.condeferrable as deferrable, con.condeferred as deferred,
  (select jsonb_agg(a.attname order by k.n) from unnest(con.conkey) with ordinality k(att, n)
    join pg_attribute a on a.attrelid = con.conrelid and a.attnum = k.att) as columns,
  (select jsonb_agg(a.attname order by k.n) from unnest(con.confkey) with ordinality k(att, n)
    join pg_attribute a on a.attrelid = con.confrelid and a.attnum = k.att) as refs,
  (select jsonb_agg(a.attname order by k.n) from unnest(con.confdelsetcols) with ordinality k(att, n)
    join pg_attribute a on a.attrelid = con.conrelid and a.attnum = k.att) as delset
from pg_constraint con
join pg_class c on c.oid = con.conrelid
join pg_namespace n on n.oid = c.relnamespace
where con.contype = 'f' and con.conparentid = 0 and ` + own + `
order by con.conname`

const inheritanceQuery = `select inhrelid::int8 as child, inhparent::int8 as parent from pg_inherits order by inhseqno`

// viewsQuery reads pg_depend: a view's rule depends on the columns it reads, and
// on the relation as a whole where it names no column.
const viewsQuery = `
select r.ev_class::int8 as view, d.refobjid::int8 as target,
  coalesce(jsonb_agg(distinct a.attname) filter (where a.attname is not null), '[]') as columns
from pg_rewrite r
join pg_class c on c.oid = r.ev_class
join pg_namespace n on n.oid = c.relnamespace
join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid and d.refobjsubid > 0
where c.relkind in ('v', 'm') and ` + own + `
group by r.ev_class, d.refobjid`

// sealedQuery asks what of the seal can be asked, which older versions lack.
const sealedQuery = `
select to_regprocedure('tenantgate.version()') is not null as versioned, to_regprocedure('tenantgate.excess()') is not null as judged
from pg_namespace where nspname = 'tenantgate'`
