-- 9. For the owner of the tables: the policy that makes the others safe.

-- The policies of a table that let a client through, and what restricts them by a reader.
CREATE OR REPLACE FUNCTION tenantgate.reads_seal(policy oid) RETURNS boolean
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid
      WHERE d.classid = 'pg_policy'::regclass AND d.objid = policy AND d.refclassid = 'pg_proc'::regclass
        AND p.pronamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = 'tenantgate')
        AND p.proname IN ('current_tenant_id', 'tenant', 'tenant_number', 'claim'));
  END;

-- Puts the policy tenantgate_seal on a table: RESTRICTIVE, so that every other policy of it counts only within the tenant.
-- With admin the administrators' sessions are let through as well, which costs everybody an index on the column; NULL: if a
-- policy of the table reads the admin setting, since then it is meant to (and such a policy costs the index anyway).
CREATE OR REPLACE FUNCTION tenantgate.protect(relation regclass, tenant_column name DEFAULT 'tenant_id',
    admin boolean DEFAULT NULL) RETURNS text
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  kind text;
  condition text;
  have record;
BEGIN
  IF NOT (SELECT c.relrowsecurity FROM pg_class c WHERE c.oid = relation) THEN
    RAISE EXCEPTION 'tenantgate: % has no row security', relation
      USING HINT = format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
  END IF;
  SELECT coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text INTO kind
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = relation AND a.attname = tenant_column AND a.attnum > 0 AND NOT a.attisdropped;
  condition := CASE
    WHEN kind = 'uuid' THEN '%I = (SELECT tenantgate.current_tenant_id())'
    WHEN kind IN ('smallint', 'integer', 'bigint', 'numeric') THEN '%I = (SELECT tenantgate.tenant_number())'
    WHEN kind IN ('text', 'character varying') THEN '%I = (SELECT tenantgate.tenant())'
    WHEN kind IS NOT NULL THEN '%I::text = (SELECT tenantgate.tenant())' -- no type that text could fail to become
    END;
  IF condition IS NULL THEN
    RAISE EXCEPTION 'tenantgate: % has no column %', relation, tenant_column;
  END IF;
  condition := format(condition, tenant_column);
  IF coalesce(admin, EXISTS (
      SELECT FROM pg_policy p WHERE p.polrelid = relation AND p.polpermissive
        AND (position(tenantgate.admin_setting() IN
                      lower(concat(pg_get_expr(p.polqual, relation), pg_get_expr(p.polwithcheck, relation)))) > 0
             OR concat(pg_get_expr(p.polqual, relation), pg_get_expr(p.polwithcheck, relation))
                LIKE '%tenantgate.is_admin()%'))) THEN
    condition := condition || ' OR (SELECT tenantgate.is_admin())';
  END IF;

  SELECT p.oid, p.polpermissive, p.polcmd, p.polroles, p.polwithcheck, obj_description(p.oid, 'pg_policy') AS note,
         md5(pg_get_expr(p.polqual, relation)) AS sum INTO have
    FROM pg_policy p WHERE p.polrelid = relation AND p.polname = 'tenantgate_seal';
  IF FOUND THEN
    IF NOT have.polpermissive AND have.polcmd = '*' AND have.polroles = '{0}' AND have.polwithcheck IS NULL
       AND have.note = format('tenantgate: %s (%s)', condition, have.sum) THEN
      RETURN format('%s: %s', relation, condition); -- as it should be: no lock is taken
    END IF;
    EXECUTE format('DROP POLICY tenantgate_seal ON %s', relation);
  END IF;
  EXECUTE format('CREATE POLICY tenantgate_seal ON %s AS RESTRICTIVE FOR ALL TO PUBLIC USING (%s)', relation, condition);
  EXECUTE format('COMMENT ON POLICY tenantgate_seal ON %s IS %L', relation, format('tenantgate: %s (%s)', condition,
    (SELECT md5(pg_get_expr(p.polqual, relation)) FROM pg_policy p
      WHERE p.polrelid = relation AND p.polname = 'tenantgate_seal')));
  RETURN format('%s: %s', relation, condition);
END $$;

-- Every table with row security and that column.
CREATE OR REPLACE FUNCTION tenantgate.protectable(tenant_column name) RETURNS SETOF regclass
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC
    SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = tenant_column AND a.attnum > 0 AND NOT a.attisdropped
      WHERE c.relrowsecurity AND c.relkind IN ('r', 'p')
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tenantgate')
      ORDER BY n.nspname, c.relname;
  END;

-- Protects all of them, in one transaction.
CREATE OR REPLACE FUNCTION tenantgate.protect_all(tenant_column name DEFAULT 'tenant_id', admin boolean DEFAULT NULL)
  RETURNS SETOF text
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC SELECT tenantgate.protect(r, tenant_column, admin) FROM tenantgate.protectable(tenant_column) r; END;

-- Takes the policy off a table again: what is left then is what the other policies make of settings that can be forged.
CREATE OR REPLACE FUNCTION tenantgate.unprotect(relation regclass) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('DROP POLICY IF EXISTS tenantgate_seal ON %s', relation);
END $$;

-- 10. How things stand.

