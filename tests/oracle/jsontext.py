"""A BSON value as JSON text: the plain form of jsonb columns, and canonical
Extended JSON v2 (https://www.mongodb.com/docs/manual/reference/mongodb-extended-json).

The text is compact. A text that no ``text`` or ``jsonb`` can hold (U+0000, or bytes
that are not UTF-8) is ``{"$text": {"base64": ...}}`` in both forms. In the canonical
one a document whose first field is named as one of the forms begins stands inside
``{"$literal": ...}``: no document is written as the form of another value.
"""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable

from .numeric import NUMBERS, decimal128, double, double_text, is_negative_zero
from .walk import Fields, Value, read_document

_FORMS = frozenset(
    "$oid $symbol $numberInt $numberLong $numberDouble $numberDecimal $binary $code"
    " $scope $timestamp $regularExpression $dbPointer $date $minKey $maxKey $undefined"
    " $text $literal".split()
)
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}


def json_text(document: bytes, mode: str = "plain") -> str:
    return _object(read_document(document), mode)


def valid_text(raw: bytes) -> str | None:
    """The text of these bytes, or None when PostgreSQL cannot hold it."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def quote(text: str) -> str:
    escaped = (
        _ESCAPES.get(char) or (f"\\u{ord(char):04x}" if char < " " else char)
        for char in text
    )
    return f'"{"".join(escaped)}"'


def _base64(raw: bytes) -> str:
    return f'"{base64.b64encode(raw).decode()}"'


def text_json(raw: bytes) -> str:
    text = valid_text(raw)
    return f'{{"$text":{{"base64":{_base64(raw)}}}}}' if text is None else quote(text)


def value_json(value: Value, mode: str) -> str:
    """One value; mode is "plain" or "canonical"."""
    return (mode == "plain" and _plain(value)) or _canonical(value, mode)


def _object(fields: Fields, mode: str) -> str:
    if mode == "plain":
        return _members(fields, lambda value: value_json(value, "plain"))
    return object_text(fields, lambda value: value_json(value, mode))


def _members(fields: Fields, text_of: Callable[[Value], str]) -> str:
    parts = (f"{quote(name)}:{text_of(value)}" for name, value in fields)
    return f"{{{','.join(parts)}}}"


def object_text(fields: Fields, text_of: Callable[[Value], str]) -> str:
    """A document that no reader can take for the form of another value."""
    text = _members(fields, text_of)
    taken = bool(fields) and fields[0][0] in _FORMS
    return f'{{"$literal":{text}}}' if taken else text


def _plain(value: Value) -> str | None:
    """The plain form where it differs from the canonical one, else None."""
    kind, data = value.kind, value.data
    if kind in NUMBERS:
        text = number_text(value)
        # NaN, the infinities and the zeros below zero are no JSON numbers.
        return text if text[-1].isdigit() and not is_negative_zero(value) else None
    if kind == "symbol":
        return text_json(data)
    if kind == "objectId":
        return f'"{data.hex()}"'
    if kind == "binData" and value.subtype == 4 and len(data) == 16:
        return f'"{uuid.UUID(bytes=data)}"'
    if kind == "date":
        return iso_date(data)
    return None


def _canonical(value: Value, mode: str) -> str:
    kind, data = value.kind, value.data
    match kind:
        case "object":
            return _object(data, mode)
        case "array":
            return f"[{','.join(value_json(item, mode) for _, item in data)}]"
        case "null":
            return "null"
        case "bool":
            return "true" if data else "false"
        case "string":
            return text_json(data)
        case "int":
            return f'{{"$numberInt":"{data}"}}'
        case "long":
            return f'{{"$numberLong":"{data}"}}'
        case "double":
            return f'{{"$numberDouble":"{number_text(value)}"}}'
        case "decimal":
            return f'{{"$numberDecimal":"{number_text(value)}"}}'
        case "symbol":
            return f'{{"$symbol":{text_json(data)}}}'
        case "objectId":
            return f'{{"$oid":"{data.hex()}"}}'
        case "date":
            return f'{{"$date":{{"$numberLong":"{data}"}}}}'
        case "timestamp":
            return f'{{"$timestamp":{{"t":{data[0]},"i":{data[1]}}}}}'
        case "binData":
            inner = f'"base64":{_base64(data)},"subType":"{value.subtype:02x}"'
            return f'{{"$binary":{{{inner}}}}}'
        case "regex":
            inner = f'"pattern":{text_json(data[0])},"options":{text_json(data[1])}'
            return f'{{"$regularExpression":{{{inner}}}}}'
        case "dbPointer":
            inner = f'"$ref":{text_json(data[0])},"$id":{{"$oid":"{data[1].hex()}"}}'
            return f'{{"$dbPointer":{{{inner}}}}}'
        case "javascript":
            return f'{{"$code":{text_json(data)}}}'
        case "javascriptWithScope":
            scope = _object(data[1], "canonical")
            return f'{{"$code":{text_json(data[0])},"$scope":{scope}}}'
        case "undefined":
            return '{"$undefined":true}'
        case _:
            return f'{{"${kind}":1}}'


def number_text(value: Value) -> str:
    """A number as one text that tells it from every other of its kind, but for NaNs."""
    if value.kind in ("int", "long"):
        return str(value.data)
    if value.kind == "decimal":
        return str(decimal128(value.data))
    number = double(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return double_text(number)


def iso_date(milliseconds: int) -> str | None:
    """ISO 8601 for the years 0000-9999 of the proleptic Gregorian calendar."""
    days, rest = divmod(milliseconds, 86_400_000)
    # Days of the civil calendar, counted in eras of 400 years from 0000-03-01.
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    if not 0 <= year <= 9999:
        return None
    seconds, fraction = divmod(rest, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f'"{year:04}-{month:02}-{day + 1:02}T{clock}.{fraction:03}Z"'
