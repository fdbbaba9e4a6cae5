-- bad
RESET ROLE;
CREATE MATERIALIZED VIEW totals AS SELECT tenant_id, count(*) FROM projects GROUP BY 1;
GRANT SELECT ON totals TO {app};
CREATE MATERIALIZED VIEW names AS SELECT name FROM projects;
CREATE VIEW names_view AS SELECT * FROM names;
GRANT SELECT ON names_view TO {app};
-- good
RESET ROLE;
CREATE MATERIALIZED VIEW totals AS SELECT tenant_id, count(*) FROM projects GROUP BY 1;
CREATE VIEW own_totals WITH (security_barrier) AS SELECT * FROM totals WHERE tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid;
GRANT SELECT ON own_totals TO {app};
CREATE MATERIALIZED VIEW numbers AS SELECT 1 AS n;
GRANT SELECT ON numbers TO {app};
-- works
SELECT count(*) = 1 FROM projects;
