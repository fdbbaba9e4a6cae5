-- bad
CREATE POLICY admins ON projects FOR SELECT USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));
-- good
RESET ROLE;
CREATE ROLE {app}_admins;
CREATE POLICY admins ON projects FOR SELECT TO {app}_admins USING (true);
-- works
SELECT count(*) = 1 FROM projects;
