-- From layout 2 to 3: markers of batch mode, the rows of deleted documents.

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

INSERT INTO {meta}.layout (version) VALUES (3);
