"""Writes down what happens to every row, for whoever asks why one is not as it should.

Beside the audit, in its schema; tables are met in the moment they are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

_INSTALL = """
CREATE TABLE audit.rows (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    place text NOT NULL, key text, op text NOT NULL, row text,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    who text NOT NULL DEFAULT
        current_setting('application_name') || ' ' || pg_backend_pid(),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON audit.rows (place, key);
CREATE FUNCTION audit.note_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
    IF before->>'_id' IS DISTINCT FROM after->>'_id' AND before IS NOT NULL THEN
        INSERT INTO audit.rows (place, key, op)
        VALUES (TG_RELID::regclass, before->>'_id', 'DELETE');
    END IF;
    IF after IS NOT NULL THEN
        INSERT INTO audit.rows (place, key, op, row)
        VALUES (TG_RELID::regclass, after->>'_id', TG_OP, left(after::text, 600));
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION audit.note_end() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO audit.rows (place, op) VALUES (TG_RELID::regclass, TG_OP);
    RETURN NULL;
END $$;
CREATE FUNCTION audit.follow() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT * FROM pg_event_trigger_ddl_commands()
    WHERE schema_name IN ({schemas}) AND command_tag = 'CREATE TABLE' LOOP
        INSERT INTO audit.rows (place, op) VALUES (made.object_identity, 'CREATE');
        EXECUTE format('CREATE TRIGGER trace AFTER INSERT OR UPDATE OR DELETE ON %s'
            ' FOR EACH ROW EXECUTE FUNCTION audit.note_row()', made.object_identity);
        EXECUTE format('CREATE TRIGGER trace_end AFTER TRUNCATE ON %s'
            ' FOR EACH STATEMENT EXECUTE FUNCTION audit.note_end()',
            made.object_identity);
    END LOOP;
END $$;
CREATE EVENT TRIGGER trace ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
EXECUTE FUNCTION audit.follow();
"""

#: Lines of one row's story, at most.
_LINES = 12


def install(uri: str, schemas: Iterable[str]) -> None:
    """After the audit, in a database where the product has not been yet."""
    names = ", ".join(f"'{name}'" for name in schemas)
    with psycopg.connect(uri) as connection:
        connection.execute(_INSTALL.replace("{schemas}", names).encode())


def story(connection: psycopg.Connection[Any], table: str, key: str) -> list[str]:
    """The last that happened to a row and to its table. table: with its schema."""
    rows = connection.execute(
        "SELECT to_char(at, 'HH24:MI:SS.MS'), op, who, xid::text, row FROM audit.rows"
        " WHERE place = %s AND (key = %s OR key IS NULL) ORDER BY id DESC LIMIT %s",
        (table, key, _LINES),
    ).fetchall()
    return [
        f"{at} {op} by {who} in {xid}: {row or ''}" for at, op, who, xid, row in rows
    ][::-1]


def chunks(connection: psycopg.Connection[Any], schema: str, table: str) -> list[str]:
    """What the metadata says of a table and its chunks."""
    queries = (
        "SELECT to_jsonb(t)::text FROM cartridge_warp_metadata.table_state t",
        "SELECT to_jsonb(t)::text FROM cartridge_warp_metadata.snapshot_chunks t",
    )
    where = " WHERE schema_name = %s AND table_name = %s"
    return [
        text
        for query in queries
        for (text,) in connection.execute((query + where).encode(), (schema, table))
    ]
