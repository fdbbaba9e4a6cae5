-- bad
RESET ROLE;
CREATE EXTENSION dblink;
CREATE EXTENSION tablefunc;
-- good
RESET ROLE;
CREATE EXTENSION citext;
-- works
SELECT count(*) = 1 FROM projects;
