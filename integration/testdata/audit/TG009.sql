-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON notes USING (tenant_id = (SELECT current_setting('app.current_tenant_id')::uuid));
GRANT SELECT ON notes TO {app};
CREATE TABLE pages (tenant_id uuid NOT NULL, note text);
INSERT INTO pages VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
ALTER TABLE pages ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON pages USING (tenant_id = (SELECT current_setting('app.current_tenant_id', true)::uuid));
GRANT SELECT ON pages TO {app};
-- good
CREATE TABLE notes (tenant_id text NOT NULL, note text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON notes USING (tenant_id = (SELECT current_setting('app.current_tenant_id', true)));
GRANT SELECT ON notes TO {app};
-- works
SELECT count(*) = 1 FROM notes;
SELECT count(*) = 1 FROM pages;
RESET app.current_tenant_id;
SELECT count(*) = 0 FROM notes;
SELECT count(*) = 0 FROM pages;
