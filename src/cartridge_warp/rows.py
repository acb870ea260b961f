"""Rows of a table: made from documents, and read back by whoever is not PostgreSQL."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from uuid import UUID

from cwarp_core import BatchEncoder, EncodedBatch, PlanColumn, RowPlan, row_offsets

from .model import Table

#: The cells of every row that are no document's field.
KEY: Final = "_id"
EXTRA: Final = "_cwarp_extra"
SOURCE_TS: Final = "_cwarp_source_ts"

#: A cell as Python has it: boolean, the two integers, double precision, numeric, uuid,
#: bytea; text and JSON as text; timestamptz as text in ISO 8601, since PostgreSQL's
#: years go beyond Python's.
Value = bool | int | float | Decimal | UUID | bytes | str | None

#: Key encoding -> the type of its cell.
_KEY_TYPES: Final = {"uuid": "uuid", "bigint": "bigint", "numeric": "numeric"}

_EPOCH: Final = datetime(2000, 1, 1)
#: Days from 0000-03-01 to 2000-01-01, and of 400 years.
_DAYS_TO_EPOCH: Final = 730_425
_DAYS_OF_400_YEARS: Final = 146_097
_SPECIAL: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}


class Row(NamedTuple):
    """One row. key: the text of its key, as ``cwarp_core.key_text`` has it.

    cells: by the column's name, ``KEY`` first.  document: where the batch keeps it.
    """

    key: str
    cells: dict[str, Value]
    document: bytes | None


@lru_cache(maxsize=1024)
def plan_of(table: Table) -> RowPlan:
    """How documents become this table's rows."""
    options = table.options
    return RowPlan(
        table.key,
        [
            PlanColumn(column.path, column.type, column.native, column.subtype)
            for column in table.columns
        ],
        max_depth=options.max_document_depth,
        json_mode=options.json_mode,
        legacy_uuid=options.legacy_uuid,
        on_misfit=options.on_misfit,
        source_ts=options.source_ts,
    )


def encoder_of(table: Table, *, keep: bool = False) -> BatchEncoder:
    """An encoder of this table's rows; with ``keep`` it keeps their documents."""
    return BatchEncoder(plan_of(table), keep)


def cells_of(table: Table) -> tuple[tuple[str, str], ...]:
    """Name and type of each cell of a row, in the encoder's order.

    The types are those of ``cwarp_core.PlanColumn``.
    """
    key = KEY, _KEY_TYPES.get(table.key, "text")
    source_ts = ((SOURCE_TS, "timestamptz"),) if table.options.source_ts else ()
    columns = ((column.name, column.type) for column in table.columns)
    return (key, *columns, *source_ts, (EXTRA, "jsonb"))


def rows_of(batch: EncodedBatch, table: Table) -> Iterator[Row]:
    """The rows of a batch that was encoded for this version of the table."""
    offsets = row_offsets(batch.payload)
    documents = documents_of(batch.raw)
    cells = cells_of(table)
    for start, end in pairwise(offsets):
        found = {
            name: None if raw is None else value_of(kind, raw)
            for (name, kind), raw in zip(
                cells, _cells(batch.payload[start:end]), strict=True
            )
        }
        yield Row(_key_text(found[KEY]), found, next(documents, None))


def documents_of(raw: bytes) -> Iterator[bytes]:
    """BSON documents that stand one after the other, as ``EncodedBatch.raw`` has."""
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        yield raw[at : at + size]
        at += size


def value_of(kind: str, raw: bytes) -> Value:
    """A cell of PostgreSQL's binary format. kind: as ``cwarp_core.PlanColumn`` has."""
    match kind:
        case "boolean":
            return raw != b"\0"
        case "integer" | "bigint":
            return int.from_bytes(raw, "big", signed=True)
        case "double precision":
            (number,) = struct.unpack(">d", raw)
            return float(number)
        case "numeric":
            return _numeric(raw)
        case "uuid":
            return UUID(bytes=raw)
        case "bytea":
            return raw
        case "timestamptz":
            return _timestamp(int.from_bytes(raw, "big", signed=True))
        case "jsonb":
            return raw[1:].decode()  # behind the format's version
        case _:
            return raw.decode()


def _cells(row: bytes) -> Iterator[bytes | None]:
    at = 2
    for _ in range(int.from_bytes(row[:2], "big")):
        size = int.from_bytes(row[at : at + 4], "big", signed=True)
        at += 4
        yield None if size < 0 else row[at : at + size]
        at += max(size, 0)


def _key_text(key: Value) -> str:
    return f"{key:f}" if isinstance(key, Decimal) else str(key)


def _numeric(raw: bytes) -> Decimal:
    """Groups of four digits, the first of which counts 10000 to the ``weight``."""
    groups, weight, sign, scale = struct.unpack_from(">hhHh", raw)
    if sign in _SPECIAL:
        return Decimal(_SPECIAL[sign])
    number = 0
    for group in struct.unpack_from(f">{groups}h", raw, 8):
        number = number * 10_000 + group
    # As many digits behind the point as the value has, no more and no fewer.
    shift = scale + 4 * (weight + 1 - groups)
    number = number * 10**shift if shift >= 0 else number // 10**-shift
    digits = tuple(map(int, str(number)))
    return Decimal((int(sign == 0x4000), digits, -scale))


def _timestamp(microseconds: int) -> str:
    """From microseconds since 2000 to ISO 8601 in UTC, years beyond 9999 with a sign.

    The calendar is the Gregorian one at all times, as in PostgreSQL.
    """
    try:
        when = _EPOCH + timedelta(microseconds=microseconds)
        year = f"{when.year:04d}"
    except OverflowError:
        days, rest = divmod(microseconds, 86_400_000_000)
        cycles, day = divmod(days + _DAYS_TO_EPOCH, _DAYS_OF_400_YEARS)
        # The same day of a year that Python knows: calendars repeat after 400 years.
        when = datetime(2000, 3, 1) + timedelta(days=day, microseconds=rest)
        year = f"{when.year - 2000 + 400 * cycles:+07d}"
    return f"{year}{when.isoformat(timespec='microseconds')[4:]}Z"
