-- Five tables of a small SaaS and the tenants they belong to, with Row-Level
-- Security as it should be written:
--   nullif(current_setting(…, true), '')  no context, no rows: neither an error nor everything
--   (SELECT …)                            evaluated once a statement, not once a row
--   WITH CHECK                            nothing can be written for somebody else
--   FORCE                                 the owner of the tables is bound as well
--   tenant_id in the foreign keys         no row can point at a row of somebody else
-- app_owner owns everything and cannot log in; app_user is who the proxy logs in
-- as: no superuser, no BYPASSRLS, owner of nothing.
CREATE TABLE tenants (
  id   uuid PRIMARY KEY,
  name text NOT NULL);
CREATE TABLE organizations (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  name      text NOT NULL,
  UNIQUE (tenant_id, id));
CREATE TABLE users (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  email     text NOT NULL,
  role      text NOT NULL DEFAULT 'user');
CREATE TABLE projects (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id       uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  organization_id bigint NOT NULL,
  name            text NOT NULL,
  UNIQUE (tenant_id, id),
  FOREIGN KEY (tenant_id, organization_id) REFERENCES organizations (tenant_id, id));
CREATE TABLE audit_logs (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id  uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  project_id bigint NOT NULL,
  action     text NOT NULL,
  at         timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id));
CREATE TABLE invoices (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id       uuid NOT NULL DEFAULT nullif(current_setting('app.current_tenant_id', true), '')::uuid REFERENCES tenants,
  organization_id bigint NOT NULL,
  amount          numeric(12, 2) NOT NULL,
  memo            text NOT NULL,
  FOREIGN KEY (tenant_id, organization_id) REFERENCES organizations (tenant_id, id));

CREATE INDEX ON organizations (tenant_id);
CREATE INDEX ON users (tenant_id);
CREATE INDEX ON projects (tenant_id);
CREATE INDEX ON audit_logs (tenant_id);
CREATE INDEX ON invoices (tenant_id);

ALTER TABLE tenants       ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE organizations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE users         ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE projects      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE audit_logs    ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE invoices      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenants_own ON tenants FOR SELECT
  USING (id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
CREATE POLICY organizations_tenant_isolation ON organizations FOR ALL
  USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid))
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
CREATE POLICY users_tenant_isolation ON users FOR ALL
  USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid))
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
CREATE POLICY projects_tenant_isolation ON projects FOR ALL
  USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid))
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
CREATE POLICY audit_logs_tenant_isolation ON audit_logs FOR ALL
  USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid))
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
CREATE POLICY invoices_tenant_isolation ON invoices FOR ALL
  USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid))
  WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));

-- Administrators see every tenant and write, as everybody does, for their own only.
CREATE POLICY tenants_admin_read       ON tenants       FOR SELECT USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));
CREATE POLICY organizations_admin_read ON organizations FOR SELECT USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));
CREATE POLICY users_admin_read         ON users         FOR SELECT USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));
CREATE POLICY projects_admin_read      ON projects      FOR SELECT USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));
CREATE POLICY audit_logs_admin_read    ON audit_logs    FOR SELECT USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));
CREATE POLICY invoices_admin_read      ON invoices      FOR SELECT USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));

GRANT SELECT ON tenants TO app_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON organizations, users, projects, audit_logs, invoices TO app_user;
