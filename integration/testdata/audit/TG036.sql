-- bad
RESET ROLE;
CREATE EXTENSION pg_stat_statements;
-- good
RESET ROLE;
REVOKE EXECUTE ON FUNCTION pg_stat_get_activity(integer), pg_stat_get_backend_activity(integer) FROM PUBLIC;
REVOKE SELECT ON pg_stat_activity FROM PUBLIC;
-- works
SELECT count(*) = 1 FROM projects;
