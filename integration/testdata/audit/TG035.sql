-- bad
SELECT lo_create(0) > 0;
-- good
RESET ROLE;
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_open(oid, integer), loread(integer, integer), lowrite(integer, bytea), lo_get(oid),
  lo_get(oid, bigint, integer), lo_put(oid, bigint, bytea), lo_from_bytea(oid, bytea), lo_unlink(oid) FROM PUBLIC;
-- works
SELECT count(*) = 1 FROM projects;
