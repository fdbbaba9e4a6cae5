-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, author text NOT NULL);
INSERT INTO notes VALUES ('{A}', 'ada'), ('{B}', 'ada');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_author ON notes FOR SELECT USING (author = (SELECT nullif(current_setting('app.user_id', true), '')));
GRANT SELECT ON notes TO {app};
-- good
CREATE TABLE notes (tenant_id uuid NOT NULL, author text NOT NULL);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_author ON notes FOR SELECT USING (author = (SELECT nullif(current_setting('app.user_id', true), ''))
  AND tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid));
GRANT SELECT ON notes TO {app};
-- works
SELECT set_config('app.user_id', 'ada', false) = 'ada';
SELECT count(*) = 1 FROM notes;
