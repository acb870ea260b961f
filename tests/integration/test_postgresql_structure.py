"""Tables and columns: made, evolved, registered, and nobody else's touched."""

from __future__ import annotations

import json
from contextlib import closing

import psycopg
import pytest

from cartridge_warp.config import DestinationSettings
from cartridge_warp.errors import DestinationError, LockTimeout, PreconditionError
from cartridge_warp.model import (
    Batch,
    ChunkRange,
    Column,
    SchemaChange,
    Table,
    TableChanges,
    TableOptions,
)
from cartridge_warp.postgresql import status
from cwarp_core import Reject
from postgresql_kit import (
    IDENTITY,
    META,
    READ,
    TABLE,
    apply,
    encoded,
    fetch,
    make,
    opened,
    order,
    position,
    row,
    upserts,
)

REGISTRY = (
    "SELECT table_name, version, safety, status, ddl"
    f" FROM {META}.schema_registry ORDER BY 1, 2"
)
HOSTILE = [
    'x"; DROP SCHEMA shop CASCADE; --',
    "ctid'",
    "Sélection 🚀",
    "ä" * 31 + "x",
    "percent %s {braces} \\",
    " ",
    "new\nline",
]


def columns(uri: str, table: str) -> list[tuple[str, str, str | None]]:
    """Name, type, collation; in order."""
    return fetch(
        uri,
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), c.collname"
        " FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation"
        " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        table,
    )  # type: ignore[return-value]


def add(name: str, kind: str, safety: str = "SAFE") -> SchemaChange:
    return SchemaChange("add_column", Column(name, (name,), kind), safety)


def test_a_table_has_the_columns_of_its_rows(postgres_uri: str) -> None:
    kinds = [
        ("flag", "boolean", "bool"),
        ("small", "integer", "int"),
        ("big", "bigint", "long"),
        ("real", "double precision", "double"),
        ("exact", "numeric", "decimal"),
        ("words", "text", "string"),
        ("ref", "text", "objectId"),
        ("uid", "uuid", "uuid"),
        ("blob", "bytea", "binData"),
        ("at", "timestamptz", "date"),
        ("tree", "jsonb", "array"),
        ("tree_text", "json", "array"),
        ("tree_plain", "jsontext", "array"),
    ]
    table = Table(
        "shop",
        "all",
        "all",
        "objectId",
        tuple(Column(name, (name,), kind, native) for name, kind, native in kinds),
    )
    with opened(postgres_uri, table):
        found = columns(postgres_uri, "shop.all")
    assert found == [
        ("_id", "text", "C"),
        ("flag", "boolean", None),
        ("small", "integer", None),
        ("big", "bigint", None),
        ("real", "double precision", None),
        ("exact", "numeric", None),
        ("words", "text", "default"),
        ("ref", "text", "C"),
        ("uid", "uuid", None),
        ("blob", "bytea", None),
        ("at", "timestamp with time zone", None),
        ("tree", "jsonb", None),
        ("tree_text", "json", None),
        ("tree_plain", "text", "default"),
        ("_cwarp_source_ts", "timestamp with time zone", None),
        ("_cwarp_extra", "jsonb", None),
        ("_cwarp_synced_at", "timestamp with time zone", None),
    ]


def test_metadata_columns_can_be_left_out(postgres_uri: str) -> None:
    options = TableOptions(source_ts=False, synced_at=False)
    table = Table("shop", "bare", "bare", "bigint", (), options)
    with opened(postgres_uri, table) as destination:
        for second in (2, 3):
            batch = Batch(
                position(second), (upserts(row(bytes(8), None), table=table),)
            )
            apply(destination, batch)
    assert columns(postgres_uri, "shop.bare") == [
        ("_id", "bigint", None),
        ("_cwarp_extra", "jsonb", None),
    ]
    assert fetch(postgres_uri, "SELECT * FROM shop.bare") == [(0, None)]


def test_the_registry_gives_the_table_back(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE):
        pass
    with opened(postgres_uri) as destination:
        [state] = destination.tables()
    assert state.table == TABLE
    assert (state.planned, state.complete, state.documents) == (False, False, 0)
    [(name, version, safety, status, ddl)] = fetch(postgres_uri, REGISTRY)
    assert (name, version, safety, status) == ("orders", 1, "SAFE", "applied")
    assert ddl.startswith('CREATE TABLE "shop"."orders" ("_id" text COLLATE "C"')


def test_ensure_twice_is_once(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE, TABLE) as destination:
        apply(destination, Batch(position(2), (upserts(order("a", 1)),)))
        destination.ensure(TABLE)
        assert len(destination.tables()) == 1
    assert fetch(postgres_uri, "SELECT _id FROM shop.orders") == [("a",)]


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE shop.orders (mine int)",
        "CREATE VIEW shop.orders AS SELECT 1 AS mine",
    ],
)
def test_somebody_elses_table_is_refused(postgres_uri: str, theirs: str) -> None:
    fetch(postgres_uri, "CREATE SCHEMA shop")
    fetch(postgres_uri, theirs)
    with opened(postgres_uri) as destination:
        with pytest.raises(PreconditionError, match=r"shop\.orders exists already"):
            destination.ensure(TABLE)
        assert destination.tables() == []
    assert columns(postgres_uri, "shop.orders") == [("mine", "integer", None)]


