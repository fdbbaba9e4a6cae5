-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
CREATE INDEX ON notes (tenant_id);
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
GRANT SELECT, INSERT ON notes TO {app};
-- good
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
SELECT pg_temp.isolate('notes');
CREATE TABLE internal (tenant_id uuid NOT NULL, note text); -- nobody may read it
CREATE TABLE events (tenant_id uuid NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
SELECT pg_temp.isolate('events');
-- works
SELECT count(*) = 1 FROM notes;
INSERT INTO notes VALUES ('{A}', 'another');