-- Every table with row security: `sealed` by a restrictive policy that reads the seal, `own policies` where every
-- policy that lets a client through does, or `open`.
CREATE OR REPLACE FUNCTION tenantgate.tables() RETURNS TABLE (relation regclass, state text)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC
    SELECT c.oid::regclass, CASE
        WHEN EXISTS (SELECT FROM pg_policy p
                       WHERE p.polrelid = c.oid AND NOT p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'
                       AND tenantgate.reads_seal(p.oid)) THEN 'sealed'
        WHEN NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive
                       AND (NOT tenantgate.reads_seal(p.oid)
                            OR concat(pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))
                               LIKE '%current_setting(%'))
          THEN 'own policies'
        ELSE 'open' END
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relrowsecurity AND c.relkind IN ('r', 'p')
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tenantgate') AND n.nspname NOT LIKE 'pg_temp_%'
      ORDER BY n.nspname, c.relname;
  END;

-- Who may do with the seal's own objects what only their owner should: the rights as they stand, default privileges and
-- grants of others included. Empty is good.
CREATE OR REPLACE FUNCTION tenantgate.excess() RETURNS SETOF text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC
    SELECT format('%s may %s on %s', CASE a.grantee WHEN 0 THEN 'everybody' ELSE a.grantee::regrole::text END,
                  a.privilege_type, o.what)
      FROM (SELECT 'schema tenantgate' AS what, n.nspacl AS acl, n.nspowner AS owner, 'USAGE' AS meant
              FROM pg_namespace n WHERE n.nspname = 'tenantgate'
            UNION ALL SELECT 'tenantgate.' || c.relname, c.relacl, c.relowner,
                CASE WHEN c.relname LIKE 'latch__' THEN 'SELECT' END
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'tenantgate' AND c.relkind IN ('r', 'S')
            UNION ALL SELECT 'tenantgate.' || c.relname || '.' || t.attname, t.attacl, c.relowner, NULL
              FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'tenantgate'
            UNION ALL SELECT 'tenantgate.' || p.proname || '()', coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner,
                CASE WHEN p.proname NOT IN ('refusal', 'latch_holds', 'configure', 'add_key_pads', 'drop_key')
                  THEN 'EXECUTE' END
              FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'tenantgate') o,
           aclexplode(o.acl) a
      WHERE a.grantee <> o.owner AND (a.grantee <> 0 OR a.privilege_type IS DISTINCT FROM o.meant OR a.is_grantable)
    UNION ALL
    SELECT format('%s does not belong to tenantgate_owner', o.what)
      FROM (SELECT 'schema tenantgate' AS what, n.nspowner AS owner FROM pg_namespace n WHERE n.nspname = 'tenantgate'
            UNION ALL SELECT 'tenantgate.' || c.relname, c.relowner
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'tenantgate'
            UNION ALL SELECT 'tenantgate.' || p.proname || '()', p.proowner
              FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'tenantgate') o
      WHERE o.owner::regrole::text <> 'tenantgate_owner';
  END;

-- Everything, a line each; what is not ok says what to do.
CREATE OR REPLACE FUNCTION tenantgate.status() RETURNS TABLE (item text, ok boolean, detail text)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC
    SELECT 'version', true, tenantgate.version()::text
    UNION ALL SELECT 'settings', tenantgate.settings() IS NOT NULL,
        coalesce(array_to_string(tenantgate.settings(), ', '), 'none; run tenantgate seal sql')
    UNION ALL SELECT 'admin setting', true, coalesce(tenantgate.admin_setting(), 'none')
    UNION ALL SELECT 'keys', count(*) > 0, coalesce(string_agg(k.kid, ', '), 'none; run tenantgate seal sql')
      FROM tenantgate.keys() k
    UNION ALL SELECT 'rights', false, e FROM tenantgate.excess() e
    UNION ALL SELECT 'table ' || t.relation::text, t.state <> 'open', CASE t.state WHEN 'open'
        THEN format('not sealed: SELECT tenantgate.protect(%L, ''COLUMN OF THE TENANT'')', t.relation) ELSE t.state END
      FROM tenantgate.tables() t;
  END;

-- 11. Rights, exactly: what default privileges or anybody's GRANT have added goes away.
DO $$
DECLARE
  owner oid := (SELECT oid FROM pg_roles WHERE rolname = 'tenantgate_owner');
  who text;
BEGIN
  FOR who IN
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
      FROM (SELECT nspacl AS acl FROM pg_namespace WHERE nspname = 'tenantgate'
            UNION ALL SELECT relacl FROM pg_class WHERE relnamespace = 'tenantgate'::regnamespace
            UNION ALL SELECT t.attacl FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid
              WHERE c.relnamespace = 'tenantgate'::regnamespace
            UNION ALL SELECT coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
              WHERE pronamespace = 'tenantgate'::regnamespace) o,
           aclexplode(o.acl) a
      WHERE a.grantee <> owner
  LOOP
    EXECUTE format('REVOKE ALL ON SCHEMA tenantgate FROM %s CASCADE', who);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA tenantgate FROM %s CASCADE', who);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA tenantgate FROM %s CASCADE', who);
    EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA tenantgate FROM %s CASCADE', who);
  END LOOP;
END $$;
GRANT USAGE ON SCHEMA tenantgate TO PUBLIC;
GRANT SELECT ON SEQUENCE tenantgate.latch_1, tenantgate.latch_2, tenantgate.latch_3, tenantgate.latch_4 TO PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA tenantgate TO PUBLIC;
REVOKE EXECUTE ON FUNCTION tenantgate.refusal, tenantgate.latch_holds, tenantgate.configure, tenantgate.add_key_pads,
  tenantgate.drop_key FROM PUBLIC;
