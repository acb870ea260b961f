"""Rows of the compiled core, through staging and straight, into a real table."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import bson
import pytest

from cartridge_warp.model import (
    Batch,
    ChunkRange,
    Column,
    Table,
    TableChanges,
    TableOptions,
)
from cartridge_warp.rows import plan_of
from cwarp_core import EncodedBatch, key_text
from postgresql_kit import READ, apply, fetch, make, opened, position

ID = bson.ObjectId("0123456789abcdef01234567")
WHEN = datetime.datetime(2024, 5, 6, 7, 8, 9, 123000, datetime.UTC)
DOCUMENT = {
    "_id": ID,
    "flag": True,
    "small": 1,
    "big": bson.Int64(1 << 40),
    "real": 0.5,
    "exact": bson.Decimal128("1.50"),
    "words": "ä",
    "ref": ID,
    "uid": bson.Binary.from_uuid(uuid.UUID(int=7)),
    "blob": b"\0\1",
    "at": WHEN,
    "tree": [1, {"a": None}],
    "deep": {"er": "x"},
    "loose": "kept",
}
KINDS = [
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
]
TABLE = Table(
    "shop",
    "all",
    "all",
    "objectId",
    (
        *(Column(name, (name,), kind, native) for name, kind, native in KINDS),
        Column("deep_er", ("deep", "er"), "text", "string"),
    ),
)


def encode(table: Table, *documents: dict[str, Any]) -> EncodedBatch:
    destination = make("postgresql://unused/db")
    encoder = destination.encoder(table)
    for document in documents:
        encoder.add_document(bson.encode(document), 7 << 32 | 5)
    return encoder.take()


@pytest.mark.parametrize("way", ["stream", "copy"])
def test_every_type_of_column_arrives(postgres_uri: str, way: str) -> None:
    batch = encode(TABLE, DOCUMENT)
    with opened(postgres_uri, TABLE) as destination:
        if way == "stream":
            changes = TableChanges(TABLE, (batch,), events=1)
            apply(destination, Batch(position(2), (changes,)))
        else:
            destination.plan(TABLE, [ChunkRange(None, None)])
            copier = destination.copier()
            chunk = copier.claim(TABLE)
            assert chunk is not None
            copier.begin(chunk, TABLE, READ)
            copier.write(batch)
            copier.commit()
            copier.close()
    [row] = fetch(postgres_uri, "SELECT * FROM shop.all")
    assert row[:-3] == (
        str(ID),
        True,
        1,
        1 << 40,
        0.5,
        decimal.Decimal("1.50"),
        "ä",
        str(ID),
        uuid.UUID(int=7),
        b"\0\1",
        WHEN,
        [1, {"a": None}],
        "x",
    )
    assert row[-3].timestamp() == 7.000005
    assert row[-2] == {"loose": "kept"}


def test_a_row_is_deleted_by_the_cores_key_text(postgres_uri: str) -> None:
    with opened(postgres_uri, TABLE) as destination:
        changes = TableChanges(TABLE, (encode(TABLE, DOCUMENT),), events=1)
        apply(destination, Batch(position(2), (changes,)))
        text = key_text(b"\x07" + ID.binary, "objectId")
        apply(
            destination,
            Batch(position(3), (TableChanges(TABLE, deletes=(text,), events=1),)),
        )
    assert fetch(postgres_uri, "SELECT _id FROM shop.all") == []


def test_the_plan_is_the_tables() -> None:
    options = TableOptions(max_document_depth=5, source_ts=False)
    table = Table("s", "t", "t", "numeric", TABLE.columns, options)
    plan = plan_of(table)
    assert (plan.key, plan.max_depth) == ("numeric", 5)
    assert plan.width == len(TABLE.columns) + 2
    assert [column.path for column in plan.columns] == [
        column.path for column in TABLE.columns
    ]
