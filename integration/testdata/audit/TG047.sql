-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON notes USING (tenant_id::text = current_setting('app.current_tenant_id', true) AND current_setting('app.current_tenant_id', true) <> '');
GRANT SELECT ON notes TO {app};
-- good
CREATE TABLE notes (tenant_id varchar(40) NOT NULL, note text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON notes USING (tenant_id = (SELECT current_setting('app.current_tenant_id', true)));
GRANT SELECT ON notes TO {app};
-- works
SELECT count(*) = 1 FROM notes;
