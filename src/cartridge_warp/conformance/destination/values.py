"""Every type of column and of key: what is stored is what was sent."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import bson
import pytest

from cwarp_core import key_text

from ...model import Column, Table, TableChanges
from ...rows import EXTRA, SOURCE_TS
from ..documents import document, element
from ..promise import Promise
from .hooks import READ, SCHEMA, TABLE, DestinationHooks, alike, deletes, upserts

_COMMIT = Promise("Applier.commit", "Apply the batch")
_WRITE = Promise("Copier.write", "Send rows")

#: Field -> (column type, BSON kind, value in BSON, value of the cell).
_CELLS: dict[str, tuple[str, str, Any, Any]] = {
    "yes": ("boolean", "bool", True, True),
    "no": ("boolean", "bool", False, False),
    "small": ("integer", "int", -5, -5),
    "big": ("bigint", "long", bson.Int64(1 << 40), 1 << 40),
    "least": ("bigint", "long", bson.Int64(-(1 << 63)), -(1 << 63)),
    "real": ("double precision", "double", 0.1, 0.1),
    "huge": ("double precision", "double", -1e300, -1e300),
    "exact": ("numeric", "decimal", bson.Decimal128("-1.50"), decimal.Decimal("-1.50")),
    "tiny": ("numeric", "decimal", bson.Decimal128("1E-30"), decimal.Decimal("1E-30")),
    "words": ("text", "string", "ä'\"\\\n\t%s", "ä'\"\\\n\t%s"),
    "empty": ("text", "string", "", ""),
    "id": ("text", "objectId", bson.ObjectId("0" * 24), "0" * 24),
    "uid": (
        *("uuid", "uuid", bson.Binary.from_uuid(uuid.UUID(int=7))),
        uuid.UUID(int=7),
    ),
    "blob": ("bytea", "binData", b"\0\1\xff", b"\0\1\xff"),
    "at": (
        *("timestamptz", "date"),
        datetime.datetime(2024, 5, 6, 7, 8, 9, 123000, datetime.UTC),
        datetime.datetime(2024, 5, 6, 7, 8, 9, 123000, datetime.UTC),
    ),
    "early": (
        *("timestamptz", "date", datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)),
        datetime.datetime(1, 1, 1, tzinfo=datetime.UTC),
    ),
    "tree": ("jsonb", "object", {"a": [1, None]}, {"a": [1, None]}),
    "list": ("json", "array", ["x", {"y": 2.5}], ["x", {"y": 2.5}]),
    "asked": ("jsontext", "array", [1], [1]),
    "missing": ("text", "string", None, None),
}
_TABLE = Table(
    SCHEMA,
    "kinds",
    "kinds",
    "string",
    tuple(Column(n, (n,), kind, native) for n, (kind, native, *_) in _CELLS.items()),
)

#: Key encoding -> ids that it holds.
_KEYS: dict[str, tuple[Any, ...]] = {
    "objectId": (bson.ObjectId("0" * 24), bson.ObjectId("0123456789abcdef01234567")),
    "string": ("", "a", "A", "a b", "ä", 'it\'s "quoted" \\ %s\n'),
    "uuid": (
        bson.Binary.from_uuid(uuid.UUID(int=0)),
        bson.Binary.from_uuid(uuid.UUID(int=9)),
    ),
    "bigint": (0, -7, bson.Int64(-(1 << 63)), 5.0),
    "numeric": (
        *(1, 2.5, bson.Int64(1 << 60), bson.Decimal128("0.1"), 1e300),
        *(bson.Decimal128("1E-20"), float("inf"), float("nan")),
    ),
    "canonical": ("a", 5, None, True, {"a": 1, "b": 2}, {"b": 2, "a": 1}, "5"),
}


class Values(DestinationHooks):
    @pytest.mark.parametrize("how", ["copied", "streamed"])
    def test_every_type_of_column(self, how: str) -> None:
        owner = self.owner(_TABLE)
        fields = {n: value for n, (_, _, value, _) in _CELLS.items()}
        raw, empty = document("full", more=fields), document("empty")
        if how == "copied":
            self.copy(owner, _TABLE, raw, empty)
        else:
            self.apply(owner, 2, upserts(owner, _TABLE, raw, empty))
        promise = _WRITE if how == "copied" else _COMMIT
        found = self.rows(_TABLE)
        promise.equal(set(found), {"full", "empty"})
        for name, (kind, _, _, value) in _CELLS.items():
            cell = found["full"][name]
            promise.kept(
                alike(value, cell),
                f"{kind} {name} should be {value!r}, and is {cell!r}",
            )
            promise.equal(found["empty"][name], None)
        time = datetime.datetime.fromtimestamp(READ >> 32, datetime.UTC)
        time += datetime.timedelta(microseconds=READ & 0xFFFFFFFF)
        for cells in found.values():
            promise.kept(
                alike(time, cells[SOURCE_TS]), f"{SOURCE_TS}: {cells[SOURCE_TS]}"
            )
            # `n` of the documents has no column here, and "empty" has no other field.
            promise.kept(
                alike({"n": {"$numberLong": "0"}}, cells[EXTRA]), str(cells[EXTRA])
            )

    def test_a_value_that_does_not_fit_is_kept_beside(self) -> None:
        owner = self.owner(TABLE)
        raw = bson.encode({"_id": "a", "n": "many", "note": "x", "new": True})
        self.apply(owner, 2, upserts(owner, TABLE, raw))
        cells = self.rows(TABLE)["a"]
        _COMMIT.equal((cells["n"], cells["note"]), (None, "x"))
        _COMMIT.kept(alike({"n": "many", "new": True}, cells[EXTRA]), str(cells[EXTRA]))
        self.apply(owner, 3, upserts(owner, TABLE, document("a", 1)))
        _COMMIT.equal(self.rows(TABLE)["a"][EXTRA], None)

    @pytest.mark.parametrize("encoding", _KEYS)
    def test_every_encoding_of_a_key(self, encoding: str) -> None:
        promise = Promise(
            "TableChanges", "deletes: key texts (``cwarp_core.key_text``) of"
        )
        table = Table(SCHEMA, "keys", "keys", encoding, TABLE.columns)
        owner = self.owner(table)
        raw = [document(each, n) for n, each in enumerate(_KEYS[encoding])]
        texts = [key_text(element(each), encoding) for each in raw]
        promise.equal(len(set(texts)), len(texts))
        self.copy(owner, table, *raw[::2])
        self.apply(owner, 2, upserts(owner, table, *raw))
        found = {key: int(cells["n"]) for key, cells in self.rows(table).items()}
        promise.equal(found, {text: n for n, text in enumerate(texts)})
        for n, text in enumerate(texts):
            self.apply(owner, 3, TableChanges(table, deletes=(text,), events=1))
            promise.equal(set(self.rows(table)), {*texts[n + 1 :]})
        self.apply(owner, 4, deletes(table, *texts))
