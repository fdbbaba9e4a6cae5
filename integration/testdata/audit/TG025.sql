-- bad
CREATE FUNCTION report(what text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE format('SELECT count(*) FROM %s', what) INTO n;
  RETURN n;
END $$;
-- good
CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT 1'; RETURN NEW; END $$;
CREATE FUNCTION grants() RETURNS void LANGUAGE plpgsql AS $$ BEGIN GRANT EXECUTE ON FUNCTION quiet() TO PUBLIC; END $$;
-- works
SELECT count(*) = 1 FROM projects;
