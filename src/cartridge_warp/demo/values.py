"""Whether a PostgreSQL value is a BSON value. The rules are the ones of the docs.

MongoDB's values come as pymongo decodes them, PostgreSQL's as psycopg does; JSON is
read with every number that is not whole as a Decimal, so that none is rounded.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bson import (
    Binary,
    Code,
    CodecOptions,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    json_util,
)
from bson.binary import UuidRepresentation
from bson.codec_options import DatetimeConversion

from .mapping import JSON_TYPES, Column

#: How documents are decoded: with every date, and UUIDs of subtype 4 as such.
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
#: Canonical Extended JSON; UUIDs as pymongo decodes subtype 4.
EXTENDED = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.STANDARD,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = frozenset({"int", "long", "double", "decimal"})
_KINDS: tuple[tuple[type, str], ...] = (
    # Subclasses first: bool and Int64 are ints, Code is a str.
    (bool, "bool"),
    (Int64, "long"),
    (int, "int"),
    (float, "double"),
    (Decimal128, "decimal"),
    (Code, "javascript"),
    (str, "string"),
    (ObjectId, "objectId"),
    (datetime, "date"),
    (DatetimeMS, "date"),
    (Timestamp, "timestamp"),
    (uuid.UUID, "uuid"),
    (Binary, "binData"),
    (bytes, "binData"),
    (DBRef, "object"),
    (dict, "object"),
    (list, "array"),
    (Regex, "regex"),
    (MinKey, "minKey"),
    (MaxKey, "maxKey"),
)


def kind(value: Any) -> str:
    """The BSON type, as ``$type`` calls it."""
    if isinstance(value, Binary) and value.subtype == 3 and len(value) == 16:
        return "uuidLegacy"
    if isinstance(value, Code) and value.scope is not None:
        return "javascriptWithScope"
    return next((name for known, name in _KINDS if isinstance(value, known)), "other")


def parse(text: str) -> Any:
    """JSON, numbers unrounded."""
    return json.loads(text, parse_float=Decimal)


def document(value: Any) -> Any:
    """A DBRef is a document to MongoDB."""
    return dict(value.as_doc()) if isinstance(value, DBRef) else value


def cell_is(value: Any, cell: Any, column: Column) -> bool:
    """Whether a cell that is not NULL shows this value (perhaps not its exact type)."""
    what = kind(value)
    match column.type:
        case kind_of_json if kind_of_json in JSON_TYPES:
            return json_is(value, parse(cell))
        case "boolean":
            return what == "bool" and cell is value
        case "integer" | "bigint":
            return what in ("int", "long") and bool(cell == value)
        case "double precision":
            if what in ("int", "long"):
                return abs(value) <= 2**53 and _same_double(float(value), cell)
            return what == "double" and _same_double(value, cell)
        case "numeric":
            return what in _NUMBERS and _same_number(value, cell)
        case "timestamptz":
            return bool(_microseconds(value) == cell)
        case "uuid":
            if what == "uuidLegacy":
                return bool(uuid.UUID(bytes=bytes(value)) == cell)
            return what == "uuid" and bool(value == cell)
        case "bytea":
            if what == "uuid":
                return bool(value.bytes == bytes(cell))
            return what in ("binData", "uuidLegacy") and bytes(value) == bytes(cell)
        case "text":
            return _text_is(value, cell)
    return False


def cell_tells(value: Any, column: Column) -> bool:
    """Whether the column's type alone says what exact value and type a cell stands for.

    Where it does not, the exact form must be beside it in ``_cwarp_extra``.
    """
    what = kind(value)
    if column.type in JSON_TYPES:
        return True
    if what in _NUMBERS and column.type != "text":
        if column.type != "numeric":
            return True
        return not _negative_zero(value) and not _approximated(value)
    if column.type == "bytea":
        subtype = 4 if what == "uuid" else getattr(value, "subtype", 0)
        return bool(subtype == column.subtype)
    return what == column.native


def json_is(value: Any, found: Any, *, plain: bool = True) -> bool:
    """Whether JSON shows this value: as in jsonb columns, or as canonical ext. JSON."""
    value = document(value)
    match kind(value):
        case "object":
            return (
                isinstance(found, dict)
                and value.keys() == found.keys()
                and all(json_is(value[k], found[k], plain=plain) for k in value)
            )
        case "array":
            return (
                isinstance(found, list)
                and len(value) == len(found)
                and all(
                    json_is(v, f, plain=plain)
                    for v, f in zip(value, found, strict=True)
                )
            )
        case "bool":
            return found is value
        case "string":
            return bool(found == storable(value))
        case "int" | "long" | "double" | "decimal" as what:
            return _number_is(value, what, found, plain)
        case "objectId":
            return bool(found == (str(value) if plain else {"$oid": str(value)}))
        case "uuid" if plain:
            return bool(found == str(value))
        case "date" if plain and isinstance(found, str):
            return found.endswith("Z") and _iso(found) == _microseconds(value)
        case "date":
            number = str(int(_microseconds(value) or 0) // 1000)
            return bool(found == {"$date": {"$numberLong": number}})
    if value is None:
        # pymongo decodes the deprecated `undefined` as None too.
        return found is None or found == {"$undefined": True}
    return bool(found == _canonical(value))


def _number_is(value: Any, what: str, found: Any, plain: bool) -> bool:
    if isinstance(found, dict):
        match what, found:
            case "int", {"$numberInt": str(text)}:
                return not plain and text == str(value)
            case "long", {"$numberLong": str(text)}:
                return not plain and text == str(int(value))
            case "double", {"$numberDouble": str(text)}:
                return _same_double(value, float(text))
            case "decimal", {"$numberDecimal": str(text)}:
                return bool(Decimal128(text) == value)
        return False
    if not plain or isinstance(found, bool) or not isinstance(found, int | Decimal):
        return False
    return _same_number(value, Decimal(found)) and not _negative_zero(value)


def _approximated(value: Any) -> bool:
    """Whether ``numeric`` shows a double by digits that are not its exact value."""
    if kind(value) != "double" or not math.isfinite(value):
        return False
    return Decimal(repr(value)) != Decimal(value)


def _same_double(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return struct.pack("<d", one) == struct.pack("<d", other)


def _same_number(value: Any, found: Decimal) -> bool:
    if isinstance(value, float):
        return _same_double(abs(value), abs(float(found))) and (
            value != value or (value < 0) == (found < 0)
        )
    number = value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)
    if number.is_nan() or found.is_nan():
        return number.is_nan() and found.is_nan()
    return bool(number == found)


def _negative_zero(value: Any) -> bool:
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        return number.is_zero() and number.is_signed()
    return isinstance(value, float) and value == 0 and math.copysign(1, value) < 0


def _microseconds(value: Any) -> Decimal | None:
    """Since 1970, for a date or a timestamp; exact."""
    match value:
        case Timestamp():
            return Decimal(value.time) * 1_000_000 + value.inc
        case DatetimeMS():
            return Decimal(int(value)) * 1000
        case datetime():
            return Decimal((value - _EPOCH) // timedelta(microseconds=1))
    return None


def _iso(text: str) -> Decimal | None:
    """The microseconds of an ISO date; year 0, which Python lacks, by way of 400."""
    shift = 0
    if text.startswith("0000-"):
        text, shift = f"0400{text[4:]}", 146_097 * 86_400_000_000
    try:
        found = _microseconds(datetime.fromisoformat(text))
    except ValueError:
        return None
    return None if found is None else found - shift


def storable(text: str) -> Any:
    """A text as JSON holds it; jsonb has no U+0000."""
    if "\0" not in text:
        return text
    return {"$text": {"base64": base64.b64encode(text.encode()).decode()}}


def _canonical(value: Any) -> Any:
    return json.loads(json_util.dumps(value, json_options=EXTENDED))


def _text_is(value: Any, cell: str) -> bool:
    """Text columns: strings and ids as they are, all else as its JSON text."""
    match kind(value):
        case "string" | "objectId" | "uuid":
            return cell == str(value)
        case "date":
            return _iso(cell) == _microseconds(value)
    try:
        return json_is(value, parse(cell))
    except ValueError:
        return False
