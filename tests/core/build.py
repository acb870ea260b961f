"""BSON by hand: every type, and bytes that no driver would write."""

from __future__ import annotations

import struct

from bson import Decimal128


def element(type_byte: int, raw: bytes, name: str | bytes) -> bytes:
    encoded = name.encode() if isinstance(name, str) else name
    return bytes([type_byte]) + encoded + b"\0" + raw


def wrap(body: bytes) -> bytes:
    return struct.pack("<i", len(body) + 5) + body + b"\0"


class Raw(tuple[int, bytes]):
    """A value: its type byte and its bytes. Prints as the id of a test."""

    __slots__ = ()

    def __new__(cls, type_byte: int, raw: bytes = b"") -> Raw:
        return super().__new__(cls, (type_byte, raw))

    @property
    def key(self) -> bytes:
        """As ``Reply.key`` gives an ``_id``: the type byte, then the value."""
        return bytes([self[0]]) + self[1]


def document(*fields: tuple[str | bytes, Raw]) -> bytes:
    return wrap(b"".join(element(*value, name) for name, value in fields))


def double(number: float) -> Raw:
    return Raw(0x01, struct.pack("<d", number))


def _counted(text: str | bytes) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<i", len(encoded) + 1) + encoded + b"\0"


def string(text: str | bytes) -> Raw:
    return Raw(0x02, _counted(text))


def obj(*fields: tuple[str | bytes, Raw]) -> Raw:
    return Raw(0x03, document(*fields))


def array(*values: Raw) -> Raw:
    fields = ((str(index), value) for index, value in enumerate(values))
    return Raw(0x04, document(*fields))


def binary(data: bytes, subtype: int = 0) -> Raw:
    if subtype == 2:
        data = struct.pack("<i", len(data)) + data
    return Raw(0x05, struct.pack("<iB", len(data), subtype) + data)


def undefined() -> Raw:
    return Raw(0x06)


def oid(data: bytes) -> Raw:
    return Raw(0x07, data)


def boolean(value: bool) -> Raw:
    return Raw(0x08, bytes([value]))


def date(milliseconds: int) -> Raw:
    return Raw(0x09, struct.pack("<q", milliseconds))


def null() -> Raw:
    return Raw(0x0A)


def regex(pattern: bytes, options: bytes) -> Raw:
    return Raw(0x0B, pattern + b"\0" + options + b"\0")


def db_pointer(namespace: str | bytes, data: bytes) -> Raw:
    return Raw(0x0C, _counted(namespace) + data)


def code(text: str | bytes) -> Raw:
    return Raw(0x0D, _counted(text))


def symbol(text: str | bytes) -> Raw:
    return Raw(0x0E, _counted(text))


def code_with_scope(text: str | bytes, *scope: tuple[str | bytes, Raw]) -> Raw:
    body = _counted(text) + document(*scope)
    return Raw(0x0F, struct.pack("<i", len(body) + 4) + body)


def int32(number: int) -> Raw:
    return Raw(0x10, struct.pack("<i", number))


def timestamp(seconds: int, increment: int) -> Raw:
    return Raw(0x11, struct.pack("<II", increment, seconds))


def int64(number: int) -> Raw:
    return Raw(0x12, struct.pack("<q", number))


def decimal(text: str) -> Raw:
    return Raw(0x13, Decimal128(text).bid)


def decimal_bits(bits: int) -> Raw:
    return Raw(0x13, bits.to_bytes(16, "little"))


def max_key() -> Raw:
    return Raw(0x7F)


def min_key() -> Raw:
    return Raw(0xFF)
