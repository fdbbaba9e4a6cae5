-- The rows: %[1]s and %[3]s are the tenants, %[2]s and %[4]s their secrets.
-- Tenant A's rows come first, for the races within one statement.
TRUNCATE projects, notes, jobs, countries RESTART IDENTITY;
INSERT INTO countries VALUES ('at', 'Austria'), ('be', 'Belgium');
INSERT INTO projects (tenant_id, name, parent)
  SELECT '%[1]s', '%[2]s-project-' || n, CASE WHEN n > 1 THEN '%[2]s-project-1' END FROM generate_series(1, 3) n;
INSERT INTO projects (tenant_id, name, parent)
  SELECT '%[3]s', '%[4]s-project-' || n, CASE WHEN n > 1 THEN '%[4]s-project-1' END FROM generate_series(1, 3) n;
INSERT INTO notes (tenant_id, body) SELECT '%[1]s', '%[2]s-note-' || n FROM generate_series(1, 2) n;
INSERT INTO notes (tenant_id, body) SELECT '%[3]s', '%[4]s-note-' || n FROM generate_series(1, 2) n;
-- What the planner knows of the rows must not be told either.
ANALYZE projects, notes;
