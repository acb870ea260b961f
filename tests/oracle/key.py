"""The primary key: one text for all ids that MongoDB holds equal."""

from __future__ import annotations

import uuid
from decimal import Decimal

from .jsontext import object_text, text_json, valid_text, value_json
from .numeric import NUMBERS, exact_text, numeric_cell
from .walk import Value, kind_of


class KeyKind(ValueError):
    """An ``_id`` that does not fit the key's encoding."""


def key_encoding(value: Value) -> str:
    """The encoding for a table of ids of this one's kind."""
    if value.kind in ("int", "long"):
        return "bigint"
    if value.kind in NUMBERS:
        return "numeric"
    for encoding in ("objectId", "string", "uuid"):
        if _fits(value, encoding):
            return encoding
    return "canonical"


def _fits(value: Value, encoding: str) -> bool:
    match encoding:
        case "objectId":
            return value.kind == "objectId"
        case "string":
            text = value.kind in ("string", "symbol")
            return text and valid_text(value.data) is not None
        case "uuid":
            return kind_of(value) == "uuid"
        case "bigint":
            return value.kind in NUMBERS and _is_int64(exact_text(value))
        case "numeric":
            return value.kind in NUMBERS
        case _:
            return True


def _is_int64(text: str) -> bool:
    digits = text.removeprefix("-")
    return len(digits) < 20 and digits.isdigit() and -(2**63) <= int(text) < 2**63


def key_text(value: Value, encoding: str) -> str:
    if not _fits(value, encoding):
        raise KeyKind(f"{value.kind} does not fit {encoding}")
    match encoding:
        case "objectId":
            return value.data.hex()
        case "string":
            return value.data.decode()
        case "uuid":
            return str(uuid.UUID(bytes=value.data))
        case "bigint" | "numeric":
            return exact_text(value)
        case _:
            return canonical(value)


def canonical(value: Value) -> str:
    """Extended JSON with keys in document order, in which equal ids have equal text:
    every number by its exact value, a symbol as the string of its text, the namespace
    of a DBPointer up to its first NUL."""
    if value.kind in NUMBERS:
        text = exact_text(value)
        return text if text[-1].isdigit() else f'{{"$numberDouble":"{text}"}}'
    if value.kind == "object":
        return object_text(value.data, canonical)
    if value.kind == "array":
        return f"[{','.join(canonical(item) for _, item in value.data)}]"
    if value.kind == "symbol":
        return text_json(value.data)
    if value.kind == "dbPointer":
        namespace, pointer = value.data
        cut = namespace.partition(b"\0")[0]
        return value_json(Value("dbPointer", (cut, pointer)), "canonical")
    if value.kind == "javascriptWithScope":
        code, scope = value.data
        inner = object_text(scope, canonical)
        return f'{{"$code":{text_json(code)},"$scope":{inner}}}'
    return value_json(value, "canonical")


def key_cell(value: Value, encoding: str) -> bytes:
    text = key_text(value, encoding)
    match encoding:
        case "uuid":
            return value.data
        case "bigint":
            return int(text).to_bytes(8, "big", signed=True)
        case "numeric":
            return numeric_cell(Decimal(text))
        case _:
            return text.encode()
