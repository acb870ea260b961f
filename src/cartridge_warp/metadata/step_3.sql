-- From layout 2 to 3: markers of batch mode.

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

INSERT INTO {meta}.layout (version) VALUES (3);
