-- bad
CREATE POLICY admins ON projects USING ((SELECT nullif(current_setting('app.is_admin', true), '')::boolean));
CREATE TABLE notes (tenant_id uuid NOT NULL, public boolean NOT NULL DEFAULT false);
INSERT INTO notes VALUES ('{A}'), ('{B}');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine_or_admin ON notes
  USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid) OR current_setting('app.is_admin', true) = 'true');
GRANT SELECT, INSERT ON notes TO {app};
CREATE TABLE pages (tenant_id uuid NOT NULL, public boolean NOT NULL DEFAULT false);
INSERT INTO pages VALUES ('{A}'), ('{B}');
SELECT pg_temp.isolate('pages');
CREATE POLICY shared ON pages FOR SELECT USING (public);
CREATE TABLE owned (tenant_id uuid NOT NULL, who name NOT NULL DEFAULT current_user);
INSERT INTO owned VALUES ('{A}', '{app}'), ('{B}', '{app}');
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_role ON owned FOR SELECT USING (who = current_user);
GRANT SELECT ON owned TO {app};
-- good
CREATE TABLE templates (tenant_id uuid, name text);
ALTER TABLE templates ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine_or_nobodys ON templates FOR SELECT
  USING (tenant_id IS NULL OR tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
GRANT SELECT ON templates TO {app};
-- works
SELECT count(*) = 1 FROM projects;
SELECT count(*) = 1 FROM notes;
INSERT INTO notes VALUES ('{A}');
SELECT count(*) = 1 FROM pages;
SELECT count(*) = 1 FROM owned;
