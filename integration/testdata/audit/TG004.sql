-- bad
CREATE POLICY everybody ON projects USING (true);
CREATE TABLE notes (tenant_id uuid NOT NULL, public boolean NOT NULL);
INSERT INTO notes VALUES ('{A}', false), ('{B}', false);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_default ON notes USING (tenant_id = coalesce(nullif(current_setting('app.current_tenant_id', true), '')::uuid, tenant_id));
GRANT SELECT, UPDATE ON notes TO {app};
CREATE TABLE pages (tenant_id uuid NOT NULL, public boolean NOT NULL);
INSERT INTO pages VALUES ('{A}', true), ('{B}', false);
ALTER TABLE pages ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine_or_public ON pages USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid) OR public);
GRANT SELECT, UPDATE ON pages TO {app};
-- good
RESET ROLE;
CREATE ROLE {app}_reports;
SET ROLE {owner};
CREATE POLICY reports ON projects FOR SELECT TO {app}_reports USING (true);
CREATE TABLE fenced (tenant_id uuid NOT NULL);
ALTER TABLE fenced ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON fenced USING (true);
CREATE POLICY fence ON fenced AS RESTRICTIVE USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
GRANT SELECT, INSERT ON fenced TO {app};
CREATE TABLE closed (tenant_id uuid NOT NULL);
ALTER TABLE closed ENABLE ROW LEVEL SECURITY;
CREATE POLICY nobody ON closed USING (false);
GRANT SELECT, INSERT ON closed TO {app};
CREATE TABLE countries (code text PRIMARY KEY);
ALTER TABLE countries ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_them ON countries FOR SELECT USING (true);
GRANT SELECT ON countries TO {app};
-- works
SELECT count(*) = 1 FROM projects;
SELECT count(*) = 1 FROM notes;
SELECT count(*) = 1 FROM pages;
