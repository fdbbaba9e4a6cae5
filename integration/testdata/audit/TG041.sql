-- bad
RESET ROLE;
CREATE PUBLICATION out FOR TABLE projects;
-- good
RESET ROLE;
CREATE TABLE countries (code text PRIMARY KEY);
CREATE PUBLICATION out FOR TABLE countries, projects WHERE (tenant_id = '{A}') WITH (publish = 'insert');
-- works
SELECT count(*) = 1 FROM projects;
