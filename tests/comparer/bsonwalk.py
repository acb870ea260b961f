"""A BSON document to (kind, payload) pairs, nothing merged and nothing dropped.

The documents come from a server, so their structure is sound; a fault raises
``struct.error``, ``ValueError`` or ``IndexError`` and the comparison ends there.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from struct import Struct
from typing import Any, NamedTuple


class Item(NamedTuple):
    """kind: the ``$type`` alias.  payload: see ``_READERS``."""

    kind: str
    payload: Any


class Binary(NamedTuple):
    subtype: int
    data: bytes


#: Reads the value that begins at a place: its payload, and the place behind it.
_Reader = Callable[[bytes, int], tuple[Any, int]]

_INT32 = Struct("<i")
_TWO_UINT32 = Struct("<II")
_TWO_UINT64 = Struct("<QQ")


def walk(document: bytes | memoryview) -> list[tuple[str, Item]]:
    return _pairs(bytes(document), 0)[0]


def _pairs(data: bytes, at: int) -> tuple[list[tuple[str, Item]], int]:
    stop = at + _INT32.unpack_from(data, at)[0] - 1
    at += 4
    found = []
    while at < stop:
        kind, reader = _READERS[data[at]]
        nul = data.index(0, at)
        name = data[at + 1 : nul].decode()
        payload, at = reader(data, nul + 1)
        found.append((name, Item(kind, payload)))
    if data[at] != 0:
        raise ValueError("a document without its end")
    return found, at + 1


def _items(data: bytes, at: int) -> tuple[list[Item], int]:
    pairs, at = _pairs(data, at)
    return [item for _, item in pairs], at


def _fixed(layout: str) -> _Reader:
    each = Struct(layout)
    return lambda data, at: (each.unpack_from(data, at)[0], at + each.size)


def _nothing(_: bytes, at: int) -> tuple[None, int]:
    return None, at


def _until_nul(data: bytes, at: int) -> tuple[bytes, int]:
    nul = data.index(0, at)
    return data[at:nul], nul + 1


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + _INT32.unpack_from(data, at)[0]
    return data[at + 4 : end - 1], end


def _object_id(data: bytes, at: int) -> tuple[str, int]:
    return data[at : at + 12].hex(), at + 12


def _binary(data: bytes, at: int) -> tuple[Binary, int]:
    end = at + 5 + _INT32.unpack_from(data, at)[0]
    subtype, inner = data[at + 4], data[at + 5 : end]
    return Binary(subtype, inner[4:] if subtype == 2 else inner), end


def _regex(data: bytes, at: int) -> tuple[tuple[bytes, bytes], int]:
    pattern, at = _until_nul(data, at)
    options, at = _until_nul(data, at)
    return (pattern, options), at


def _db_pointer(data: bytes, at: int) -> tuple[tuple[bytes, str], int]:
    name, at = _text(data, at)
    identity, at = _object_id(data, at)
    return (name, identity), at


def _code_with_scope(
    data: bytes, at: int
) -> tuple[tuple[bytes, list[tuple[str, Item]]], int]:
    code, at = _text(data, at + 4)
    scope, at = _pairs(data, at)
    return (code, scope), at


def _timestamp(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    increment, seconds = _TWO_UINT32.unpack_from(data, at)
    return (seconds, increment), at + 8


def _decimal(data: bytes, at: int) -> tuple[Decimal, int]:
    """IEEE 754-2008 decimal128, binary integer coefficient; every NaN is one."""
    low, high = _TWO_UINT64.unpack_from(data, at)
    return _number(low, high), at + 16


def _number(low: int, high: int) -> Decimal:
    sign = high >> 63
    if high & 0x7C00000000000000 == 0x7C00000000000000:
        return Decimal("NaN")
    if high & 0x7800000000000000 == 0x7800000000000000:
        return Decimal("-Inf" if sign else "Inf")
    if high & 0x6000000000000000 == 0x6000000000000000:
        exponent, coefficient = high >> 47 & 0x3FFF, 0
    else:
        exponent = high >> 49 & 0x3FFF
        coefficient = (high & 0x1FFFFFFFFFFFF) << 64 | low
    if coefficient >= 10**34:
        coefficient = 0
    digits = tuple(map(int, str(coefficient)))
    return Decimal((sign, digits, exponent - 6176))


_READERS: dict[int, tuple[str, _Reader]] = {
    0x01: ("double", _fixed("<d")),
    0x02: ("string", _text),
    0x03: ("object", _pairs),
    0x04: ("array", _items),
    0x05: ("binData", _binary),
    0x06: ("undefined", _nothing),
    0x07: ("objectId", _object_id),
    0x08: ("bool", _fixed("<?")),
    0x09: ("date", _fixed("<q")),
    0x0A: ("null", _nothing),
    0x0B: ("regex", _regex),
    0x0C: ("dbPointer", _db_pointer),
    0x0D: ("javascript", _text),
    0x0E: ("symbol", _text),
    0x0F: ("javascriptWithScope", _code_with_scope),
    0x10: ("int", _fixed("<i")),
    0x11: ("timestamp", _timestamp),
    0x12: ("long", _fixed("<q")),
    0x13: ("decimal", _decimal),
    0x7F: ("maxKey", _nothing),
    0xFF: ("minKey", _nothing),
}
