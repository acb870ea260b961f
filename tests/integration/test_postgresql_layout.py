"""The metadata's layout: made, brought up from every older one, refused when newer."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cartridge_warp.config import DestinationSettings
from cartridge_warp.errors import PreconditionError
from cartridge_warp.metadata import layout
from cartridge_warp.model import ChunkRange
from cartridge_warp.postgresql import status
from postgresql_kit import (
    IDENTITY,
    META,
    TABLE,
    fetch,
    make,
    marker,
    opened,
    position,
)

#: As the version before lanes made it, word for word.
LAYOUT_1 = Path(__file__).with_name("layout_1.sql")


def make_layout_1(uri: str) -> None:
    with psycopg.connect(uri) as connection, connection.cursor() as cur:
        layout.create_schema(cur, META)
        script = sql.SQL(LAYOUT_1.read_text("utf-8"))  # type: ignore[arg-type]
        cur.execute(script.format(meta=sql.Identifier(META)))


def shape(uri: str) -> list[tuple[object, ...]]:
    """Every column, index and constraint of the metadata, whatever its number."""
    columns = fetch(
        uri,
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod),"
        " a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid)"
        " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relnamespace = %s::regnamespace AND a.attnum > 0"
        " AND NOT a.attisdropped",
        META,
    )
    indexes = fetch(
        uri, "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = %s", META
    )
    constraints = fetch(
        uri,
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
        " FROM pg_constraint WHERE connamespace = %s::regnamespace AND contype <> 'n'",
        META,
    )
    grants = fetch(
        uri,
        "SELECT relname, relacl::text FROM pg_class"
        " WHERE relnamespace = %s::regnamespace AND relkind = 'r'",
        META,
    )
    return sorted([*columns, *indexes, *constraints, *grants], key=repr)


def test_an_older_layout_becomes_what_a_new_one_is(postgres_uri: str) -> None:
    make_layout_1(postgres_uri)
    with opened(postgres_uri, TABLE):
        brought_up = shape(postgres_uri)
    assert fetch(postgres_uri, f"SELECT version FROM {META}.layout ORDER BY 1") == [
        (version,) for version in range(1, layout.VERSION + 1)
    ]
    fetch(postgres_uri, f"DROP SCHEMA {META} CASCADE; DROP SCHEMA shop CASCADE")
    with opened(postgres_uri, TABLE):
        assert shape(postgres_uri) == brought_up
    assert fetch(postgres_uri, f"SELECT version FROM {META}.layout") == [
        (layout.VERSION,)
    ]


def test_whoever_asks_for_the_tables_brings_an_older_layout_up(
    postgres_uri: str,
) -> None:
    """``--tables`` does, before the schema is opened."""
    make_layout_1(postgres_uri)
    destination = make(postgres_uri)
    assert destination.tables() == []
    destination.close()
    query = f"SELECT max(version) FROM {META}.layout"
    assert fetch(postgres_uri, query) == [(layout.VERSION,)]


def test_what_an_older_layout_holds_goes_on(postgres_uri: str) -> None:
    make_layout_1(postgres_uri)
    fetch(
        postgres_uri,
        f"""
        INSERT INTO {META}.sync_markers (schema_name, epoch, seq, resume_token,
            cluster_time, replica_set_id, source_version, database)
        VALUES ('shop', 7, 41, 'token-3', {position(3).cluster_time}, 'rs-a', '6.0.5',
            'shop');
        INSERT INTO {META}.table_state (schema_name, table_name, planned)
        VALUES ('shop', 'orders', true);
        INSERT INTO {META}.schema_registry (schema_name, table_name, version,
            definition, sha256, change, ddl, safety, status)
        VALUES ('shop', 'orders', 1, '{{"schema": "shop", "name": "orders",
            "collection": "orders", "key": "string", "columns": []}}', '', '[]', '',
            'SAFE', 'applied');
        INSERT INTO {META}.snapshot_chunks
            (schema_name, table_name, lower, upper, state, epoch, documents)
        VALUES ('shop', 'orders', NULL, 'f', 'done', 7, 5),
            ('shop', 'orders', 'm', NULL, 'copying', 7, 0),
            ('shop', 'orders', 'f', 'h', 'done', 7, 6),
            ('shop', 'orders', 'h', 'm', 'pending', NULL, 0);
        """,
    )
    fetch(
        postgres_uri,
        """
        CREATE SCHEMA shop;
        CREATE TABLE shop.orders (_id text PRIMARY KEY, _cwarp_extra jsonb,
            _cwarp_source_ts timestamptz, _cwarp_synced_at timestamptz);
        """,
    )
    destination = make(postgres_uri)
    assert destination.validate()
    with pytest.raises(PreconditionError, match="layout 1") as caught:
        status.read(DestinationSettings(connection_string=postgres_uri))
    assert "cwarp sync" in caught.value.hint
    assert destination.open(IDENTITY) == [position(3)]
    [state] = destination.tables()
    assert [each.range for each in state.chunks] == [
        ChunkRange(None, b"f"),
        ChunkRange(b"f", b"h"),
        ChunkRange(b"h", b"m"),
        ChunkRange(b"m", None),
    ]
    assert [each.state for each in state.chunks] == ["done", "done", *["pending"] * 2]
    assert (state.documents, state.complete) == (11, False)
    destination.close()
    assert marker(postgres_uri) == (8, 41, b"token-3")
    [shop] = status.read(DestinationSettings(connection_string=postgres_uri))
    assert shop.tables[0].complete_through is None


def test_a_newer_layout_is_refused(postgres_uri: str) -> None:
    with opened(postgres_uri):
        pass
    newer = layout.VERSION + 1
    fetch(postgres_uri, f"INSERT INTO {META}.layout (version) VALUES ({newer})")
    destination = make(postgres_uri)
    with pytest.raises(PreconditionError, match=f"layout {newer}") as caught:
        destination.validate()
    assert "upgrade" in caught.value.hint
    with pytest.raises(PreconditionError, match=f"layout {newer}"):
        destination.open(IDENTITY)
    destination.close()
    assert marker(postgres_uri)[0] == 1
