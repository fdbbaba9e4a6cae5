-- bad
GRANT ALL ON projects TO {app}; -- fires
CREATE TABLE lines (project_id bigint NOT NULL REFERENCES projects, line text);
GRANT SELECT, TRUNCATE ON lines TO {app}; -- fires
RESET ROLE;
CREATE ROLE {app}_group;
GRANT {app}_group TO {app};
GRANT TRUNCATE ON tenants TO {app}_group; -- fires
-- good
CREATE TABLE scratch (n int);
GRANT ALL ON scratch TO {app};
-- works
SELECT count(*) = 1 FROM projects;
DELETE FROM projects;
