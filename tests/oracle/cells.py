"""BSON value x column type -> the cell's bytes, and whether the cell alone tells what
the value was."""

from __future__ import annotations

import math
import struct
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from .jsontext import number_text, valid_text, value_json
from .numeric import (
    NUMBERS,
    decimal128,
    double,
    is_negative_zero,
    numeric_cell,
    shortest,
)
from .walk import Value, kind_of

JSON_TYPES = frozenset({"jsonb", "json", "jsontext"})
NUMBER_TYPES = frozenset({"integer", "bigint", "double precision", "numeric"})
#: Milliseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's timestamps begin.
EPOCH = 946_684_800_000
#: timestamp.h: 4713-11-24 BC, and the first microsecond of 294277.
FIRST, END = -211_813_488_000_000_000, 9_223_371_331_200_000_000


class Cell(NamedTuple):
    """data: the cell.  beside: the exact form must be kept in ``_cwarp_extra``."""

    data: bytes
    beside: bool


def json_cell(text: str, column_type: str) -> bytes:
    return (b"\1" if column_type == "jsonb" else b"") + text.encode()


def cell(
    value: Value, column_type: str, native: str, subtype: int, mode: str, legacy: str
) -> Cell | None:
    """The cell of a value that is not null, or None when it does not fit."""
    if column_type in JSON_TYPES:
        return Cell(json_cell(value_json(value, mode), column_type), False)
    if column_type in NUMBER_TYPES:
        data = _number(value, column_type)
        beside = column_type == "numeric" and not _says_it_all(value)
        return None if data is None else Cell(data, beside)
    kind = kind_of(value)
    data = _SCALARS[column_type](value, kind, legacy)
    if data is None:
        return None
    if column_type == "bytea":
        return Cell(data, value.subtype != subtype)
    return Cell(data, kind != native)


def _says_it_all(value: Value) -> bool:
    """Whether a ``numeric`` is exactly this number. It shows a double by the shortest
    digits that read back as it, and has no zero below zero."""
    if is_negative_zero(value):
        return False
    if value.kind == "double" and math.isfinite(number := double(value)):
        return Fraction(shortest(number)) == Fraction(number)
    return True


def _number(value: Value, column_type: str) -> bytes | None:
    kind = value.kind
    if column_type == "numeric" and kind in NUMBERS:
        if kind == "decimal":
            return numeric_cell(decimal128(value.data))
        if kind == "double":
            return numeric_cell(shortest(double(value)))
        return numeric_cell(Decimal(value.data))
    if kind == "int":
        formats = {"integer": ">i", "bigint": ">q", "double precision": ">d"}
        return struct.pack(formats[column_type], value.data)
    if kind == "long" and column_type == "bigint":
        return struct.pack(">q", value.data)
    if kind == "double" and column_type == "double precision":
        return value.data[::-1]
    return None


def _text(value: Value, kind: str, _legacy: str) -> bytes | None:
    if kind in ("string", "symbol"):
        return value.data if valid_text(value.data) is not None else None
    if kind == "objectId":
        return value.data.hex().encode()
    if kind in NUMBERS:
        return number_text(value).encode()
    if kind == "bool":
        return b"true" if value.data else b"false"
    return None


def _timestamptz(value: Value, kind: str, _legacy: str) -> bytes | None:
    if kind == "date":
        microseconds = (value.data - EPOCH) * 1000
    elif kind == "timestamp" and value.data[1] < 1_000_000:
        microseconds = (value.data[0] * 1000 - EPOCH) * 1000 + value.data[1]
    else:
        return None
    return struct.pack(">q", microseconds) if FIRST <= microseconds < END else None


def _uuid(value: Value, kind: str, legacy: str) -> bytes | None:
    if kind == "uuidLegacy" and legacy:
        if legacy == "java":
            return value.data[7::-1] + value.data[:7:-1]
        if legacy == "csharp":
            return uuid.UUID(bytes_le=value.data).bytes
        return value.data
    return value.data if kind == "uuid" else None


def _bytea(value: Value, _kind: str, _legacy: str) -> bytes | None:
    return value.data if value.kind == "binData" else None


def _boolean(value: Value, kind: str, _legacy: str) -> bytes | None:
    return bytes([value.data]) if kind == "bool" else None


_SCALARS = {
    "text": _text,
    "timestamptz": _timestamptz,
    "uuid": _uuid,
    "bytea": _bytea,
    "boolean": _boolean,
}
