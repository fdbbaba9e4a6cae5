-- bad
CREATE FUNCTION report(what text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE n bigint;
BEGIN
  EXECUTE 'SELECT count(*) FROM ' || what INTO n;
  RETURN n;
END $$;
-- good
CREATE FUNCTION report() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  -- we do not EXECUTE anything here
  RETURN 'to execute ' || (SELECT count(*) FROM projects);
END $$;
-- works
SELECT report('projects') = 1;
