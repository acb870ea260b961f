"""Raw replies of find, aggregate and getMore."""

from __future__ import annotations

import struct
from typing import Any

import bson
import pytest
from bson import Int64, Timestamp

from cwarp_core import BatchEncoder, CorruptBSON, PlanColumn, Reply, RowPlan
from tests.core.build import (
    Raw,
    array,
    document,
    double,
    int32,
    int64,
    obj,
    string,
    timestamp,
)
from tests.core.samples import SAMPLES

DOCUMENTS = [{"_id": 1, "a": "x"}, {"a": "y", "_id": {"k": 2}}, {"a": "z"}, {}]


def _nested(fields: dict[str, Any]) -> bytes:
    """A document as it lies inside another: the driver moves no ``_id`` there."""
    return bson.encode({"d": fields})[len(b"size\x03d\0") : -1]


def reply(batch: str = "firstBatch", **more: Any) -> bytes:
    cursor = {batch: DOCUMENTS, "id": Int64(2**62 + 1), "ns": "shop.\u00e9", **more}
    answer = {"cursor": cursor, "ok": 1.0, "operationTime": Timestamp(1_700_000_000, 9)}
    return bson.encode(answer)


@pytest.mark.parametrize("batch", ["firstBatch", "nextBatch"])
def test_reply_is_read(batch: str) -> None:
    raw = reply(batch, postBatchResumeToken={"_data": "8263"})
    read = Reply(raw)
    assert len(read) == 4
    documents = [_nested(fields) for fields in DOCUMENTS]
    assert [read.document(at) for at in range(4)] == documents
    assert read.key(0) == b"\x10\1\0\0\0"
    assert read.key(1) == b"\x03" + bson.encode({"k": 2})
    assert (read.key(2), read.key(3)) == (None, None)
    assert read.cursor_id == 2**62 + 1
    assert read.namespace == "shop.\u00e9"
    assert read.post_batch_resume_token == bson.encode({"_data": "8263"})
    assert read.operation_time == 1_700_000_000 << 32 | 9
    assert read.nbytes == len(raw)


def test_absent_parts_have_their_defaults() -> None:
    raw = bson.encode({"ok": 1, "cursor": {"firstBatch": [], "id": Int64(0)}})
    read = Reply(raw)
    assert (len(read), read.cursor_id, read.operation_time) == (0, 0, 0)
    assert read.post_batch_resume_token is None


def test_fields_come_in_any_order() -> None:
    cursor = obj(
        ("ns", string("d.c")),
        ("later", array(int32(1))),
        ("id", int64(5)),
        ("nextBatch", array(obj(("_id", int32(1))))),
    )
    raw = document(
        ("operationTime", timestamp(3, 4)), ("cursor", cursor), ("x", cursor)
    )
    read = Reply(raw)
    assert (len(read), read.cursor_id, read.namespace) == (1, 5, "d.c")
    assert read.operation_time == 3 << 32 | 4


@pytest.mark.parametrize("index", [4, 100, -5])
def test_index_out_of_range(index: int) -> None:
    with pytest.raises(IndexError):
        Reply(reply()).document(index)
    with pytest.raises(IndexError):
        Reply(reply()).key(index)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\5\0\0\0",
        document(),
        document(("ok", double(1.0))),
        document(("cursor", int32(1))),
        document(("cursor", obj(("id", int64(0))))),
        document(("cursor", obj(("firstBatch", array(int32(1))), ("id", int64(0))))),
        document(("cursor", obj(("firstBatch", obj()), ("id", string("0"))))),
    ],
    ids=[
        "nothing",
        "short",
        "empty",
        "no cursor",
        "cursor is a number",
        "no batch",
        "batch of numbers",
        "id is a string",
    ],
)
def test_reply_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(CorruptBSON):
        Reply(raw)


def test_every_truncation_and_flip_is_refused_or_read() -> None:
    raw = reply(postBatchResumeToken={"_data": "8263"})
    refused = 0
    for at in range(len(raw)):
        with pytest.raises(CorruptBSON):
            Reply(raw[:at])
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[at] ^= 1 << bit
            refused += _read_all(bytes(flipped)) is None
    assert 0 < refused < len(raw) * 8


def _read_all(raw: bytes) -> list[object] | None:
    try:
        read = Reply(raw)
        return [
            read.cursor_id,
            read.namespace,
            read.post_batch_resume_token,
            *(read.document(at) for at in range(len(read))),
            *(read.key(at) for at in range(len(read))),
        ]
    except CorruptBSON:
        return None


