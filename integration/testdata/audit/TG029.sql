-- bad
RESET ROLE;
ALTER ROLE {app} CREATEROLE CREATEDB;
GRANT CREATE ON SCHEMA public TO {app};
GRANT pg_monitor TO {app};
-- good
RESET ROLE;
CREATE SCHEMA scratch;
GRANT CREATE, USAGE ON SCHEMA scratch TO {app};
-- works
SELECT count(*) = 1 FROM projects;
