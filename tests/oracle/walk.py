"""Raw BSON to a tree that loses nothing: types, order, duplicates, NaN payloads.

``bson.decode`` is no use here: it merges int32 with int64, drops duplicate fields and
refuses strings that MongoDB stores. Layout as in https://bsonspec.org/spec.html.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

MAX_DEPTH = 200

KINDS = {
    0x01: "double",
    0x02: "string",
    0x03: "object",
    0x04: "array",
    0x05: "binData",
    0x06: "undefined",
    0x07: "objectId",
    0x08: "bool",
    0x09: "date",
    0x0A: "null",
    0x0B: "regex",
    0x0C: "dbPointer",
    0x0D: "javascript",
    0x0E: "symbol",
    0x0F: "javascriptWithScope",
    0x10: "int",
    0x11: "timestamp",
    0x12: "long",
    0x13: "decimal",
    0x7F: "maxKey",
    0xFF: "minKey",
}
FIXED = {"double": 8, "objectId": 12, "date": 8, "int": 4, "long": 8, "decimal": 16}
EMPTY = frozenset({"undefined", "null", "minKey", "maxKey"})


class Corrupt(ValueError):
    """BSON that cannot be read."""


class Value(NamedTuple):
    """One BSON value.

    kind: its ``$type`` alias.  data: int for int, long and date; bool; bytes for
    double, decimal, objectId, binData and every text; (t, i) for timestamp; (pattern,
    options) for regex; (namespace, oid) for dbPointer; (code, fields) for
    javascriptWithScope; a list of (name, Value) for object and
    array; None for the rest.
    """

    kind: str
    data: Any = None
    subtype: int = 0


Fields = list[tuple[str, Value]]


def kind_of(value: Value) -> str:
    """The kind as plans, drift and observations name it."""
    if value.kind == "binData" and len(value.data) == 16:
        return {4: "uuid", 3: "uuidLegacy"}.get(value.subtype, "binData")
    return value.kind


def read_document(raw: bytes) -> Fields:
    """The fields of one whole document. Raises Corrupt."""
    fields, end = _document(raw, 0, 1)
    if end != len(raw):
        raise Corrupt("bytes after the document")
    return fields


def read_element(raw: bytes) -> Value:
    """The value of an element without its name: one type byte, then its bytes."""
    if not raw:
        raise Corrupt("no type byte")
    value, end = _value(raw, 1, raw[0], 1)
    if end != len(raw):
        raise Corrupt("bytes after the value")
    return value


def _take(raw: bytes, at: int, size: int) -> bytes:
    if size < 0 or at + size > len(raw):
        raise Corrupt("a value passes the end")
    return raw[at : at + size]


def _int32(raw: bytes, at: int) -> int:
    return struct.unpack("<i", _take(raw, at, 4))[0]


def _cstring(raw: bytes, at: int) -> tuple[bytes, int]:
    end = raw.find(b"\0", at)
    if end < 0:
        raise Corrupt("a name without its end")
    return raw[at:end], end + 1


def _string(raw: bytes, at: int) -> tuple[bytes, int]:
    size = _int32(raw, at)
    if size < 1:
        raise Corrupt("string length below 1")
    text = _take(raw, at + 4, size)
    if text[-1]:
        raise Corrupt("a string without its end")
    return text[:-1], at + 4 + size


def _document(raw: bytes, at: int, depth: int) -> tuple[Fields, int]:
    if depth > MAX_DEPTH:
        raise Corrupt("nested too deep")
    size = _int32(raw, at)
    if size < 5:
        raise Corrupt("document length below 5")
    _take(raw, at, size)
    last = at + size - 1
    body = raw[:last]
    if raw[last]:
        raise Corrupt("a document without its end")
    at += 4
    fields: Fields = []
    while at < last:
        type_byte = raw[at]
        name, at = _cstring(body, at + 1)
        try:
            text = name.decode()
        except UnicodeDecodeError as error:
            raise Corrupt("a field name that is not UTF-8") from error
        value, at = _value(body, at, type_byte, depth)
        fields.append((text, value))
    return fields, last + 1


def _value(raw: bytes, at: int, type_byte: int, depth: int) -> tuple[Value, int]:
    kind = KINDS.get(type_byte)
    if kind is None:
        raise Corrupt(f"unknown type 0x{type_byte:02x}")
    if kind in EMPTY:
        return Value(kind), at
    if kind in FIXED:
        size = FIXED[kind]
        data = _take(raw, at, size)
        if kind in ("int", "long", "date"):
            return Value(kind, int.from_bytes(data, "little", signed=True)), at + size
        return Value(kind, data), at + size
    if kind in ("string", "javascript", "symbol"):
        text, at = _string(raw, at)
        return Value(kind, text), at
    if kind in ("object", "array"):
        fields, at = _document(raw, at, depth + 1)
        return Value(kind, fields), at
    if kind == "bool":
        data = _take(raw, at, 1)
        if data not in (b"\0", b"\1"):
            raise Corrupt("a bool that is neither 0 nor 1")
        return Value(kind, data == b"\1"), at + 1
    if kind == "timestamp":
        increment, seconds = struct.unpack("<II", _take(raw, at, 8))
        return Value(kind, (seconds, increment)), at + 8
    if kind == "regex":
        pattern, at = _cstring(raw, at)
        options, at = _cstring(raw, at)
        return Value(kind, (pattern, options)), at
    if kind == "dbPointer":
        namespace, at = _string(raw, at)
        return Value(kind, (namespace, _take(raw, at, 12))), at + 12
    if kind == "binData":
        return _binary(raw, at)
    return _code_with_scope(raw, at, depth)


def _binary(raw: bytes, at: int) -> tuple[Value, int]:
    size = _int32(raw, at)
    subtype = _take(raw, at + 4, 1)[0]
    data = _take(raw, at + 5, size)
    if subtype == 2:
        # The old binary form repeats its length inside; only what follows is data.
        if size < 4 or _int32(data, 0) != size - 4:
            raise Corrupt("subtype 2 with a wrong inner length")
        data = data[4:]
    return Value("binData", data, subtype), at + 5 + size


def _code_with_scope(raw: bytes, at: int, depth: int) -> tuple[Value, int]:
    size = _int32(raw, at)
    whole = raw[: at + len(_take(raw, at, size))]
    code, inner = _string(whole, at + 4)
    scope, end = _document(whole, inner, depth + 1)
    if end != at + size:
        raise Corrupt("code with scope of a wrong length")
    return Value("javascriptWithScope", (code, scope)), end


def texts_are_utf8(fields: Fields) -> bool:
    """What ``cwarp_core.check`` asks for beyond structure: no text broken anywhere."""
    return all(_utf8(value) for _, value in fields)


def _utf8(value: Value) -> bool:
    kind, data = value.kind, value.data
    if kind in ("object", "array"):
        return texts_are_utf8(data)
    if kind == "javascriptWithScope" and not texts_are_utf8(data[1]):
        return False
    if kind in ("string", "javascript", "symbol"):
        texts = [data]
    elif kind == "regex":
        texts = list(data)
    elif kind in ("dbPointer", "javascriptWithScope"):
        texts = [data[0]]
    else:
        texts = []
    try:
        return all(isinstance(text.decode(), str) for text in texts)
    except UnicodeDecodeError:
        return False
