-- What every case starts from: the table of the tenants, one more, and a way to say `isolated as it should be`.
GRANT ALL ON SCHEMA public TO {owner};
SET ROLE {owner};
CREATE FUNCTION pg_temp.isolate(t regclass, tenant text DEFAULT 'tenant_id', privileges text DEFAULT 'SELECT, INSERT, UPDATE, DELETE') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format($sql$
    ALTER TABLE %1$s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant_isolation ON %1$s FOR ALL
      USING      (%2$I = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid))
      WITH CHECK (%2$I = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
    GRANT %3$s ON %1$s TO {app};
  $sql$, t, tenant, privileges);
END $$;
CREATE TABLE tenants (id uuid PRIMARY KEY, name text NOT NULL);
INSERT INTO tenants VALUES ('{A}', 'alpha'), ('{B}', 'bravo');
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON tenants FOR SELECT USING (id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
GRANT SELECT ON tenants TO {app};
CREATE TABLE projects (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL REFERENCES tenants,
  name text NOT NULL,
  UNIQUE (tenant_id, id));
INSERT INTO projects (tenant_id, name) VALUES ('{A}', 'one of alpha'), ('{B}', 'one of bravo');
SELECT pg_temp.isolate('projects');
