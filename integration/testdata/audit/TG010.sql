-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON notes USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
GRANT SELECT ON notes TO {app};
CREATE FUNCTION tenant() RETURNS uuid LANGUAGE sql STABLE RETURN nullif(current_setting('app.current_tenant_id', true), '')::uuid;
CREATE TABLE pages (tenant_id uuid NOT NULL, note text);
INSERT INTO pages VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
ALTER TABLE pages ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON pages USING (tenant_id = tenant());
GRANT SELECT ON pages TO {app};
-- good
CREATE FUNCTION tenant() RETURNS uuid LANGUAGE sql STABLE RETURN nullif(current_setting('app.current_tenant_id', true), '')::uuid;
CREATE FUNCTION may(uuid) RETURNS boolean LANGUAGE sql STABLE RETURN true;
CREATE TABLE pages (tenant_id uuid NOT NULL, note text);
ALTER TABLE pages ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON pages USING (tenant_id = (SELECT tenant()) AND may(tenant_id));
GRANT SELECT ON pages TO {app};
-- works
SELECT count(*) = 1 FROM notes;
SELECT count(*) = 1 FROM pages;
