"""Broken bytes: each is a reject or a row, as the oracle says, and never a crash.

Buffers handed to the core end exactly where the document ends, so that a read past
the end is a read past the Python object.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Iterator

import pytest

import cwarp_core
from tests import oracle
from tests.core.build import (
    Raw,
    array,
    code_with_scope,
    document,
    element,
    int32,
    obj,
    string,
    wrap,
)
from tests.core.differential import encode
from tests.core.samples import SAMPLES
from tests.oracle import Column, Plan

_SMALL = {
    kind: min(values, key=lambda value: len(value[1]))
    for kind, values in SAMPLES.items()
}
EVERY_KIND = document(
    ("_id", obj(("a", int32(1)), ("b", array(string("x"))))),
    *((kind, _SMALL[kind]) for kind in SAMPLES),
    ("deep", obj(("er", obj(("est", array(obj(("x", string("y"))))))))),
    ("code", code_with_scope("f", ("s", string("t")))),
)
PLAN = Plan(
    "canonical",
    (
        Column(("string",), "text", "string"),
        Column(("binData",), "bytea", "binData"),
        Column(("deep", "er", "est"), "jsonb", "array"),
        Column(("regex",), "jsonb", "regex"),
        Column(("decimal",), "numeric", "decimal"),
        Column(("code",), "json", ""),
        Column((), "jsontext", "object"),
    ),
)


def agree(raw: bytes) -> bool:
    """Assert that both halves make the same of these bytes; whether it was a row."""
    batch, expected = encode([raw], PLAN), oracle.encode(raw, PLAN)
    if isinstance(expected, oracle.Rejected):
        assert [each.code for each in batch.rejects] == [expected.code], raw.hex()
        assert batch.payload == b""
    else:
        assert batch.rejects == (), raw.hex()
        assert batch.payload == expected.row, raw.hex()
    try:
        fields = oracle.read_document(raw)
        sound = oracle.texts_are_utf8(fields)
    except oracle.Corrupt:
        sound = False
    assert _sound(raw) == sound, raw.hex()
    return batch.rows == 1


def _sound(raw: bytes) -> bool:
    try:
        cwarp_core.check(raw)
    except cwarp_core.CorruptBSON:
        return False
    return True


@pytest.mark.parametrize(("cut", "offset"), [(0, 0), (3, 0), (9, 0)])
def test_fault_is_located(cut: int, offset: int) -> None:
    with pytest.raises(cwarp_core.CorruptBSON) as caught:
        cwarp_core.check(EVERY_KIND[:cut])
    assert caught.value.offset == offset


def test_whole_document_is_a_row() -> None:
    assert agree(EVERY_KIND)


def test_every_truncation_is_a_reject() -> None:
    for size in range(len(EVERY_KIND)):
        assert not agree(EVERY_KIND[:size])


def test_every_truncation_with_a_true_length_agrees() -> None:
    rows = 0
    for size in range(len(EVERY_KIND) - 5):
        rows += agree(wrap(EVERY_KIND[4 : 4 + size]))
    assert 0 < rows < len(EVERY_KIND) // 4, "whole fields only"


@pytest.mark.parametrize("bit", range(8))
def test_every_flip_of_a_bit_agrees(bit: int) -> None:
    outcomes = set()
    for at in range(len(EVERY_KIND)):
        flipped = bytearray(EVERY_KIND)
        flipped[at] ^= 1 << bit
        outcomes.add(agree(bytes(flipped)))
    assert outcomes == {True, False}


def test_random_bytes_agree(request: pytest.FixtureRequest) -> None:
    """Lengths and type bytes written over by others that occur in the document."""
    seed = random.randrange(2**32)
    generator = random.Random(seed)
    for _ in range(1000):
        raw = bytearray(EVERY_KIND)
        for _ in range(generator.randint(1, 4)):
            at, other = generator.randrange(len(raw)), generator.randrange(len(raw))
            size = generator.choice([1, 1, 4])
            raw[at : at + size] = raw[other : other + size]
        agree(bytes(raw[: len(EVERY_KIND)]))


@pytest.mark.parametrize("type_byte", range(256))
def test_every_type_byte_without_a_value_agrees(type_byte: int) -> None:
    for raw in (b"", b"\0", b"\0" * 4, b"\xff" * 8, b"\xff\xff\xff\x7f" * 5):
        body = int32(1).key[:1] + b"_id\0" + int32(1)[1] + bytes([type_byte]) + b"v\0"
        agree(wrap(body + raw))


@pytest.mark.parametrize(
    "length", [-(2**31), -1, 0, 1, 3, 4, 5, 6, 12, 13, 14, 100, 2**31 - 1]
)
@pytest.mark.parametrize(
    "kind",
    [
        "string",
        "object",
        "array",
        "binData",
        "javascript",
        "symbol",
        "dbPointer",
        "javascriptWithScope",
    ],
)
def test_lying_length_agrees(kind: str, length: int) -> None:
    for value in SAMPLES[kind][:3]:
        lie = length.to_bytes(4, "little", signed=True) + value[1][4:]
        agree(document(("_id", int32(1)), ("v", Raw(value[0], lie)), ("w", int32(2))))


@pytest.fixture
def deep_recursion() -> Iterator[None]:
    """The oracle recurses, four frames a level."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.parametrize(("depth", "row"), [(199, True), (200, True), (201, False)])
