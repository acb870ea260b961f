"""One hazard: bytes, the column they meet, and what becomes of them."""

from __future__ import annotations

import struct
from typing import NamedTuple

from tests.core.build import (
    Raw,
    array,
    code_with_scope,
    document,
    int32,
    obj,
    string,
)


class Row(NamedTuple):
    """The cell of ``v`` as PostgreSQL would print it, and ``_cwarp_extra``."""

    cell: str | None
    extra: str | None = None


class Refused(NamedTuple):
    """A reject: its code, and the byte offset that it names."""

    code: str
    offset: int


class Hazard(NamedTuple):
    hazard: str
    case: str
    given: bytes | Raw
    column: str
    outcome: Row | Refused

    @property
    def document(self) -> bytes:
        if isinstance(self.given, Raw):
            return with_id(("v", self.given))
        return self.given


ID = ("_id", int32(1))
NATIVE = {"text": "string", "double precision": "double", "timestamptz": "date"}
NATIVE |= {"numeric": "decimal", "bytea": "binData", "uuid": "uuid", "bigint": "long"}
NATIVE |= {"boolean": "bool", "integer": "int", "jsonb": "", "json": ""}
AT_0, AT_V = Refused("corrupt", 0), Refused("corrupt", 13)
#: Where the 201st document or array begins: seven bytes a level.
TOO_DEEP = Refused("corrupt", 16 + 199 * 7)


def with_id(*fields: tuple[str | bytes, Raw]) -> bytes:
    return document(ID, *fields)


def lying(value: Raw, length: int) -> Raw:
    """The value with another int32 at its start."""
    return Raw(value[0], struct.pack("<i", length) + value[1][4:])


#: What a level of nesting adds before and after what it holds, in BSON and in JSON.
LEVELS: dict[str, tuple[int, bytes, bytes, str, str]] = {
    "documents": (3, b"", b"0", '{"0":', "}"),
    "arrays": (4, b"", b"0", "[", "]"),
    "scopes": (15, b"\1\0\0\0\0", b"0", '{"$code":"","$scope":{"0":', "}}"),
}


def nested(kind: str, depth: int) -> Raw:
    """A value in which ``depth`` documents are open at once, the root included."""
    type_byte, code_text, name, _, _ = LEVELS[kind]
    added = 4 * (type_byte == 15) + len(code_text)
    empty = 5 + added
    each = empty + 1 + len(name) + 1
    head = bytearray()
    for left in range(depth - 2, -1, -1):
        size = empty + left * each
        if added:
            head += struct.pack("<i", size)
        head += code_text + struct.pack("<i", size - added)
        if left:
            head += bytes([type_byte]) + name + b"\0"
    return Raw(type_byte, bytes(head) + bytes(depth - 1))


def mixed(depth: int) -> Raw:
    """As ``nested``, a document, an array and a scope in turn, outermost first."""
    value = obj()
    for left in range(depth - 3, -1, -1):
        value = (obj(("0", value)), array(value), code_with_scope("", ("0", value)))[
            left % 3
        ]
    return value


def mixed_json(depth: int) -> str:
    text = "{}"
    for left in range(depth - 3, -1, -1):
        _, _, _, before, after = list(LEVELS.values())[left % 3]
        text = before + text + after
    return text


def nested_json(kind: str, depth: int) -> str:
    _, _, _, before, after = LEVELS[kind]
    innermost = {"documents": "{}", "arrays": "[]"}.get(
        kind, '{"$code":"","$scope":{}}'
    )
    return before * (depth - 2) + innermost + after * (depth - 2)


def unfit(base64: str) -> Row:
    """Text that no text column can hold is kept byte for byte."""
    return Row(None, f'{{"v":{{"$text":{{"base64":"{base64}"}}}}}}')


def extra(json: str) -> str:
    return f'{{"v":{json}}}'


#: The kinds of hazard.
LENGTHS = "the document's own length"
STRINGS = "the length of a string, code or symbol"
UTF8 = "text that is not UTF-8"
INNER = "the length of a sub-document or an array"
DEPTH = "nesting"
BINARY = "binary"
SCOPE = "code with scope"
SHORT = "a value cut short, or no value of its type"
NAMES = "field names"
DECIMAL = "decimal128"
DATES = "dates and timestamps"
NUMBERS = "numbers in a column of another type"

SOUND = with_id(("v", string("x")))
LEGACY = bytes(range(16))
