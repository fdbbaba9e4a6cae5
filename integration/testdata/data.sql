INSERT INTO tenants VALUES ('%[1]s', 'tenant %[2]s');
INSERT INTO organizations (tenant_id, name) SELECT '%[1]s', 'organization ' || n || ' of %[2]s' FROM generate_series(1, 3) n;
INSERT INTO users (tenant_id, email) SELECT '%[1]s', 'user' || n || '@%[2]s.example' FROM generate_series(1, 10) n;
INSERT INTO projects (tenant_id, organization_id, name)
  SELECT '%[1]s', o.id, 'project ' || n || ' of ' || o.name FROM organizations o, generate_series(1, 2) n WHERE o.tenant_id = '%[1]s';
INSERT INTO audit_logs (tenant_id, project_id, action) SELECT '%[1]s', p.id, 'created ' || p.name FROM projects p WHERE p.tenant_id = '%[1]s';
INSERT INTO invoices (tenant_id, organization_id, amount, memo)
  SELECT '%[1]s', o.id, n * 10, 'invoice ' || n || ' to ' || o.name FROM organizations o, generate_series(1, 3) n WHERE o.tenant_id = '%[1]s';
DO $$ BEGIN IF to_regclass('load_rows') IS NOT NULL THEN
  INSERT INTO load_rows (tenant_id, marker, nonce) SELECT '%[1]s', '%[2]s', 'seed' FROM generate_series(1, 50);
END IF; END $$;
