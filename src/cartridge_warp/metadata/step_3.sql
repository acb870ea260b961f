-- From layout 2 to 3: markers of batch mode, the rows of deleted documents,
-- resyncs, workers.

CREATE TABLE {meta}.batch_markers (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    column_name text NOT NULL,
    value bytea,
    last_key bytea,
    value_time bigint,
    passes bigint NOT NULL DEFAULT 0,
    began_at timestamptz,
    ended_at timestamptz,
    due_at timestamptz,
    unread bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_name, table_name)
);

CREATE TABLE {meta}.deletion_audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key text NOT NULL,
    last_row jsonb NOT NULL,
    cluster_time numeric(20),
    deleted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deletion_audit_by_key
    ON {meta}.deletion_audit (schema_name, table_name, md5(key));
REVOKE ALL ON {meta}.deletion_audit FROM PUBLIC;

ALTER TABLE {meta}.snapshot_chunks
    ADD COLUMN resync boolean NOT NULL DEFAULT false,
    ADD COLUMN whole boolean NOT NULL DEFAULT false,
    ADD COLUMN written bigint NOT NULL DEFAULT 0,
    ADD COLUMN removed bigint NOT NULL DEFAULT 0,
    ADD COLUMN kept boolean NOT NULL DEFAULT false;

ALTER TABLE {meta}.schema_leases
    ADD COLUMN version text NOT NULL DEFAULT '',
    ADD COLUMN settings text NOT NULL DEFAULT '';

CREATE TABLE {meta}.copy_workers (
    worker_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    epoch bigint NOT NULL,
    instance text NOT NULL,
    admitted boolean NOT NULL DEFAULT false,
    joined_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX copy_workers_by_schema ON {meta}.copy_workers (schema_name);

ALTER TABLE {meta}.table_state
    ADD COLUMN gone_at timestamptz,
    ADD COLUMN since numeric(20),
    ADD COLUMN identity text NOT NULL DEFAULT '',
    ADD COLUMN read bigint NOT NULL DEFAULT 0;
UPDATE {meta}.table_state t SET read = c.documents
FROM (
    SELECT schema_name, table_name, sum(documents) AS documents
    FROM {meta}.snapshot_chunks GROUP BY schema_name, table_name
) AS c
WHERE c.schema_name = t.schema_name AND c.table_name = t.table_name;

ALTER TABLE {meta}.dead_letter_queue
    ADD COLUMN unseen boolean NOT NULL DEFAULT false;

CREATE TABLE {meta}.signals (
    signal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    verb text NOT NULL,
    table_name text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    accepted_at timestamptz,
    done_at timestamptz
);
CREATE INDEX signals_open ON {meta}.signals (schema_name, verb, table_name)
    WHERE done_at IS NULL;

INSERT INTO {meta}.layout (version) VALUES (3);
