-- The five tables of a small SaaS and the tenants they belong to, with policies
-- as they should be written: NULL when no context is set, evaluated once a statement.
CREATE TABLE tenants (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE organizations (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  name text NOT NULL);
CREATE TABLE users (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  email text NOT NULL,
  role text NOT NULL DEFAULT 'user');
CREATE TABLE projects (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  organization_id uuid REFERENCES organizations,
  name text NOT NULL);
CREATE TABLE audit_logs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  project_id uuid REFERENCES projects,
  action text NOT NULL);
CREATE TABLE invoices (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  organization_id uuid REFERENCES organizations,
  amount numeric(12, 2) NOT NULL,
  memo text NOT NULL);
-- What the load writes and reads: every row says twice whose it is.
CREATE TABLE load_rows (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid,
  marker text NOT NULL,
  nonce text NOT NULL);

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_own ON tenants FOR SELECT
  USING (id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid)
         OR (SELECT coalesce(nullif(current_setting('app.is_admin', true), ''), 'false')::boolean));
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['organizations', 'users', 'projects', 'audit_logs', 'invoices', 'load_rows'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL
      USING (tenant_id = (SELECT nullif(current_setting(''app.current_tenant_id'', true), '''')::uuid))
      WITH CHECK (tenant_id = (SELECT nullif(current_setting(''app.current_tenant_id'', true), '''')::uuid))', t || '_tenant_isolation', t);
    EXECUTE format('CREATE POLICY %I ON %I FOR ALL
      USING ((SELECT coalesce(nullif(current_setting(''app.is_admin'', true), ''''), ''false'')::boolean))
      WITH CHECK ((SELECT coalesce(nullif(current_setting(''app.is_admin'', true), ''''), ''false'')::boolean))', t || '_admin_all', t);
    EXECUTE format('CREATE INDEX ON %I (tenant_id)', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO app_role', t);
  END LOOP;
END $$;
GRANT SELECT ON tenants TO app_role;
-- Rows of nobody in particular, for tests of bytes rather than of tenants.
CREATE TABLE plain_numbers AS SELECT n, md5(n::text) AS hash FROM generate_series(1, 1000) n;
GRANT SELECT ON plain_numbers TO app_role;
CREATE FUNCTION warn(message text) RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN RAISE WARNING '%', message USING DETAIL = 'a detail', HINT = 'a hint'; RETURN 1; END $$;
CREATE TABLE plain_arrivals (t text);
GRANT SELECT, INSERT, DELETE ON plain_arrivals TO app_role;
