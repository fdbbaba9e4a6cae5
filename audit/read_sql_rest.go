package audit

// functionsQuery leaves out what no rule would look at: functions that run as
// their caller, carry no setting and run no text.
const functionsQuery = `
select p.oid::int8, p.oid::regprocedure::text as name, n.nspname as schema, p.prokind::text as kind, l.lanname as language,
  p.prosecdef as definer, p.proowner::int8 as owner, coalesce(to_jsonb(p.proconfig), '[]') as config,
  p.prorettype in ('trigger'::regtype, 'event_trigger'::regtype) as trigger,
  case when l.lanname in ('plpgsql', 'sql') then p.prosrc else '' end as source, p.prosqlbody is not null as atomic,
  has_function_privilege($1::oid, p.oid, 'EXECUTE') and has_schema_privilege($1::oid, n.oid, 'USAGE') as callable,
  exists (select from pg_depend x where x.classid = 'pg_policy'::regclass and x.refclassid = 'pg_proc'::regclass and x.refobjid = p.oid) as policy
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
join pg_language l on l.oid = p.prolang
where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'tenantgate')
  and (p.prosecdef or p.proconfig is not null or l.lanname not in ('c', 'internal', 'sql') and p.prosrc ~* '\mexecute\M')
  and not exists (select from pg_depend x where x.classid = 'pg_proc'::regclass and x.objid = p.oid and x.deptype = 'e')
order by 2`

// reachQuery lists what of the system and of extensions the app role may use,
// by the group that a rule looks at.
const reachQuery = `
with listed(grp, name) as (values
  ('signal', 'pg_terminate_backend'), ('signal', 'pg_cancel_backend'),
  ('activity', 'pg_stat_get_activity'), ('activity', 'pg_stat_get_backend_activity'),
  ('largeobject', 'lo_creat'), ('largeobject', 'lo_create'), ('largeobject', 'lo_open'), ('largeobject', 'loread'),
  ('largeobject', 'lowrite'), ('largeobject', 'lo_get'), ('largeobject', 'lo_put'), ('largeobject', 'lo_from_bytea'),
  ('largeobject', 'lo_unlink'), ('largeobject', 'lo_import'), ('largeobject', 'lo_export'),
  ('dynamic', 'query_to_xml'), ('dynamic', 'query_to_xmlschema'), ('dynamic', 'query_to_xml_and_xmlschema'),
  ('dynamic', 'cursor_to_xml'), ('dynamic', 'cursor_to_xmlschema'), ('dynamic', 'table_to_xml'), ('dynamic', 'table_to_xmlschema'),
  ('dynamic', 'table_to_xml_and_xmlschema'), ('dynamic', 'schema_to_xml'), ('dynamic', 'schema_to_xmlschema'),
  ('dynamic', 'schema_to_xml_and_xmlschema'), ('dynamic', 'database_to_xml'), ('dynamic', 'database_to_xmlschema'),
  ('dynamic', 'database_to_xml_and_xmlschema'), ('dynamic', 'ts_stat')),
routines as (
  select l.grp, p.oid, p.proacl, p.proowner from listed l
  join pg_proc p on p.proname = l.name and p.pronamespace = 'pg_catalog'::regnamespace
  union all
  select 'dynamic', p.oid, p.proacl, p.proowner from pg_proc p where p.oid = 'pg_catalog.ts_rewrite(tsquery,text)'::regprocedure
  union all
  select case e.extname when 'pg_stat_statements' then 'statements' else 'extension' end, p.oid, p.proacl, p.proowner
  from pg_extension e
  join pg_depend d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e' and d.classid = 'pg_proc'::regclass
  join pg_proc p on p.oid = d.objid
  where p.prokind = 'f' and (e.extname in ('dblink', 'xml2') and p.prorettype <> 'trigger'::regtype
    or e.extname = 'tablefunc' and p.proname <> 'normal_rand' or e.extname = 'pg_stat_statements' and p.proname = 'pg_stat_statements')),
views as (
  select 'activity' as grp, c.oid, c.relacl, c.relowner from pg_class c where c.oid = 'pg_catalog.pg_stat_activity'::regclass
  union all
  select 'statements', c.oid, c.relacl, c.relowner
  from pg_extension e
  join pg_depend d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e' and d.classid = 'pg_class'::regclass
  join pg_class c on c.oid = d.objid and c.relkind = 'v'
  where e.extname = 'pg_stat_statements' and c.relname = 'pg_stat_statements')
select r.grp, r.oid::regprocedure::text as name, false as view,
  (select jsonb_agg(distinct ` + granteeName + `) from aclexplode(coalesce(r.proacl, acldefault('f', r.proowner))) a
    where a.grantee = any($2::oid[]) and a.privilege_type = 'EXECUTE') as grantees
from routines r where has_function_privilege($1::oid, r.oid, 'EXECUTE')
union all
select v.grp, v.oid::regclass::text, true,
  (select jsonb_agg(distinct ` + granteeName + `) from aclexplode(coalesce(v.relacl, acldefault('r', v.relowner))) a
    where a.grantee = any($2::oid[]) and a.privilege_type = 'SELECT')
from views v where has_table_privilege($1::oid, v.oid, 'SELECT')
order by 1, 3, 2`