def test_reply_of_documents() -> None:
    documents = [_nested(fields) for fields in DOCUMENTS]
    read = Reply.of_documents(documents, 7 << 32)
    assert [read.document(at) for at in range(len(read))] == documents
    assert read.operation_time == 7 << 32
    assert read.key(0) == b"\x10\1\0\0\0"
    assert len(Reply.of_documents([])) == 0
    assert Reply.of_documents([]).operation_time == 0


def test_reply_of_documents_with_a_token() -> None:
    """What a change stream of another kind than MongoDB's gives."""
    token = document(("_data", string("8264")))
    for documents in ([], [_nested(DOCUMENTS[0])]):
        read = Reply.of_documents(documents, 7 << 32, token)
        assert read.post_batch_resume_token == token
        assert [read.document(at) for at in range(len(read))] == documents
    assert Reply.of_documents([]).post_batch_resume_token is None


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"x",
        b"\4\0\0\0",
        document(("_id", int32(1)))[:-1],
        document(("_id", int32(1)))[:-1] + b"\1",
        document(("_id", int32(1))) + b"\0",
    ],
    ids=["nothing", "a letter", "length 4", "short", "no end", "long"],
)
def test_a_reply_of_a_broken_document_names_it(broken: bytes) -> None:
    """Offsets count in what was given, not in the reply that is made of it."""
    good = document(("_id", int32(1)))
    for documents, token, what in (
        ([broken], None, "document 0"),
        ([good, good, broken, broken], None, "document 2"),
        ([good], broken, "the token"),
    ):
        with pytest.raises(CorruptBSON, match=f"at byte 0 of {what}$") as caught:
            Reply.of_documents(documents, 0, token)
        assert caught.value.offset == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([b"\5\0\0\0\0"], "x"), TypeError),
        (([b"\5\0\0\0\0"], 1.0), TypeError),
        (([b"\5\0\0\0\0"], -1), OverflowError),
        (([b"\5\0\0\0\0"], 2**64), OverflowError),
        (([b"\5\0\0\0\0"], 0, "token"), TypeError),
        ((["x"],), TypeError),
        (([None],), TypeError),
        ((None,), TypeError),
    ],
)
def test_what_is_no_reply_is_refused(
    arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Reply.of_documents(*arguments)


def test_reply_of_more_than_its_length_can_say_is_refused() -> None:
    """2 GiB of documents, all of them the same bytes."""
    with pytest.raises(ValueError, match="2 GiB"):
        Reply.of_documents([bytes(1 << 20)] * 2048)
    with pytest.raises(ValueError, match="2 GiB"):
        Reply.of_documents([], 0, bytes(1 << 31))


def test_a_reply_that_is_begun_again_stays_what_it_is() -> None:
    """Events point into its bytes."""
    read = Reply(reply())
    Reply.__init__(read, document())  # type: ignore[call-arg]
    assert [read.document(at) for at in range(4)] == [_nested(f) for f in DOCUMENTS]
    with pytest.raises(TypeError):
        Reply.__new__(Reply)  # type: ignore[call-arg]


def test_corrupt_document_inside_is_found_by_its_reader() -> None:
    """One rotten document does not spoil the reply's others."""
    good = document(("_id", int32(1)))
    bad = document(("_id", int32(2)), ("a", Raw(0x08, b"\2")))
    raw = document(
        (
            "cursor",
            obj(
                ("firstBatch", array(Raw(0x03, good), Raw(0x03, bad), Raw(0x03, good))),
                ("id", int64(0)),
                ("ns", string("d.c")),
            ),
        )
    )
    encoder = BatchEncoder(RowPlan("bigint", []))
    assert encoder.add_reply(Reply(raw), 0) == 2
    assert [each.document for each in encoder.take().rejects] == [bad]


@pytest.mark.parametrize("kind", SAMPLES)
def test_key_of_every_kind(kind: str) -> None:
    documents = [document(("a", each), ("_id", each)) for each in SAMPLES[kind]]
    read = Reply.of_documents(documents)
    keys = [read.key(at) for at in range(len(read))]
    assert keys == [each.key for each in SAMPLES[kind]]


def test_reply_rows_are_the_documents_rows() -> None:
    plan = RowPlan("canonical", [PlanColumn(("a",), "text", "string")])
    one, many = BatchEncoder(plan), BatchEncoder(plan)
    assert many.add_reply(Reply(reply()), 5 << 32) == 2
    for each in DOCUMENTS:
        one.add_document(_nested(each), 5 << 32)
    assert many.take() == one.take()


def test_length_of_a_document_that_lies() -> None:
    inner = bytearray(document(("_id", int32(1))))
    struct.pack_into("<i", inner, 0, len(inner) + 1)
    with pytest.raises(CorruptBSON):
        Reply(
            document(
                (
                    "cursor",
                    obj(("firstBatch", array(Raw(3, bytes(inner)))), ("id", int64(0))),
                )
            )
        )
