-- bad
RESET ROLE;
CREATE VIEW all_projects AS SELECT id, name FROM projects;
GRANT SELECT ON all_projects TO {app};
SET ROLE {owner};
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
SELECT pg_temp.isolate('notes');
ALTER TABLE notes NO FORCE ROW LEVEL SECURITY;
REVOKE ALL ON notes FROM {app};
CREATE VIEW inner_notes AS SELECT note FROM notes WHERE tenant_id IS NOT NULL;
CREATE VIEW outer_notes AS SELECT note AS text FROM inner_notes;
GRANT SELECT ON outer_notes TO {app};
-- good
CREATE VIEW by_forced_owner AS SELECT name FROM projects;
GRANT SELECT ON by_forced_owner TO {app};
RESET ROLE;
CREATE VIEW as_invoker WITH (security_invoker = on) AS SELECT name FROM projects;
GRANT SELECT ON as_invoker TO {app};
CREATE VIEW for_reports AS SELECT name FROM projects;
CREATE VIEW behind_a_barrier WITH (security_barrier) AS SELECT name FROM projects
  WHERE tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid;
GRANT SELECT ON behind_a_barrier TO {app};
CREATE VIEW no_tenants AS SELECT 1 AS one;
GRANT SELECT ON no_tenants TO {app};
-- works
SELECT count(*) = 1 FROM all_projects;
SELECT count(*) = 1 FROM outer_notes;
