-- bad
SELECT 1;
-- good
RESET ROLE;
REVOKE USAGE ON LANGUAGE plpgsql, sql FROM PUBLIC;
-- works
SELECT count(*) = 1 FROM projects;
