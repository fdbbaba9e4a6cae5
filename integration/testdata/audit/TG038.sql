-- bad
SELECT 1;
-- good
RESET ROLE;
DO $$ DECLARE f regprocedure; BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    AND (proname ~ '^(query|cursor|table|schema|database)_to_xml' OR proname = 'ts_stat' OR oid = 'ts_rewrite(tsquery,text)'::regprocedure)
  LOOP EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f); END LOOP;
END $$;
-- works
SELECT count(*) = 1 FROM projects;
