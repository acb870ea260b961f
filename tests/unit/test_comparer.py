"""The comparer finds every planted fault, and nothing in a table that is right.

The tables are made by hand, so that these tests say nothing about the product.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import bson
import psycopg
import pytest
from bson import Binary, Code, Decimal128, Int64, ObjectId, Regex, Timestamp
from pymongo.database import Database

from tests.comparer import Difference, compare

FIRST, SECOND, THIRD = (ObjectId(b"\0" * 11 + bytes([n])) for n in (1, 2, 3))

THINGS = [
    {
        "_id": FIRST,
        "name": "snow \u2603",
        "count": 5,
        "big": Int64(2**53 + 1),
        "ratio": -0.0,
        "price": Decimal128("1.10"),
        "at": datetime(2020, 1, 2, 3, 4, 5, 678000, UTC),
        "ref": uuid.UUID(int=7),
        "blob": b"\0\xff",
        "ok": True,
        "address": {"city": "Oslo", "geo": {"point": {"n": 5, "x": 5.0, "z": -0.0}}},
        "tags": [1, 2.5, "x", None, Regex("a", "i"), Code("f()", {"a": Int64(1)})],
    },
    {
        "_id": SECOND,
        "name": 42,
        "count": 5.0,
        "ratio": 7,
        "price": -0.0,
        "at": Timestamp(1_600_000_000, 3),
        "blob": Binary(b"\1", 128),
        "address": {},
        "new.field": [ObjectId(b"\0" * 12)],
        "nothing": None,
    },
    {"_id": THIRD, "count": 6, "price": 0.1},
]
THINGS_SQL = """
    CREATE TABLE things (
        _id text COLLATE "C" PRIMARY KEY, name text, count integer, big bigint,
        ratio double precision, price numeric, at timestamptz, ref uuid, blob bytea,
        ok boolean, address_city text, address_geo_point jsonb, tags jsonb,
        _cwarp_source_ts timestamptz, _cwarp_extra jsonb);
    INSERT INTO things VALUES
    ('000000000000000000000001', 'snow \u2603', 5, 9007199254740993, '-0', 1.10,
     '2020-01-02 03:04:05.678Z', '00000000-0000-0000-0000-000000000007', '\\x00ff',
     true, 'Oslo', '{"n": 5, "x": 5.0, "z": {"$numberDouble": "-0.0"}}',
     '[1, 2.5, "x", null, {"$regularExpression": {"pattern": "a", "options": "i"}},
       {"$code": "f()", "$scope": {"a": {"$numberLong": "1"}}}]', now(), NULL),
    ('000000000000000000000002', '42', NULL, NULL, 7, 0, '2020-09-13 12:26:40.000003Z',
     NULL, '\\x01', NULL, NULL, NULL, NULL, now(),
     '{"name": {"$numberInt": "42"}, "count": {"$numberDouble": "5.0"},
       "price": {"$numberDouble": "-0.0"}, "address": {},
       "at": {"$timestamp": {"t": 1600000000, "i": 3}},
       "blob": {"$binary": {"base64": "AQ==", "subType": "80"}},
       "new\\\\.field": [{"$oid": "000000000000000000000000"}]}'),
    ('000000000000000000000003', NULL, 6, NULL, NULL, 0.1, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, now(), '{"price": {"$numberDouble": "0.1"}}')
"""
THINGS_MAP = {
    "key": "objectId",
    "columns": [
        {"name": "name", "path": ["name"], "type": "text", "native": "string"},
        {"name": "count", "path": ["count"], "type": "integer", "native": "int"},
        {"name": "big", "path": ["big"], "type": "bigint", "native": "long"},
        {
            "name": "ratio",
            "path": ["ratio"],
            "type": "double precision",
            "native": "double",
        },
        {"name": "price", "path": ["price"], "type": "numeric", "native": "decimal"},
        {"name": "at", "path": ["at"], "type": "timestamptz", "native": "date"},
        {"name": "ref", "path": ["ref"], "type": "uuid", "native": "uuid"},
        {"name": "blob", "path": ["blob"], "type": "bytea", "native": "binData"},
        {"name": "ok", "path": ["ok"], "type": "boolean", "native": "bool"},
        {
            "name": "address_city",
            "path": ["address", "city"],
            "type": "text",
            "native": "string",
        },
        {
            "name": "address_geo_point",
            "path": ["address", "geo", "point"],
            "type": "jsonb",
            "native": "object",
        },
        {"name": "tags", "path": ["tags"], "type": "jsonb", "native": "array"},
    ],
    "options": {"max_document_depth": 3},
}
MIXED: list[dict[str, Any]] = [
    {"_id": {"a": 1, "b": 2.5}},
    {"_id": {"b": 2, "a": 1}},
    {"_id": 1.0},
    {"_id": "1"},
    {"_id": float("nan")},
    {"_id": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)},
]
MIXED_SQL = """
    CREATE TABLE mixed (_id text COLLATE "C" PRIMARY KEY, _cwarp_extra jsonb);
    INSERT INTO mixed (_id) VALUES ('{"a":1,"b":2.5}'), ('{"b":2,"a":1}'), ('1'),
    ('"1"'), ('{"$numberDouble":"NaN"}'), ('{"$date":{"$numberLong":"1000"}}')
