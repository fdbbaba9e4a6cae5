-- bad
ALTER TABLE tenants DISABLE ROW LEVEL SECURITY;
DROP POLICY own ON tenants;
-- good
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
-- works
SELECT count(*) = 1 FROM tenants;
