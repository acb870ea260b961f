"""JSON as trees that keep what ``json.loads`` loses: number texts, order, duplicates.

A tree is None, bool, str, Number, a list, or a Members (name and tree pairs). Trees
of ``jsonb`` columns are brought to jsonb's own form by ``as_jsonb`` first.
"""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from .bsonwalk import Item

#: First names of what canonical Extended JSON, and the product beside it, writes for
#: a value.
_FORMS = {
    *(
        "$binary",
        "$code",
        "$date",
        "$dbPointer",
        "$maxKey",
        "$minKey",
        "$numberDecimal",
    ),
    *("$numberDouble", "$numberInt", "$numberLong", "$oid", "$regularExpression"),
    *("$scope", "$symbol", "$timestamp", "$undefined", "$text", "$literal"),
}


class Number(NamedTuple):
    """A JSON number as written: 5 and 5.0 are two."""

    text: str


class Members(NamedTuple):
    pairs: tuple[tuple[str, Any], ...]


def parse(text: str) -> Any:
    return json.loads(
        text,
        parse_int=Number,
        parse_float=Number,
        object_pairs_hook=lambda pairs: Members(tuple(pairs)),
    )


def as_jsonb(tree: Any) -> Any:
    """What jsonb makes of a tree: last duplicate wins, no order, plain digits."""
    if isinstance(tree, Members):
        merged = {name: as_jsonb(value) for name, value in tree.pairs}
        return Members(tuple(sorted(merged.items())))
    if isinstance(tree, Number):
        return Number(f"{Decimal(tree.text):f}")
    if isinstance(tree, list):
        return [as_jsonb(value) for value in tree]
    return tree


def float_text(number: float) -> str:
    """A finite double in the fewest digits, recognisable as a double."""
    digits = repr(number)
    if "e" not in digits:
        return digits
    if abs(number) > 1:
        return format(Decimal(digits), "f") + ".0"
    mantissa, exponent = digits.split("e-")
    return f"{mantissa}e-{exponent.lstrip('0')}"


def finite(item: Item) -> bool:
    """``math.isfinite`` would take a decimal past the doubles' range for infinite."""
    return Decimal(item.payload).is_finite()


def negative_zero(item: Item) -> bool:
    kind, payload = item
    if kind not in ("double", "decimal") or payload != 0:
        return False
    return math.copysign(1, payload) < 0


def text_tree(raw: bytes) -> Any:
    """A text, or what stands for one that PostgreSQL cannot hold."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text
    return _wrap("$text", _wrap("base64", base64.b64encode(raw).decode()))


def _wrap(name: str, value: Any) -> Members:
    return Members(((name, value),))


def number_name(item: Item) -> str:
    """The string inside ``$numberInt`` and its kind."""
    payload = item.payload
    if item.kind in ("int", "long"):
        return str(payload)
    if not finite(item):
        if math.isnan(payload):
            return "NaN"
        return "Infinity" if payload > 0 else "-Infinity"
    return str(payload) if item.kind == "decimal" else float_text(payload)


def members(pairs: Sequence[tuple[str, Item]], mode: str) -> Members:
    found = Members(tuple((name, tree(item, mode)) for name, item in pairs))
    return literal(found) if mode == "canonical" else found


def literal(found: Members) -> Members:
    """A document, told from the form of another value if it begins like one."""
    first = found.pairs[0][0] if found.pairs else ""
    return _wrap("$literal", found) if first in _FORMS else found


def tree(item: Item, mode: str) -> Any:
    """The JSON of a value; mode "plain" or "canonical" (Extended JSON v2)."""
    kind, payload = item
    if kind == "object":
        return members(payload, mode)
    if kind == "array":
        return [tree(each, mode) for each in payload]
    if kind in ("null", "bool"):
        return payload
    if kind == "string":
        return text_tree(payload)
    if mode == "plain" and (plain := _plain(item)) is not None:
        return plain
    return _extended(item)


def _plain(item: Item) -> Any:
    kind, payload = item
    if kind in ("int", "long"):
        return Number(str(payload))
    if kind in ("double", "decimal"):
        if finite(item) and not negative_zero(item):
            return Number(number_name(item))
        return None
    if kind == "symbol":
        return text_tree(payload)
    if kind == "objectId":
        return payload
    if kind == "binData" and payload.subtype == 4 and len(payload.data) == 16:
        return str(uuid.UUID(bytes=payload.data))
    if kind == "date":
        return _iso(payload)
    return None


def _iso(milliseconds: int) -> str | None:
    """Python's calendar starts with year 1: year 0 borrows the equal year 400."""
    shift = 146_097 if milliseconds < -62_135_596_800_000 else 0
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            days=shift, milliseconds=milliseconds
        )
    except OverflowError:
        return None
    year = moment.year - (400 if shift else 0)
    if year < 0:
        return None
    rest = moment.isoformat(timespec="milliseconds")[4:].replace("+00:00", "Z")
    return f"{year:04}{rest}"


def _extended(item: Item) -> Members:
    kind, payload = item
    if kind in ("int", "long", "double", "decimal"):
        return _wrap(f"$number{kind.capitalize()}", number_name(item))
    if kind == "objectId":
        return _wrap("$oid", payload)
    if kind == "date":
        return _wrap("$date", _wrap("$numberLong", str(payload)))
    if kind in ("symbol", "javascript"):
        return _wrap("$symbol" if kind == "symbol" else "$code", text_tree(payload))
    if kind in ("minKey", "maxKey"):
        return _wrap(f"${kind}", Number("1"))
    if kind == "undefined":
        return _wrap("$undefined", True)
    if kind == "binData":
        data = base64.b64encode(payload.data).decode()
        inner = (("base64", data), ("subType", format(payload.subtype, "02x")))
        return _wrap("$binary", Members(inner))
    first, second = payload
    if kind == "timestamp":
        inner = (("t", Number(str(first))), ("i", Number(str(second))))
        return _wrap("$timestamp", Members(inner))
    if kind == "regex":
        inner = (("pattern", text_tree(first)), ("options", text_tree(second)))
        return _wrap("$regularExpression", Members(inner))
    if kind == "dbPointer":
        inner = (("$ref", text_tree(first)), ("$id", _wrap("$oid", second)))
        return _wrap("$dbPointer", Members(inner))
    scope = members(second, "canonical")
    return Members((("$code", text_tree(first)), ("$scope", scope)))
