-- A schema as it should be: 200 tables, and nothing for the audit to find. Tenants are uuids in one schema, text in
-- another, numbers in a third; with partitions, views, materialised views, extensions, keys that carry the tenant, and
-- what privileges can close closed.
CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION btree_gist;
CREATE SCHEMA texts AUTHORIZATION {owner};
CREATE SCHEMA numbers AUTHORIZATION {owner};
GRANT USAGE ON SCHEMA texts, numbers TO {app};
SET ROLE {owner};
CREATE TABLE countries (code text PRIMARY KEY, name citext UNIQUE);
GRANT SELECT ON countries TO {app};
CREATE TABLE plans (id int PRIMARY KEY, name text);
ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON plans FOR SELECT USING (true);
GRANT SELECT ON plans TO {app};
CREATE TABLE numbers.tenants (id bigint PRIMARY KEY);
CREATE TABLE jobs (id bigserial PRIMARY KEY, tenant_id uuid, job jsonb); -- the owner's alone
DO $$
DECLARE
  kind record;
  parent text;
  t text;
BEGIN
  FOR kind IN SELECT * FROM (VALUES ('public', 'uuid', '::uuid'), ('texts', 'text', ''), ('numbers', 'bigint', '::bigint')) v(schema, type, cast_to) LOOP
    parent := NULL;
    FOR n IN 1..64 LOOP
      t := format('%I.%I', kind.schema, CASE WHEN n % 10 = 0 THEN 'Table ' || n ELSE 'table_' || n END);
      EXECUTE format($sql$
        CREATE TABLE %1$s (
          id bigint GENERATED %5$s AS IDENTITY,
          tenant_id %2$s NOT NULL DEFAULT (nullif(current_setting('app.current_tenant_id', true), '')%3$s)%4$s,
          parent_id bigint, country text REFERENCES public.countries, token uuid UNIQUE DEFAULT gen_random_uuid(),
          email citext, during int4range, body text,
          PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, email), EXCLUDE USING gist (tenant_id WITH =, during WITH &&))
        $sql$, t, kind.type, kind.cast_to,
        CASE kind.schema WHEN 'public' THEN ' REFERENCES public.tenants' WHEN 'numbers' THEN ' REFERENCES numbers.tenants' ELSE '' END,
        CASE WHEN n % 2 = 0 THEN 'ALWAYS' ELSE 'BY DEFAULT' END);
      IF parent IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %s ADD FOREIGN KEY (tenant_id, parent_id) REFERENCES %s (tenant_id, id) ON DELETE SET NULL (parent_id)', t, parent);
      END IF;
      EXECUTE format('CREATE INDEX ON %s USING gin (body gin_trgm_ops)', t);
      EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
      EXECUTE format($sql$CREATE POLICY tenant_isolation ON %1$s
        USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')%2$s))
        WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')%2$s))$sql$, t, kind.cast_to);
      EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO {app}', t);
      parent := t;
    END LOOP;
    EXECUTE format($sql$
      CREATE TABLE %1$I.events (tenant_id %2$s NOT NULL, at date NOT NULL, what text) PARTITION BY RANGE (at);
      CREATE TABLE %1$I.events_2026 PARTITION OF %1$I.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY HASH (tenant_id);
      CREATE TABLE %1$I.events_2026_0 PARTITION OF %1$I.events_2026 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
      CREATE INDEX ON %1$I.events (tenant_id, at);
      ALTER TABLE %1$I.events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
      CREATE POLICY tenant_isolation ON %1$I.events FOR SELECT USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')%3$s));
      CREATE POLICY tenant_adds ON %1$I.events FOR INSERT WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')%3$s));
      GRANT SELECT, INSERT ON %1$I.events TO {app};
      CREATE VIEW %1$I.recent AS SELECT * FROM %1$I.events WHERE at > '2026-06-01';
      GRANT SELECT ON %1$I.recent TO {app};
      CREATE VIEW %1$I.recent_too WITH (security_invoker) AS SELECT what FROM %1$I.recent;
      GRANT SELECT ON %1$I.recent_too TO {app};
      CREATE MATERIALIZED VIEW %1$I.totals AS SELECT tenant_id, count(*) FROM %1$I.events GROUP BY 1;
      CREATE VIEW %1$I.own_totals WITH (security_barrier) AS SELECT * FROM %1$I.totals
        WHERE tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')%3$s);
      GRANT SELECT ON %1$I.own_totals TO {app};
      CREATE SEQUENCE %1$I.numbering; GRANT USAGE ON %1$I.numbering TO {app};
    $sql$, kind.schema, kind.type, kind.cast_to);
  END LOOP;
END $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.body := trim(NEW.body); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON table_1 FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION maintain() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
  $$ BEGIN EXECUTE 'ANALYZE public.table_1'; END $$;
REVOKE EXECUTE ON FUNCTION maintain() FROM PUBLIC;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE numbers.tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON numbers.tenants FOR SELECT USING (id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::bigint));
GRANT SELECT ON numbers.tenants TO {app};
RESET ROLE;

-- What privileges can close.
REVOKE EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint), pg_cancel_backend(integer), pg_stat_get_activity(integer),
  pg_stat_get_backend_activity(integer), lo_creat(integer), lo_create(oid), lo_open(oid, integer), loread(integer, integer),
  lowrite(integer, bytea), lo_get(oid), lo_get(oid, bigint, integer), lo_put(oid, bigint, bytea), lo_from_bytea(oid, bytea), lo_unlink(oid) FROM PUBLIC;
REVOKE SELECT ON pg_stat_activity FROM PUBLIC;
CREATE FUNCTION secure_new_tables() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE t record;
BEGIN
  FOR t IN SELECT objid::regclass AS name FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass AND object_type = 'table' LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.name);
  END LOOP;
END $$;
CREATE EVENT TRIGGER secure_new_tables ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') EXECUTE FUNCTION secure_new_tables();
