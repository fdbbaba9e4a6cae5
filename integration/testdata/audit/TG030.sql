-- bad
GRANT ALL ON projects TO {app};
RESET ROLE;
CREATE ROLE {app}_group;
GRANT {app}_group TO {app};
GRANT TRUNCATE ON tenants TO {app}_group;
-- good
CREATE TABLE scratch (n int);
GRANT ALL ON scratch TO {app};
-- works
SELECT count(*) = 1 FROM projects;
DELETE FROM projects;
