-- bad
CREATE TABLE events (tenant_id uuid NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO events VALUES ('{A}', '2026-02-02'), ('{B}', '2026-02-02');
SELECT pg_temp.isolate('events');
GRANT SELECT ON events_2026 TO {app};
CREATE TABLE archived () INHERITS (projects);
GRANT SELECT ON archived TO {app};
-- good
CREATE TABLE events (tenant_id uuid NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
SELECT pg_temp.isolate('events');
-- works
SELECT count(*) = 1 FROM events;
INSERT INTO events VALUES ('{A}', '2026-03-03');
SELECT count(*) = 0 FROM events_2026;
