-- bad
RESET ROLE;
ALTER TABLE projects NO FORCE ROW LEVEL SECURITY;
ALTER TABLE projects OWNER TO {app};
-- good
ALTER TABLE projects NO FORCE ROW LEVEL SECURITY; -- its owner is somebody else
-- works
SELECT count(*) = 1 FROM projects;
