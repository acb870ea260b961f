"""Whether a cell's text, as PostgreSQL prints it, shows exactly one BSON value.

``shows`` answers "full" (the cell tells value and type), "partly" (the value is right
but its type is told only by the exact form beside it) or "" (the cell shows something
else, or must not hold this value at all).
"""

from __future__ import annotations

import math
import re
import struct
import uuid
from datetime import date
from decimal import Decimal

from .bsonwalk import Item
from .definition import Field
from .jsontree import as_jsonb, negative_zero, number_name, parse, text_tree, tree

JSON_TYPES = ("jsonb", "json", "jsontext")
NUMBERS = ("int", "long", "double", "decimal")
_MOMENT = re.compile(
    r"(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?\+00( BC)?"
)


def shows(text: str, item: Item, field: Field, json_mode: str, legacy: str) -> str:
    if field.type in JSON_TYPES:
        found, expected = parse(text), tree(item, json_mode)
        if field.type == "jsonb":
            found, expected = as_jsonb(found), as_jsonb(expected)
        return "full" if _same(found, expected) else ""
    if item.kind in NUMBERS and field.type != "text":
        return _number(text, item, field.type)
    if not _equal(text, item, field.type, legacy):
        return ""
    if field.type == "bytea":
        return "full" if item.payload.subtype == field.subtype else "partly"
    return "full" if _kind(item) == field.native else "partly"


def _same(left: object, right: object) -> bool:
    """Python holds True equal to 1; JSON does not. Trees differ then in their repr."""
    return left == right and repr(left) == repr(right)


def _kind(item: Item) -> str:
    if item.kind == "binData" and len(item.payload.data) == 16:
        return {3: "uuidLegacy", 4: "uuid"}.get(item.payload.subtype, "binData")
    return item.kind


def _number(text: str, item: Item, column_type: str) -> str:
    kind, payload = item
    if column_type == "integer":
        same = kind == "int" and text == str(payload)
    elif column_type == "bigint":
        same = kind in ("int", "long") and text == str(payload)
    elif column_type == "double precision":
        same = kind in ("int", "double") and _bits(float(text)) == _bits(payload)
    elif column_type == "numeric":
        if negative_zero(item):
            return "partly" if Decimal(text).is_zero() and "-" not in text else ""
        same = text == _numeric(item)
        # Digits that stand for the double, and are another number.
        if same and kind == "double" and math.isfinite(payload):
            return "full" if Decimal(text) == Decimal(payload) else "partly"
    else:
        return ""
    return "full" if same else ""


def _bits(number: float) -> bytes:
    number = float(number)
    return struct.pack(">d", number) if number == number else b"NaN"


def _numeric(item: Item) -> str:
    """PostgreSQL's text of the number: no exponent, a decimal's own scale."""
    name = number_name(item)
    if name[-1] in "Ny":
        return name
    if item.kind == "double":
        name = name.removesuffix(".0")
    return format(Decimal(name), "f")


def _equal(text: str, item: Item, column_type: str, legacy: str) -> bool:
    kind, payload = item
    if column_type == "text":
        return text == _text(item)
    if column_type == "boolean":
        return kind == "bool" and text == str(payload).lower()
    if column_type == "uuid":
        return text == str(_uuid(item, legacy))
    if column_type == "bytea":
        return kind == "binData" and text == rf"\x{payload.data.hex()}"
    if column_type == "timestamptz":
        moment = _microseconds(text)
        if kind == "timestamp":
            seconds, increment = payload
            return increment < 1_000_000 and moment == seconds * 1_000_000 + increment
        return kind == "date" and moment == payload * 1000
    if column_type in ("integer", "bigint", "double precision", "numeric"):
        return False  # ``_number`` has the rules for what these can show
    raise ValueError(f"no rule for a column of type {column_type}")


def _text(item: Item) -> str | None:
    kind, payload = item
    if kind in ("string", "symbol"):
        found = text_tree(payload)
        return found if isinstance(found, str) else None
    if kind == "objectId":
        return payload
    if kind == "bool":
        return "true" if payload else "false"
    return number_name(item) if kind in NUMBERS else None


def _uuid(item: Item, legacy: str) -> uuid.UUID | None:
    kind = _kind(item)
    if kind == "uuid" or (kind == "uuidLegacy" and legacy == "standard"):
        return uuid.UUID(bytes=item.payload.data)
    if kind == "uuidLegacy" and legacy == "java":
        high, low = struct.unpack("<QQ", item.payload.data)
        return uuid.UUID(int=high << 64 | low)
    if kind == "uuidLegacy" and legacy == "csharp":
        return uuid.UUID(bytes_le=item.payload.data)
    return None


def _microseconds(text: str) -> int | None:
    """Microseconds since 1970 of a UTC text, any year that PostgreSQL prints."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if match[8]:
        year = 1 - year
    # Shift by whole 400-year cycles (146,097 days each) into Python's calendar.
    cycles, year = divmod(year, 400)
    days = date(year + 400, month, day).toordinal() - date(1970, 1, 1).toordinal()
    days += (cycles - 1) * 146_097
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    return seconds * 1_000_000 + int((match[7] or "").ljust(6, "0"))
