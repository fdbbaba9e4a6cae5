-- bad
CREATE TABLE notes (tenant_id uuid NOT NULL, note text);
CREATE INDEX ON notes (note, tenant_id);
CREATE INDEX ON notes (tenant_id) WHERE note IS NULL;
INSERT INTO notes VALUES ('{A}', 'of alpha'), ('{B}', 'of bravo');
SELECT pg_temp.isolate('notes');
-- good
CREATE TABLE notes (tenant_id uuid NOT NULL, id bigint, PRIMARY KEY (tenant_id, id));
SELECT pg_temp.isolate('notes');
CREATE TABLE events (tenant_id uuid NOT NULL, at date NOT NULL) PARTITION BY LIST (tenant_id);
CREATE TABLE events_a PARTITION OF events FOR VALUES IN ('{A}');
SELECT pg_temp.isolate('events');
-- works
SELECT count(*) = 1 FROM notes;
