-- bad
RESET ROLE;
CREATE TABLE notes (id serial PRIMARY KEY, tenant_id uuid NOT NULL, note text);
INSERT INTO notes (tenant_id) VALUES ('{A}'), ('{B}');
SELECT pg_temp.isolate('notes');
ALTER TABLE notes OWNER TO {app};
-- good
RESET ROLE;
CREATE TABLE scratch (n int);
ALTER TABLE scratch OWNER TO {app};
-- works
SELECT count(*) = 1 FROM notes;
INSERT INTO notes (tenant_id) VALUES ('{A}');
