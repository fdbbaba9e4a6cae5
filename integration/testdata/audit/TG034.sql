-- bad
CREATE SEQUENCE numbers;
GRANT UPDATE ON numbers TO {app};
CREATE SEQUENCE others;
GRANT ALL ON others TO {app};
-- good
CREATE SEQUENCE numbers;
GRANT USAGE, SELECT ON numbers TO {app};
-- works
SELECT nextval('numbers') = 1;
SELECT nextval('others') = 1;
