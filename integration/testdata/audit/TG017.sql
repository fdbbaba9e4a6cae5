-- bad
CREATE TABLE countries (code text PRIMARY KEY);
GRANT SELECT, INSERT, DELETE ON countries TO {app};
-- good
CREATE TABLE countries (code text PRIMARY KEY);
GRANT SELECT ON countries TO {app};
-- works
SELECT count(*) = 0 FROM countries;
