-- bad
RESET ROLE;
CREATE ROLE {app}_boss BYPASSRLS;
CREATE ROLE {app}_middle IN ROLE {app}_boss;
GRANT {app}_middle TO {app};
GRANT pg_read_all_data TO {app};
-- good
RESET ROLE;
CREATE ROLE {app}_readers;
GRANT {app}_readers TO {app};
-- works
SELECT count(*) = 1 FROM projects;
