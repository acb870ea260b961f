"""A BSON document to (kind, payload) pairs, nothing merged and nothing dropped.

The documents come from a server, so their structure is sound; a fault raises
``struct.error``, ``ValueError`` or ``IndexError`` and the comparison ends there.
"""

from __future__ import annotations

import io
import struct
from decimal import Decimal
from typing import Any, NamedTuple


class Item(NamedTuple):
    """kind: the ``$type`` alias.  payload: see ``_READERS``."""

    kind: str
    payload: Any


class Binary(NamedTuple):
    subtype: int
    data: bytes


def walk(document: bytes) -> list[tuple[str, Item]]:
    return _pairs(io.BytesIO(document))


def _unpack(stream: io.BytesIO, layout: str) -> Any:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))[0]


def _until_nul(stream: io.BytesIO) -> bytes:
    found = bytearray()
    while (byte := stream.read(1)) != b"\0":
        if not byte:
            raise ValueError("a name without its end")
        found += byte
    return bytes(found)


def _text(stream: io.BytesIO) -> bytes:
    size = _unpack(stream, "<i")
    return stream.read(size)[:-1]


def _pairs(stream: io.BytesIO) -> list[tuple[str, Item]]:
    stop = stream.tell() + _unpack(stream, "<i") - 1
    found = []
    while stream.tell() < stop:
        kind, reader = _READERS[stream.read(1)[0]]
        name = _until_nul(stream).decode()
        found.append((name, Item(kind, reader(stream))))
    if stream.read(1) != b"\0":
        raise ValueError("a document without its end")
    return found


def _items(stream: io.BytesIO) -> list[Item]:
    return [item for _, item in _pairs(stream)]


def _binary(stream: io.BytesIO) -> Binary:
    size, subtype = _unpack(stream, "<i"), stream.read(1)[0]
    data = stream.read(size)
    return Binary(subtype, data[4:] if subtype == 2 else data)


def _code_with_scope(stream: io.BytesIO) -> tuple[bytes, list[tuple[str, Item]]]:
    stream.read(4)
    return _text(stream), _pairs(stream)


def _timestamp(stream: io.BytesIO) -> tuple[int, int]:
    increment = _unpack(stream, "<I")
    return _unpack(stream, "<I"), increment


def _decimal(stream: io.BytesIO) -> Decimal:
    """IEEE 754-2008 decimal128, binary integer coefficient; every NaN is one."""
    low, high = _unpack(stream, "<Q"), _unpack(stream, "<Q")
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


_READERS = {
    0x01: ("double", lambda s: _unpack(s, "<d")),
    0x02: ("string", _text),
    0x03: ("object", _pairs),
    0x04: ("array", _items),
    0x05: ("binData", _binary),
    0x06: ("undefined", lambda _: None),
    0x07: ("objectId", lambda s: s.read(12).hex()),
    0x08: ("bool", lambda s: _unpack(s, "<?")),
    0x09: ("date", lambda s: _unpack(s, "<q")),
    0x0A: ("null", lambda _: None),
    0x0B: ("regex", lambda s: (_until_nul(s), _until_nul(s))),
    0x0C: ("dbPointer", lambda s: (_text(s), s.read(12).hex())),
    0x0D: ("javascript", _text),
    0x0E: ("symbol", _text),
    0x0F: ("javascriptWithScope", _code_with_scope),
    0x10: ("int", lambda s: _unpack(s, "<i")),
    0x11: ("timestamp", _timestamp),
    0x12: ("long", lambda s: _unpack(s, "<q")),
    0x13: ("decimal", _decimal),
    0x7F: ("maxKey", lambda _: None),
    0xFF: ("minKey", lambda _: None),
}
