-- bad
RESET ROLE;
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE orders (tenant_id uuid, amount numeric) SERVER elsewhere;
GRANT SELECT ON orders TO {app};
-- good
RESET ROLE;
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE orders (tenant_id uuid, amount numeric) SERVER elsewhere;
CREATE FOREIGN TABLE rates (currency text, rate numeric) SERVER elsewhere;
GRANT SELECT ON rates TO {app};
-- works
SELECT count(*) = 1 FROM projects;
