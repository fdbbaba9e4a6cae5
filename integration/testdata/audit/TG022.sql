-- bad
RESET ROLE;
CREATE FUNCTION how_many() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS 'SELECT count(*) FROM projects';
-- good
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE FUNCTION how_many() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS 'SELECT count(*) FROM projects';
RESET ROLE;
CREATE FUNCTION for_reports() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS 'SELECT count(*) FROM projects';
REVOKE EXECUTE ON FUNCTION for_reports() FROM PUBLIC;
-- works
SELECT how_many() = 1;
