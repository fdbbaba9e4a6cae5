INSERT INTO tenants (id, name) VALUES
  ('aaaaaaaa-0000-4000-8000-000000000001', 'acme'),
  ('bbbbbbbb-0000-4000-8000-000000000002', 'globex');
INSERT INTO organizations (tenant_id, name)
  SELECT t.id, o.name FROM tenants t JOIN (VALUES
    ('acme', 'Acme Rockets'), ('acme', 'Acme Anvils'), ('globex', 'Globex Energy'))
  AS o (tenant, name) ON o.tenant = t.name ORDER BY o.name;
INSERT INTO users (tenant_id, email, role)
  SELECT t.id, u.name || '@' || t.name || '.example', u.role FROM tenants t JOIN (VALUES
    ('acme', 'ada', 'admin'), ('acme', 'brian', 'user'), ('acme', 'chen', 'user'), ('acme', 'dilara', 'user'),
    ('globex', 'wilma', 'admin'), ('globex', 'xaver', 'user'), ('globex', 'yuki', 'user'))
  AS u (tenant, name, role) ON u.tenant = t.name ORDER BY t.name, u.name;
INSERT INTO projects (tenant_id, organization_id, name)
  SELECT o.tenant_id, o.id, p.name FROM organizations o JOIN (VALUES
    ('Acme Rockets', 'Moon landing'), ('Acme Rockets', 'Launch pad'), ('Acme Anvils', 'Foundry'),
    ('Globex Energy', 'Fusion'), ('Globex Energy', 'Wind farm'))
  AS p (organization, name) ON p.organization = o.name ORDER BY o.id, p.name;
INSERT INTO audit_logs (tenant_id, project_id, action)
  SELECT p.tenant_id, p.id, a.action FROM projects p, (VALUES ('created'), ('budget approved')) AS a (action) ORDER BY p.id, a.action DESC;
INSERT INTO invoices (tenant_id, organization_id, amount, memo)
  SELECT o.tenant_id, o.id, n * 120, 'instalment ' || n FROM organizations o, generate_series(1, 3) n ORDER BY o.id, n;