def test_two_collections_never_share_a_table(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        other = Table("shop", "orders", "Orders", "string", ())
        with pytest.raises(PreconditionError, match="holds collection orders"):
            destination.ensure(other)


def test_a_new_column_and_its_version_come_together(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        apply(destination, Batch(position(2), (upserts(order("a", 1)),)))
        changes = [add("x", "text"), add("y", "jsonb", "RISKY")]
        after = destination.evolve(TABLE, changes)
        assert after.version == 2
        assert [column.name for column in after.columns] == ["n", "note", "x", "y"]
        assert destination.evolve(TABLE, changes) == after
        assert destination.evolve(after, []) is after
        wide = row(b"b", bytes(8), None, b"new", b'\x01{"k": 1}', None, None)
        batch = Batch(
            position(3), (TableChanges(after, (encoded([wide]),), ("a",), 2),)
        )
        apply(destination, batch)
        assert [state.table for state in destination.tables()] == [after]
        with pytest.raises(DestinationError, match="not at version 1"):
            destination.evolve(TABLE, [add("z", "text")])
    assert fetch(postgres_uri, "SELECT _id, x, y FROM shop.orders") == [
        ("b", "new", {"k": 1})
    ]
    assert [tuple(entry[1:4]) for entry in fetch(postgres_uri, REGISTRY)] == [
        (1, "SAFE", "applied"),
        (2, "RISKY", "applied"),
    ]


def test_a_locked_table_changes_nothing_and_the_data_goes_on(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        with psycopg.connect(postgres_uri) as reader:
            reader.execute("SELECT * FROM shop.orders")
            with pytest.raises(LockTimeout) as caught:
                destination.evolve(TABLE, [add("x", "text")])
            assert caught.value.retryable
            apply(destination, Batch(position(2), (upserts(order("a", 1)),)))
        assert [state.table for state in destination.tables()] == [TABLE]
        assert "x" not in [name for name, *_ in columns(postgres_uri, "shop.orders")]
        assert destination.evolve(TABLE, [add("x", "text")]).version == 2


def test_chunks_are_planned_once(postgres_uri: str) -> None:
    halves = [ChunkRange(None, b"m"), ChunkRange(b"m", None)]
    with opened(postgres_uri, TABLE) as destination:
        planned = destination.plan(TABLE, halves)
        assert [(each.range, each.state) for each in planned] == [
            (halves[0], "pending"),
            (halves[1], "pending"),
        ]
        assert destination.plan(TABLE, [ChunkRange(None, None)]) == planned
        [state] = destination.tables()
        assert state.chunks == tuple(planned)
        assert (state.planned, state.complete) == (True, False)
        stranger = Table("shop", "stranger", "stranger", "string", ())
        with pytest.raises(DestinationError, match="has not been created"):
            destination.plan(stranger, halves)
    chunks = fetch(
        postgres_uri,
        f"SELECT lower, upper, state FROM {META}.snapshot_chunks ORDER BY chunk_id",
    )
    assert chunks == [(None, b"m", "pending"), (b"m", None, "pending")]


def test_a_table_without_chunks_is_complete(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        destination.plan(TABLE, [])
        [state] = destination.tables()
    assert (state.planned, state.complete) == (True, True)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_ordinary_names(postgres_uri: str, name: str) -> None:
    table = Table(name, name, name, "string", (Column(name, (name,), "text"),))
    meta = name[::-1]
    with closing(
        make(postgres_uri, schema=name, database=name, meta=meta)
    ) as destination:
        destination.validate()
        assert destination.open(IDENTITY) == []
        destination.begin(position(1), 1)
        destination.ensure(table)
        destination.plan(table, [ChunkRange(None, None)])
        copier = destination.copier()
        chunk = copier.claim(table)
        assert chunk is not None
        copier.begin(chunk, table, READ)
        copier.write(encoded([row(b"a", b"1", None, None)]))
        copier.commit()
        copier.close()
        poison = Reject(b"x", "misfit", -1, "b", 0)
        bad = TableChanges(table, (encoded(rejects=[poison]),), (), 1)
        apply(destination, Batch(position(2), (bad,)))
        changes = TableChanges(
            table, (encoded([row(b"b", b"2", None, None)]),), (name, "a")
        )
        apply(destination, Batch(position(2), (changes,)))
        after = destination.evolve(table, [add(f"{name[:20]}2", "text")])
        assert [state.table for state in destination.tables()] == [after]
    settings = DestinationSettings(connection_string=postgres_uri, metadata_schema=meta)
    [[shown]] = [each.tables for each in status.read(settings)]
    assert (shown.name, shown.collection, shown.version) == (name, name, 2)
    quoted = '"' + name.replace('"', '""') + '"'
    with psycopg.connect(postgres_uri) as connection:
        found = connection.execute(
            f"SELECT _id, {quoted} FROM {quoted}.{quoted}".encode()
        ).fetchall()
    assert found == [("b", "2")]


def test_a_name_postgresql_would_cut_is_refused(postgres_uri: str) -> None:
    table = Table("shop", "x" * 64, "x", "string", ())
    with opened(postgres_uri) as destination:
        with pytest.raises(DestinationError, match="63 bytes"):
            destination.ensure(table)


def test_the_definition_is_readable_json(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE):
        pass
    [(definition,)] = fetch(
        postgres_uri, f"SELECT definition::text FROM {META}.schema_registry"
    )
    assert json.loads(definition)["columns"][0]["path"] == ["n"]
