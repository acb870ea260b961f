-- From layout 1 to 2: lanes, leases, times of the copy's reads, refused rows.

CREATE TABLE {meta}.schema_leases (
    schema_name text PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    instance text NOT NULL DEFAULT '',
    heartbeat_at timestamptz
);

ALTER TABLE {meta}.sync_markers ADD COLUMN stream text NOT NULL DEFAULT '';

ALTER TABLE {meta}.table_state ADD COLUMN left_at timestamptz;

ALTER TABLE {meta}.dead_letter_queue ADD COLUMN constraint_name text;

ALTER TABLE {meta}.snapshot_chunks
    ADD COLUMN ordinal integer NOT NULL DEFAULT 0,
    ADD COLUMN read_time numeric(20),
    ADD COLUMN read_until numeric(20),
    DROP COLUMN backend_pid,
    DROP COLUMN backend_start;

-- A chunk that was split off has a number of its own, and begins where its chunk ends.
WITH RECURSIVE chain AS (
    SELECT chunk_id, schema_name, table_name, upper, 1 AS ordinal
    FROM {meta}.snapshot_chunks WHERE lower IS NULL
    UNION ALL
    SELECT c.chunk_id, c.schema_name, c.table_name, c.upper, chain.ordinal + 1
    FROM chain JOIN {meta}.snapshot_chunks c
      ON c.schema_name = chain.schema_name AND c.table_name = chain.table_name
     AND c.lower = chain.upper
)
UPDATE {meta}.snapshot_chunks c SET ordinal = chain.ordinal
FROM chain WHERE c.chunk_id = chain.chunk_id;

DROP INDEX {meta}.snapshot_chunks_by_table;
CREATE INDEX snapshot_chunks_by_table
    ON {meta}.snapshot_chunks (schema_name, table_name, state, ordinal, chunk_id);

INSERT INTO {meta}.layout (version) VALUES (2);
