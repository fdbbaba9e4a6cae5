-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON notes TO {app};
CREATE TABLE jobs (job text);
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON jobs TO {app};
-- good
CREATE TABLE jobs (job text);
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY; -- and nobody may read it
-- works
SELECT count(*) = 1 FROM projects;
SELECT count(*) = 1 FROM notes;