@pytest.mark.parametrize("shape", ["object", "array", "scope"])
def test_depth_is_bounded(
    deep_recursion: None, depth: int, row: bool, shape: str
) -> None:
    """Documents, arrays and scopes open at once, the root included: 200 at most."""
    inner = document()
    for _ in range(depth - 2):
        if shape == "scope":
            code = struct.pack("<ii", len(inner) + 9, 1) + b"\0"
            inner = document(("0", Raw(0x0F, code + inner)))
        else:
            inner = wrap(element(0x04 if shape == "array" else 0x03, inner, "0"))
    raw = document(("_id", int32(1)), ("v", Raw(0x04, inner)))
    assert agree(raw) is row


def test_very_deep_nesting_does_not_end_the_process() -> None:
    inner = document()
    for _ in range(20_000):
        inner = wrap(element(0x03, inner, ""))
    raw = document(("_id", int32(1)), ("v", Raw(0x03, inner)))
    assert [each.code for each in encode([raw], PLAN).rejects] == ["corrupt"]
    assert not _sound(raw)


@pytest.mark.parametrize("name", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"a\xe2\x98"])
def test_field_name_that_is_not_utf8_is_a_reject(name: bytes) -> None:
    for value in (int32(1), obj((b"a", int32(1))), array()):
        assert not agree(document(("_id", int32(1)), (name, value)))
        assert not agree(document(("_id", int32(1)), ("v", obj((name, value)))))
        assert not agree(document(("_id", obj((name, value)))))


def test_broken_document_is_corrupt_before_all_else() -> None:
    """Without an ``_id``, with one of another kind, with a misfit: unreadable first."""
    broken = ("v", Raw(0x03, wrap(b"\x05a\0\1")))
    assert not agree(document(broken))
    columns = (Column(("a",), "integer", "int"),)
    plan = Plan("bigint", columns, on_misfit="dead_letter")
    for fields in ((("_id", string("x")),), (("_id", int32(1)), ("a", string("x")))):
        batch = encode([document(*fields, broken)], plan)
        assert [(each.code, each.column) for each in batch.rejects] == [("corrupt", -1)]


@pytest.mark.parametrize("name", ["string", "_id", "deep", "unknown"])
def test_broken_value_under_a_duplicate_key_is_a_reject(name: str) -> None:
    """The last value of a name wins; what it hides must be sound all the same."""
    broken = Raw(0x03, wrap(b"\x05a\0\1"))
    raw = document(("_id", int32(1)), (name, broken), (name, int32(2)))
    assert not agree(raw)