const defaultsQuery = `
select d.defaclrole::regrole::text as owner, coalesce(quote_ident(n.nspname), '') as schema, d.defaclobjtype::text as type,
  ` + granteeName + ` as grantee, jsonb_agg(a.privilege_type order by a.privilege_type) as privileges
from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
where a.grantee = any($1::oid[]) and a.grantee <> d.defaclrole
group by 1, 2, 3, 4
order by 1, 2, 3, 4`

const triggersQuery = `
select quote_ident(t.evtname) as name, t.evtevent as event, p.prosrc as source
from pg_event_trigger t join pg_proc p on p.oid = t.evtfoid where t.evtenabled in ('O', 'A')`

// settingsQuery reads names only: a stored value may be a secret.
const settingsQuery = `
select coalesce((select quote_ident(rolname) from pg_roles where oid = s.setrole), '') as role,
  coalesce((select quote_ident(datname) from pg_database where oid = s.setdatabase), '') as database,
  lower(split_part(x, '=', 1)) as name
from pg_db_role_setting s, unnest(s.setconfig) x
where s.setrole in (0, $1::oid) and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
order by 3, 1, 2`

const parametersQuery = `
select lower(p.parname) as name, ` + granteeName + ` as grantee, a.privilege_type as privilege
from pg_parameter_acl p, aclexplode(p.paracl) a where a.grantee = any($1::oid[])`

const publicationsQuery = `
select quote_ident(p.pubname) as publication, p.puballtables as all, c.oid::int8 as relation, t.rowfilter is not null as filtered,
  exists (select from pg_publication_namespace s where s.pnpubid = p.oid and s.pnnspid = n.oid) as by_schema
from pg_publication p
join pg_publication_tables t on t.pubname = p.pubname
join pg_namespace n on n.nspname = t.schemaname
join pg_class c on c.relname = t.tablename and c.relnamespace = n.oid
order by 1, t.schemaname, t.tablename`

const schemasQuery = `
select quote_ident(n.nspname) as name, n.nspowner::int8 as owner, has_schema_privilege($1::oid, n.oid, 'CREATE') as create,
  (select jsonb_agg(distinct ` + granteeName + `) from aclexplode(n.nspacl) a
    where a.grantee = any($2::oid[]) and a.privilege_type = 'CREATE') as grantees
from pg_namespace n
where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'tenantgate')
  and not exists (select from pg_depend x where x.classid = 'pg_namespace'::regclass and x.objid = n.oid and x.deptype = 'e')
order by 1`

const languagesQuery = `
select quote_ident(l.lanname) as name,
  (select jsonb_agg(distinct ` + granteeName + `) from aclexplode(coalesce(l.lanacl, acldefault('l', l.lanowner))) a
    where a.grantee = any($2::oid[])) as grantees
from pg_language l
where (l.lanpltrusted or l.lanname = 'sql') and l.lanname not in ('c', 'internal') and has_language_privilege($1::oid, l.oid, 'USAGE')
order by 1`

const largeObjectsQuery = `select count(*)::int8 as n from pg_largeobject_metadata`
