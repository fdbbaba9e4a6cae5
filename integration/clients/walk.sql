-- What somebody in psql does; the output must be the same direct and through the proxy.
\set QUIET on
\set VERBOSITY verbose
\pset format unaligned
SELECT email FROM users ORDER BY email;
SELECT p.name, a.action, i.memo FROM projects p JOIN audit_logs a ON a.project_id = p.id
  JOIN organizations o ON o.id = p.organization_id JOIN invoices i ON i.organization_id = o.id ORDER BY 1, 2, 3;
SHOW app.current_tenant_id;
BEGIN;
INSERT INTO organizations (id, tenant_id, name) VALUES ('aaaaaaaa-0000-4000-8000-000000000001', :'tenant', 'new');
INSERT INTO projects (id, tenant_id, organization_id, name) VALUES ('aaaaaaaa-0000-4000-8000-000000000002', :'tenant', 'aaaaaaaa-0000-4000-8000-000000000001', 'new');
SAVEPOINT s;
INSERT INTO audit_logs (tenant_id, project_id, action) VALUES (:'tenant', 'aaaaaaaa-0000-4000-8000-000000000002', 'new') RETURNING action;
SELECT count(*) FROM audit_logs WHERE action = 'new';
ROLLBACK TO s;
SELECT count(*) FROM audit_logs WHERE action = 'new';
ROLLBACK;
BEGIN;
INSERT INTO users (tenant_id, email) VALUES (:'other', 'forged@example');
SELECT 'in a failed transaction';
ROLLBACK;
BEGIN;
UPDATE users SET tenant_id = :'other' WHERE email LIKE 'user1@%';
ROLLBACK;
SELECT no_such_column FROM users;
SELECT 1 / 0;
SELECT 'several' AS one \; SELECT 'results' AS two \; SELECT 'in one message' AS three;
CREATE TEMP TABLE arrivals (n int, t text);
\copy arrivals FROM PROGRAM 'seq 1 1000 | sed "s/.*/&\tx&/"'
SELECT count(*), sum(n), max(t) FROM arrivals;
\copy (SELECT email FROM users ORDER BY email) TO STDOUT
\copy arrivals FROM PROGRAM 'echo not a number'
PREPARE q (text) AS SELECT count(*) FROM users WHERE email LIKE $1;
EXECUTE q ('user%');
DECLARE c CURSOR WITH HOLD FOR SELECT email FROM users ORDER BY email;
FETCH 3 FROM c;
\set FETCH_COUNT 3
SELECT email FROM users ORDER BY email;
\unset FETCH_COUNT
\gdesc
SELECT email, role FROM users LIMIT 1 \gdesc
\d users
\dt public.*
LISTEN a_channel;
NOTIFY a_channel, 'a payload';
UNLISTEN a_channel;
SET statement_timeout = '100ms';
SELECT pg_sleep(5);
RESET ALL;
SELECT count(*) FROM users;
DISCARD ALL;
SELECT count(*) FROM users;
\encoding LATIN1
SELECT length('x');
\encoding UTF8
SET client_min_messages = debug1;
