"""MongoDB's order of values, as a key that Python's own comparison sorts by."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from .numeric import NUMBERS, decimal128, double
from .walk import Fields, Value

_RANKS = {
    kind: rank
    for rank, kinds in enumerate(
        (
            *(("minKey",), ("undefined",), ("null",), tuple(NUMBERS)),
            *(("string", "symbol"), ("object",), ("array",), ("binData",)),
            *(("objectId",), ("bool",), ("date",), ("timestamp",), ("regex",)),
            *(("dbPointer",), ("javascript",), ("javascriptWithScope",), ("maxKey",)),
        )
    )
    for kind in kinds
}


def order_key(value: Value) -> tuple[Any, ...]:
    """Canonical type, then what decides inside it. Equal values have equal keys."""
    return _RANKS[value.kind], *_inside(value)


def _inside(value: Value) -> tuple[Any, ...]:
    data = value.data
    match value.kind:
        case "int" | "long" | "double" | "decimal":
            return _number(value)
        case "object":
            return (_named(data),)
        case "array":
            return (tuple(order_key(each) for _, each in data),)
        case "binData":
            # The old binary form counts the length inside it.
            size = len(data) + 4 * (value.subtype == 2)
            return size, value.subtype, data
        case "dbPointer":
            namespace, pointer = data
            namespace = namespace.partition(b"\0")[0]
            return len(namespace), namespace, pointer
        case "javascriptWithScope":
            code, scope = data
            return code, _named(scope)
        case _:
            return (data,)


def _named(fields: Fields) -> tuple[Any, ...]:
    return tuple(
        (_RANKS[each.kind], name.encode(), *_inside(each)) for name, each in fields
    )


def _number(value: Value) -> tuple[Any, ...]:
    """NaN, -Infinity, the finite ones by exact value, Infinity."""
    if value.kind in ("int", "long"):
        return 2, Fraction(value.data)
    if value.kind == "double":
        number = Decimal.from_float(double(value))
    else:
        number = decimal128(value.data)
    if number.is_nan():
        return 0, Fraction(0)
    if number.is_infinite():
        return (3 if number > 0 else 1), Fraction(0)
    return 2, Fraction(number)
