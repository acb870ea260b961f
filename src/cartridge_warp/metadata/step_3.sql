-- From layout 2 to 3: the rows of deleted documents.

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
