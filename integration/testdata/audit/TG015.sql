-- bad
CREATE TABLE lines (project_id bigint NOT NULL REFERENCES projects, line text);
INSERT INTO lines VALUES (1, 'of alpha'), (2, 'of bravo');
GRANT SELECT, INSERT ON lines TO {app};
-- good
CREATE TABLE lines (project_id bigint NOT NULL REFERENCES projects, line text); -- nobody may read it
CREATE TABLE countries (code text PRIMARY KEY);
GRANT SELECT ON countries TO {app};
-- works
SELECT count(*) = 1 FROM lines;
INSERT INTO lines VALUES (1, 'another');
