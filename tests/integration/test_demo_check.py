"""The demo's own check finds every kind of difference, and none where there is none."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    Decimal128,
    Int64,
    MaxKey,
    ObjectId,
    Regex,
    Timestamp,
)
from psycopg import sql
from pymongo.database import Database

from cartridge_warp import embedded
from cartridge_warp.demo import check, mapping
from cartridge_warp.demo.worker import METADATA
from tests.command import sync

Document = dict[str, Any]
MOMENT = datetime(2024, 2, 29, 12, 30, 15, 123000, tzinfo=UTC)

ZOO: list[Document] = [
    {
        "_id": {"b": 1, "a": [ObjectId("5ca4bbcea2dd94ee58162a68")]},
        "text": "plain",
        "number": 1,
        "whole": Int64(2**40),
        "half": 0.1,
        "exact": Decimal128("12345678901234567890.10"),
        "flag": True,
        "moment": MOMENT,
        "stamp": Timestamp(1700000000, 7),
        "oid": ObjectId("5ca4bbcea2dd94ee58162a68"),
        "uuid": uuid.UUID(int=7),
        "bytes": Binary(b"\x00\xff", 0),
        "regex": Regex("^a", "i"),
        "code": Code("f()"),
        "nested": {"deep": {"deeper": {"deepest": 1}}, "empty": {}},
        "list": [1, 2.5, "x", None, {"y": MOMENT}, Int64(3), -0.0, float("nan")],
        "a.b": {"c.d": 1},
    },
    {"_id": {"a": [1], "b": 1}, "text": 5, "number": "five", "flag": "no"},
    {"_id": 2.5, "half": -0.0, "exact": 1, "whole": 1, "moment": "later"},
    {"_id": Int64(3), "half": float("inf"), "text": "nul\0", "list": "no list"},
    {"_id": "3", "number": None, "nested": 1, "moment": DatetimeMS(-(10**15))},
    {"_id": True, "text": MOMENT, "oid": "a text", "regex": MaxKey()},
    {"_id": MOMENT, "bytes": Binary(b"x", 5), "uuid": Binary(b"y", 128)},
    {"_id": uuid.UUID(int=9)},
]


@pytest.fixture
def zoo(
    mongo_db: Database[Document], mongo_uri: str, postgres_uri: str
) -> Iterator[tuple[Database[Document], psycopg.Connection]]:
    mongo_db.zoo.insert_many(ZOO)
    mongo_db.plain.insert_many(
        {
            "_id": n,
            "half": n / 3,
            "text": str(n),
            "amount": Int64(n) if n % 2 else n / 5,
        }
        for n in range(50)
    )
    source = embedded.with_database(mongo_uri, mongo_db.name)
    ended = sync(source, postgres_uri, "--schema", "zoo", "--once")
    assert ended.code == 0, ended.err
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        yield mongo_db, connection


def compared(
    zoo: tuple[Database[Document], psycopg.Connection], name: str
) -> check.Result:
    database, connection = zoo
    found = mapping.read(connection, METADATA, "zoo")
    return check.compare(database[name], connection, found.get(name))


def test_equal_tables_are_equal(
    zoo: tuple[Database[Document], psycopg.Connection],
) -> None:
    for name, number in (("zoo", len(ZOO)), ("plain", 50)):
        result = compared(zoo, name)
        assert result.examples == ()
        assert result == (name, number, number, 0, ())


PLANTS = {
    "a missing row": "DELETE FROM zoo.plain WHERE _id = 7",
    "a row too many": "INSERT INTO zoo.plain (_id) VALUES (99)",
    "another text": "UPDATE zoo.plain SET text = '7 ' WHERE _id = 7",
    "a rounded double": "UPDATE zoo.plain SET half = half::numeric(9, 6) WHERE _id = 7",
    "a negative zero": "UPDATE zoo.plain SET half = '-0' WHERE _id = 0",
    "a double of which only digits are left": "UPDATE zoo.plain SET _cwarp_extra = NULL"
    " WHERE _id = 8",
    "a NULL": "UPDATE zoo.plain SET half = NULL WHERE _id = 7",
    "a surplus value": "UPDATE zoo.plain SET _cwarp_extra = '{\"x\": 1}' WHERE _id = 7",
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_planted_difference_is_found(
    zoo: tuple[Database[Document], psycopg.Connection], plant: str
) -> None:
    assert zoo[1].execute(sql.SQL(plant)).rowcount == 1
    result = compared(zoo, "plain")
    assert result.differences == 1
    assert result.examples[0].collection == "plain"


def test_what_was_kept_beside_must_stay(
    zoo: tuple[Database[Document], psycopg.Connection],
) -> None:
    kept = zoo[1].execute(
        "UPDATE zoo.zoo SET _cwarp_extra = NULL WHERE _cwarp_extra IS NOT NULL"
    )
    result = compared(zoo, "zoo")
    assert result.differences >= kept.rowcount > 0


def test_another_order_in_a_compound_id_is_another_id(
    zoo: tuple[Database[Document], psycopg.Connection],
) -> None:
    swapped = zoo[1].execute(
        'UPDATE zoo.zoo SET _id = \'{"b":1,"a":[1]}\' WHERE _id = \'{"a":[1],"b":1}\''
    )
    assert swapped.rowcount == 1
    result = compared(zoo, "zoo")
    assert sorted(each.problem for each in result.examples) == [
        "its row is missing",
        "the row has no document",
    ]


def test_a_collection_without_a_table(
    zoo: tuple[Database[Document], psycopg.Connection],
) -> None:
    zoo[0].unknown.insert_many([{"_id": 1}, {"_id": 2}])
    assert compared(zoo, "unknown")[:4] == ("unknown", 2, 0, 2)
