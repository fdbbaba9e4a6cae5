-- bad
CREATE TABLE people (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id uuid NOT NULL, email text UNIQUE, nick text,
  UNIQUE (tenant_id, id));
CREATE UNIQUE INDEX people_nick ON people (lower(nick)) WHERE nick IS NOT NULL;
INSERT INTO people (tenant_id, email, nick) VALUES ('{A}', 'a@a', 'a'), ('{B}', 'b@b', 'b');
SELECT pg_temp.isolate('people');
CREATE TABLE codes (code text PRIMARY KEY, tenant_id uuid NOT NULL);
INSERT INTO codes VALUES ('a', '{A}'), ('b', '{B}');
SELECT pg_temp.isolate('codes');
CREATE TABLE uses (tenant_id uuid NOT NULL, code text REFERENCES codes ON DELETE CASCADE);
INSERT INTO uses VALUES ('{A}', 'a'), ('{B}', 'b');
SELECT pg_temp.isolate('uses');
CREATE TABLE bookings (tenant_id uuid NOT NULL, during int4range, EXCLUDE USING gist (during WITH &&));
SELECT pg_temp.isolate('bookings');
-- good
CREATE TABLE people (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), number bigserial UNIQUE, tenant_id uuid NOT NULL, email text, UNIQUE (tenant_id, email));
SELECT pg_temp.isolate('people');
CREATE TABLE tasks (tenant_id uuid NOT NULL, project_id bigint, name text, UNIQUE (project_id, name),
  FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id));
SELECT pg_temp.isolate('tasks');
CREATE TABLE countries (code text PRIMARY KEY);
-- works
INSERT INTO people (tenant_id, email, nick) VALUES ('{A}', 'b@b', 'b');
INSERT INTO codes VALUES ('b', '{A}');
INSERT INTO uses VALUES ('{A}', 'b');
SELECT count(*) = 2 FROM uses;
INSERT INTO bookings VALUES ('{A}', '[1,2]');