"""
MIXED_MAP = {"key": "canonical", "columns": []}
#: One row of a document, and one of a document that was deleted.
KEPT = [{"_id": "alive"}]
KEPT_SQL = """
    CREATE TABLE kept (_id text COLLATE "C" PRIMARY KEY, _cwarp_extra jsonb,
        gone boolean NOT NULL DEFAULT false, deleted_at timestamptz);
    INSERT INTO kept (_id, gone, deleted_at)
    VALUES ('alive', false, NULL), ('dead', true, now())
"""
KEPT_MAP = {"key": "string", "columns": [], "deleted_column": "gone"}
TABLES = {"things": THINGS_MAP, "mixed": MIXED_MAP, "kept": KEPT_MAP}

Judge = Callable[[str], list[Difference]]


@pytest.fixture
def judge(mongo_db: Database[dict[str, Any]], postgres: psycopg.Connection) -> Judge:
    return lambda table: compare(
        mongo_db[table], postgres, "public", table, TABLES[table]
    )


@pytest.fixture
def postgres(mongo_db: Database[dict[str, Any]], postgres_uri: str) -> Any:
    """Some collections, and tables that are equal to them."""
    mongo_db["things"].insert_many(THINGS)
    mongo_db["mixed"].insert_many(MIXED)
    mongo_db["kept"].insert_many(KEPT)
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(THINGS_SQL)
        connection.execute(MIXED_SQL)
        connection.execute(KEPT_SQL)
        yield connection


@pytest.mark.parametrize("table", sorted(TABLES))
def test_equal_table_has_no_difference(judge: Judge, table: str) -> None:
    assert judge(table) == []


PLANTED = {
    "missing row": ("DELETE FROM things WHERE count = 5", "missing row", "_id"),
    "extra row": ("INSERT INTO things (_id) VALUES ('3')", "extra row", "_id"),
    "changed byte, text": (
        "UPDATE things SET name = 'snow \u2604' WHERE count = 5",
        "value",
        "name",
    ),
    "changed byte, bytea": (
        r"UPDATE things SET blob = '\x00fe' WHERE count = 5",
        "value",
        "blob",
    ),
    "changed digit, bigint": (
        "UPDATE things SET big = big - 1 WHERE big > 0",
        "value",
        "big",
    ),
    "changed millisecond": (
        "UPDATE things SET at = at + interval '1 ms' WHERE count = 5",
        "value",
        "at",
    ),
    "changed bool": ("UPDATE things SET ok = false WHERE ok", "value", "ok"),
    "lost scale": (
        "UPDATE things SET price = 1.1 WHERE price = 1.1",
        "value",
        "price",
    ),
    "int -> double in jsonb": (
        "UPDATE things SET address_geo_point = jsonb_set(address_geo_point, '{n}',"
        " '5.0') WHERE count = 5",
        "value",
        "address_geo_point",
    ),
    "double -> int in jsonb": (
        "UPDATE things SET address_geo_point = jsonb_set(address_geo_point, '{x}',"
        " '5') WHERE count = 5",
        "value",
        "address_geo_point",
    ),
    "double -> int in a column": (
        "UPDATE things SET count = 5, _cwarp_extra = _cwarp_extra - 'count'"
        " WHERE count IS NULL",
        "value",
        "count",
    ),
    "number -> string": (
        "UPDATE things SET _cwarp_extra = _cwarp_extra - 'name' WHERE name = '42'",
        "value",
        "name",
    ),
    "-0.0 -> 0.0": (
        "UPDATE things SET ratio = 0 WHERE ratio = 0",
        "value",
        "ratio",
    ),
    "-0.0 -> 0.0 in jsonb": (
        "UPDATE things SET address_geo_point = jsonb_set(address_geo_point, '{z}',"
        " '0.0') WHERE count = 5",
        "value",
        "address_geo_point",
    ),
    "-0.0 -> 0.0 beside a column": (
        "UPDATE things SET _cwarp_extra = jsonb_set(_cwarp_extra,"
        " '{price,$numberDouble}', '\"0.0\"') WHERE price = 0",
        "value",
        "_cwarp_extra.price",
    ),
    "the exact double beside its digits": (
        "UPDATE things SET _cwarp_extra = NULL WHERE price = 0.1",
        "value",
        "price",
    ),
    "reordered array": (
        "UPDATE things SET tags = jsonb_set(jsonb_set(tags, '{0}', '2.5'), '{1}', '1')"
        " WHERE count = 5",
        "value",
        "tags",
    ),
    "lost field": (
        r"UPDATE things SET _cwarp_extra = _cwarp_extra - 'new\.field'"
        " WHERE name = '42'",
        "value",
        r"_cwarp_extra.new\.field",
    ),
    "lost empty document": (
        "UPDATE things SET _cwarp_extra = _cwarp_extra - 'address' WHERE name = '42'",
        "value",
        "_cwarp_extra.address",
    ),
    "value from nowhere": (
        "UPDATE things SET address_city = 'Bergen' WHERE name = '42'",
        "surplus",
        "address_city",
    ),
    "rescued value from nowhere": (
        "UPDATE things SET _cwarp_extra = '{\"ghost\": 1}' WHERE count = 5",
        "surplus",
        "_cwarp_extra.ghost",
    ),
    "column of another type": (
        "ALTER TABLE things ALTER big TYPE numeric",
        "column",
        "big",
    ),
    "column of nobody": ("ALTER TABLE things ADD ghost text", "column", "ghost"),
}


@pytest.mark.parametrize("fault", sorted(PLANTED))
def test_fault_in_the_table_is_found(
    judge: Judge, postgres: psycopg.Connection, fault: str
) -> None:
    statement, kind, column = PLANTED[fault]
    changed = postgres.execute(statement.encode())
    assert changed.rowcount in (1, -1), "the fault must be planted once"
    assert [(each.kind, each.column) for each in judge("things")] == [(kind, column)]


@pytest.mark.parametrize(
    ("statement", "kind", "column"),
    [
        (
            "UPDATE kept SET gone = true, deleted_at = now() WHERE NOT gone",
            "missing row",
            "_id",
        ),
        (
            "UPDATE kept SET gone = false, deleted_at = NULL WHERE gone",
            "extra row",
            "_id",
        ),
        ("DELETE FROM kept WHERE NOT gone", "missing row", "_id"),
        ("UPDATE kept SET deleted_at = NULL WHERE gone", "mark", "deleted_at"),
        ("UPDATE kept SET deleted_at = now() WHERE NOT gone", "mark", "deleted_at"),
        ("ALTER TABLE kept DROP gone", "column", "gone"),
        ("ALTER TABLE kept ALTER deleted_at TYPE date", "column", "deleted_at"),
    ],
)
def test_rows_that_are_marked_as_deleted(
    judge: Judge, postgres: psycopg.Connection, statement: str, kind: str, column: str
) -> None:
    postgres.execute(statement.encode())
    assert [(each.kind, each.column) for each in judge("kept")] == [(kind, column)]


@pytest.mark.parametrize(
    ("found", "planted"),
    [('{"a":1,"b":2.5}', '{"b":2.5,"a":1}'), ("1", '{"$numberLong":"1"}')],
    ids=["reordered compound id", "another id of the same value"],
)
def test_changed_id_is_a_missing_and_an_extra_row(
    judge: Judge, postgres: psycopg.Connection, found: str, planted: str
) -> None:
    postgres.execute("UPDATE mixed SET _id = %s WHERE _id = %s", (planted, found))
    assert [(each.kind, each.key) for each in judge("mixed")] == [
        ("missing row", found),
        ("extra row", planted),
    ]


@pytest.mark.parametrize(
    ("change", "kind", "column"),
    [
        ({"$set": {"count": 5.0}}, "value", "count"),
        ({"$set": {"ratio": 0.0}}, "value", "ratio"),
        ({"$set": {"name": "snow"}}, "value", "name"),
        ({"$set": {"price": Decimal128(Decimal("1.1"))}}, "value", "price"),
        ({"$set": {"tags.0": Int64(2)}}, "value", "tags"),
        ({"$unset": {"ok": ""}}, "surplus", "ok"),
        ({"$set": {"more": 1}}, "value", "_cwarp_extra.more"),
        ({"$set": {"address.city": bson.MinKey()}}, "value", "address_city"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_change_in_the_collection_is_found(
    judge: Judge,
    mongo_db: Database[dict[str, Any]],
    change: dict[str, Any],
    kind: str,
    column: str,
) -> None:
    assert mongo_db["things"].update_one({"_id": FIRST}, change).modified_count == 1
    assert [(each.kind, each.column) for each in judge("things")] == [(kind, column)]


def test_definition_comes_from_the_registry(
    mongo_db: Database[dict[str, Any]], postgres: psycopg.Connection
) -> None:
    """The newest version in force, whatever is only proposed."""
    postgres.execute(
        """
        CREATE SCHEMA cartridge_warp_metadata;
        CREATE TABLE cartridge_warp_metadata.schema_registry (
            schema_name text, table_name text, version integer, definition jsonb,
            status text);
        """
    )
    for version, status, definition in (
        (1, "applied", THINGS_MAP | {"columns": []}),
        (2, "applied", THINGS_MAP),
        (3, "proposed", MIXED_MAP),
    ):
        postgres.execute(
            "INSERT INTO cartridge_warp_metadata.schema_registry"
            " VALUES ('public', 'things', %s, %s, %s)",
            (version, json.dumps(definition), status),
        )
    assert compare(mongo_db["things"], postgres, "public", "things") == []
    with pytest.raises(LookupError, match="mixed"):
        compare(mongo_db["mixed"], postgres, "public", "mixed")
