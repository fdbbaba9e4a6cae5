-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON notes USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid)) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON notes TO {app};
CREATE TABLE log (tenant_id uuid NOT NULL, line text);
ALTER TABLE log ENABLE ROW LEVEL SECURITY;
CREATE POLICY append ON log FOR INSERT WITH CHECK (true);
GRANT INSERT ON log TO {app};
-- good
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON notes USING (tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
GRANT SELECT, INSERT, UPDATE ON notes TO {app};
-- works
INSERT INTO notes VALUES ('{A}', 'another');
SELECT count(*) = 2 FROM notes;
INSERT INTO log VALUES ('{A}', 'a line');
