"""Cells of the binary format, read in Python, are what PostgreSQL means by them."""

from __future__ import annotations

import random
import struct
import uuid
from decimal import Decimal

import bson
import pytest

from cartridge_warp.model import Batch, Column, Table, TableChanges, TableOptions
from cartridge_warp.rows import cells_of, encoder_of, rows_of, value_of
from cwarp_core import key_text
from mongodb_kit import element
from postgresql_kit import apply, fetch, opened, position


def numbers() -> list[str]:
    rng = random.Random(7)
    chosen = ["0", "0.00", "-0.5", "10000", "9999.9999", "1e-20", "-1e30", "0.00010"]
    for _ in range(300):
        digits = "".join(rng.choices("0123456789", k=rng.randint(1, 45)))
        exponent = rng.randint(-60, 30)
        chosen.append(f"{rng.choice(('', '-'))}{digits}e{exponent}")
    return [*chosen, "NaN", "Infinity", "-Infinity"]


def test_a_numeric_is_read_digit_for_digit(postgres_uri: str) -> None:
    asked = "SELECT n::text, numeric_send(n) FROM unnest(%s::numeric[]) AS n"
    found = fetch(postgres_uri, asked, numbers())
    assert len(found) > 300
    for text, raw in found:
        value = value_of("numeric", raw)
        assert isinstance(value, Decimal)
        assert f"{value:f}" == text


def test_a_timestamp_is_read_to_the_microsecond(postgres_uri: str) -> None:
    rng = random.Random(7)
    first, last = -211_813_488_000_000_000, 9_223_371_331_200_000_000 - 1
    moments = [first, last, 0, -1, 252_455_615_999_999_999, 252_455_616_000_000_000]
    moments += [rng.randint(first, last) for _ in range(300)]
    asked = """
        SELECT timestamptz_send(t), extract(year FROM t AT TIME ZONE 'UTC')::int,
            to_char(t AT TIME ZONE 'UTC', '-MM-DD"T"HH24:MI:SS.US"Z"')
        FROM (SELECT '2000-01-01Z'::timestamptz
                  + div(n, 86400000000) * '24 hours'::interval
                  + mod(n, 86400000000) * '1 microsecond'::interval AS t
              FROM unnest(%s::numeric[]) AS n) AS moments"""
    found = fetch(postgres_uri, asked, moments)
    assert len(found) == len(moments)
    for moment, (raw, year, rest) in zip(moments, found, strict=True):
        assert struct.unpack(">q", raw) == (moment,)
        # PostgreSQL has no year 0: its -1 is the year before 1.
        year += year < 0
        written = f"{year:04d}" if 1 <= year <= 9999 else f"{year:+07d}"
        assert value_of("timestamptz", raw) == written + rest


DOCUMENT = {
    "_id": "a",
    "flag": False,
    "small": -1,
    "big": bson.Int64(1 << 40),
    "real": -0.0,
    "exact": bson.Decimal128("1.50"),
    "words": "ä",
    "uid": bson.Binary.from_uuid(uuid.UUID(int=7)),
    "blob": b"\0\1",
    "tree": [1, {"a": None}],
    "loose": {"kept": 1},
}
COLUMNS = {
    "flag": ("boolean", False),
    "small": ("integer", -1),
    "big": ("bigint", 1 << 40),
    "real": ("double precision", -0.0),
    "exact": ("numeric", Decimal("1.50")),
    "words": ("text", "ä"),
    "uid": ("uuid", uuid.UUID(int=7)),
    "blob": ("bytea", b"\0\1"),
    "tree": ("jsonb", '[1,{"a":null}]'),
    "missing": ("text", None),
}
NATIVE = {"flag": "bool", "small": "int", "uid": "uuid", "words": "string"}
TABLE = Table(
    "shop",
    "all",
    "all",
    "string",
    tuple(Column(n, (n,), kind, NATIVE.get(n, "")) for n, (kind, _) in COLUMNS.items()),
    TableOptions(source_ts=True),
)


def test_a_row_has_its_cells_by_name(postgres_uri: str) -> None:
    encoder = encoder_of(TABLE, keep=True)
    raw = bson.encode(DOCUMENT)
    assert encoder.add_document(raw, 1_700_000_000 << 32 | 5)
    batch = encoder.take()
    (row,) = rows_of(batch, TABLE)
    assert row.key == "a"
    assert row.document == raw
    assert list(row.cells) == [name for name, _ in cells_of(TABLE)]
    for name, (_, value) in COLUMNS.items():
        assert repr(row.cells[name]) == repr(value)
    assert row.cells["_cwarp_source_ts"] == "2023-11-14T22:13:20.000005Z"
    assert str(row.cells["_cwarp_extra"]).startswith('{"loose.kept":')
    with opened(postgres_uri, TABLE) as destination:
        apply(destination, Batch(position(2), (TableChanges(TABLE, (batch,)),)))
    (stored,) = fetch(
        postgres_uri,
        'SELECT flag, small, big, "real", exact, words, uid, blob, missing'
        ' FROM shop."all"',
    )
    assert stored == tuple(v for n, (_, v) in COLUMNS.items() if n != "tree")


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        ("objectId", [bson.ObjectId()]),
        ("string", ["", "ä\n"]),
        ("uuid", [bson.Binary.from_uuid(uuid.uuid4())]),
        ("bigint", [-7, 3.0, bson.Int64(1 << 60)]),
        ("numeric", [0.1, 1e300, bson.Decimal128("1.00"), float("nan"), float("-inf")]),
        ("canonical", [{"a": 1}, None, "x", 5, bson.MinKey()]),
    ],
)
def test_a_key_has_the_text_that_deletes_name(key: str, ids: list[object]) -> None:
    table = Table("shop", "keys", "keys", key, ())
    encoder = encoder_of(table)
    for each in ids:
        assert encoder.add_document(bson.encode({"_id": each}), 0)
    rows = list(rows_of(encoder.take(), table))
    assert [row.key for row in rows] == [key_text(element(i), key) for i in ids]
    assert all(row.document is None for row in rows)
