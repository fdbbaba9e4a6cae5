-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON notes FOR SELECT USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
GRANT SELECT, DELETE ON notes TO {app};
GRANT UPDATE (note) ON notes TO {app};
-- good
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON notes FOR SELECT USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
GRANT SELECT ON notes TO {app};
-- works
SELECT count(*) = 1 FROM notes;
