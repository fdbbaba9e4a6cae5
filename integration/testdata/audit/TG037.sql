-- bad
SELECT 1;
-- good
RESET ROLE;
REVOKE EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint), pg_cancel_backend(integer) FROM PUBLIC;
-- works
SELECT count(*) = 1 FROM projects;
