-- bad
SELECT 1;
-- good
RESET ROLE;
CREATE FUNCTION check_tables() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() d JOIN pg_class c ON c.oid = d.objid WHERE NOT c.relrowsecurity) THEN RAISE WARNING 'mind it'; END IF;
END $$;
CREATE EVENT TRIGGER check_tables ON ddl_command_end EXECUTE FUNCTION check_tables();
-- works
SELECT count(*) = 1 FROM projects;
