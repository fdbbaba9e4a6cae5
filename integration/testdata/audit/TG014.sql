-- bad
CREATE TABLE tasks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id uuid NOT NULL, project_id bigint REFERENCES projects ON DELETE SET NULL,
  parent_id bigint REFERENCES tasks DEFERRABLE INITIALLY DEFERRED);
INSERT INTO tasks (tenant_id, project_id) VALUES ('{A}', 1), ('{B}', 2);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT pg_temp.isolate('tasks');
-- good
CREATE TABLE countries (code text PRIMARY KEY);
CREATE TABLE tasks (tenant_id uuid NOT NULL REFERENCES tenants, project_id bigint, country text REFERENCES countries,
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id));
SELECT pg_temp.isolate('tasks');
-- works
INSERT INTO tasks (tenant_id, project_id, parent_id) VALUES ('{A}', 1, 1);
DELETE FROM projects;
SELECT count(*) = 2 AND count(project_id) = 0 FROM tasks;
