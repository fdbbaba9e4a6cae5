-- bad
RESET ROLE;
ALTER ROLE {app} IN DATABASE {database} SET app.current_tenant_id = '{B}';
ALTER DATABASE {database} SET app.is_admin = 'true';
CREATE POLICY admins ON projects FOR SELECT USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));
GRANT SET ON PARAMETER app.current_tenant_id TO {app};
CREATE FUNCTION as_bravo() RETURNS bigint LANGUAGE sql SET app.current_tenant_id = '{B}' AS 'SELECT count(*) FROM public.projects';
-- good
RESET ROLE;
ALTER ROLE {app} IN DATABASE {database} SET statement_timeout = '30s';
ALTER ROLE {owner} IN DATABASE {database} SET app.current_tenant_id = '{B}';
-- works
SELECT count(*) = 1 FROM projects;
