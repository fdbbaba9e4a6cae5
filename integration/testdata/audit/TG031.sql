-- bad
GRANT ALL ON projects TO {app};
-- good
GRANT SELECT, INSERT, UPDATE, DELETE ON projects TO {app};
-- works
SELECT count(*) = 1 FROM projects;
