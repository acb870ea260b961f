-- Layout 3 of the metadata; every name is qualified by the metadata schema. What
-- changes here changes in a step file too: step_N.sql leads from layout N - 1 to N.

CREATE TABLE {meta}.layout (
    version integer NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {meta}.layout (version) VALUES (3);

-- Who works on a schema, and when it last gave a sign of life; without one it was given
-- up. It decides who waits. What makes it safe is the epoch in sync_markers. version,
-- settings: what a process that wants to help has to have too.
CREATE TABLE {meta}.schema_leases (
    schema_name text PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    instance text NOT NULL DEFAULT '',
    heartbeat_at timestamptz,
    version text NOT NULL DEFAULT '',
    settings text NOT NULL DEFAULT ''
);

-- Connections of other processes that help the owner of this epoch with its first
-- copies. admitted: the owner knows of it, and it may claim chunks. Who is not in here
-- may not.
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

-- Where a schema stands, and who may write it: one row a lane, the same epoch in all.
-- cluster_time: seconds << 32 | increment, unsigned; from 2038 on it is more than a
-- bigint holds. stream: the kind of stream that gave the token.
CREATE TABLE {meta}.sync_markers (
    schema_name text NOT NULL,
    lane integer NOT NULL DEFAULT 0,
    epoch bigint NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    resume_token bytea,
    cluster_time numeric(20),
    stream text NOT NULL DEFAULT '',
    wall_time timestamptz,
    replica_set_id text NOT NULL,
    source_version text NOT NULL,
    database text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_name, lane)
);

-- How far the passes over a table of batch mode are. value: the last document's, of
-- column_name, as the one field of a BSON document; value_time: what it stands for, in
-- milliseconds since 1970; last_key: that document's _id. passes: those that ended;
-- began_at, ended_at: of the last of them; due_at: when the next one begins. unread:
-- documents whose column holds no time.
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

-- The ranges of _id a table is first copied by, or of its last resync. Bounds: lower
-- inside, upper outside. Their order is that of (ordinal, chunk_id): what is split off
-- has its chunk's ordinal. whole: it is never split. worker: the copier's slot in the
-- owner's process, or below 0 that of another one, minus its worker_id. kept: another
-- process gave it up, and the owner copies it. Cluster times: what was committed up to
-- read_time is in the rows, and nothing newer than read_until. Of a resync: rows that
-- differed were written, rows of no document removed.
CREATE TABLE {meta}.snapshot_chunks (
    chunk_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    ordinal integer NOT NULL DEFAULT 0,
    lower bytea,
    upper bytea,
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'copying', 'done')),
    epoch bigint,
    worker integer,
    read_time numeric(20),
    read_until numeric(20),
    documents bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    done_at timestamptz,
    resync boolean NOT NULL DEFAULT false,
    whole boolean NOT NULL DEFAULT false,
    written bigint NOT NULL DEFAULT 0,
    removed bigint NOT NULL DEFAULT 0,
    kept boolean NOT NULL DEFAULT false
);
CREATE INDEX snapshot_chunks_by_table
    ON {meta}.snapshot_chunks (schema_name, table_name, state, ordinal, chunk_id);

-- left_at: since when a run did not follow it. gone_at: since when its rows are those of
-- a collection that is there no more. What happened to the collection's name up to the
-- cluster time since is behind the rows, or behind the chunks still to be read; identity
-- tells this collection from others that had its name.
-- Counters of a table, moved in the data's transactions. Documents read by copies and
-- resyncs: read = copied + rejected (those). Of its change events:
-- events = applied + superseded + rejected (the others).
CREATE TABLE {meta}.table_state (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    planned boolean NOT NULL DEFAULT false,
    left_at timestamptz,
    copied bigint NOT NULL DEFAULT 0,
    events bigint NOT NULL DEFAULT 0,
    applied bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0,
    superseded bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    rescued bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    gone_at timestamptz,
    since numeric(20),
    identity text NOT NULL DEFAULT '',
    read bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (schema_name, table_name)
);

-- What somebody asks of a schema's owner. verb: "resync". The owner accepts it with the
-- transaction that begins the work, and it is done with the one that ends it.
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

-- Every structure a table has had. definition: the whole table as JSON.
CREATE TABLE {meta}.schema_registry (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    version integer NOT NULL,
    definition jsonb NOT NULL,
    sha256 text NOT NULL,
    change jsonb NOT NULL,
    ddl text NOT NULL,
    safety text NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_name, table_name, version)
);

CREATE TABLE {meta}.sync_runs (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    instance text NOT NULL,
    epoch bigint NOT NULL,
    status text NOT NULL DEFAULT 'running',
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX sync_runs_by_schema ON {meta}.sync_runs (schema_name, run_id);

-- What went wrong, without any value of a document.
CREATE TABLE {meta}.error_log (
    error_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text,
    kind text NOT NULL,
    sqlstate text,
    message text NOT NULL,
    count bigint NOT NULL DEFAULT 1,
    logged_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX error_log_by_schema ON {meta}.error_log (schema_name, error_id);

-- Documents that became no row, whole. fingerprint: SHA-256 of the key text, or of the
-- document where no key can be read, so that a replay never doubles an entry. unseen: it
-- is older than the resync under way, which has not met its document yet.
CREATE TABLE {meta}.dead_letter_queue (
    letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    collection text NOT NULL,
    key text,
    reason text NOT NULL,
    column_name text,
    byte_offset integer,
    sqlstate text,
    constraint_name text,
    raw bytea NOT NULL,
    fingerprint bytea NOT NULL,
    cluster_time numeric(20),
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'resolved', 'discarded')),
    unseen boolean NOT NULL DEFAULT false,
    UNIQUE (schema_name, table_name, reason, fingerprint)
);
CREATE INDEX dead_letter_queue_pending
    ON {meta}.dead_letter_queue (schema_name, table_name, md5(key))
    WHERE state = 'pending';
REVOKE ALL ON {meta}.dead_letter_queue FROM PUBLIC;

-- The rows of deleted documents as they were, where the deletion strategy is "both".
-- key: canonical text, as in the dead letter queue.  cluster_time: of the delete.
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
