"""A document that becomes no row: the reason, and its neighbours untouched."""

from __future__ import annotations

import pytest

from cwarp_core import BatchEncoder, Reply
from tests.core.build import binary, document, double, int32, obj, string
from tests.core.differential import assert_same, encode, row_plan
from tests.oracle import Column, Plan

PLAN = Plan(
    "bigint",
    (Column(("a",), "text", "string"), Column(("b", "c"), "integer", "int")),
    on_misfit="dead_letter",
)
GOOD = [
    document(("_id", int32(at)), ("a", string("x" * at)), ("b", obj(("c", int32(at)))))
    for at in range(4)
]
_SOUND = document(("_id", int32(9)), ("a", string("left behind")), ("z", double(1.0)))
BAD = {
    "corrupt": (_SOUND[:-10] + b"\x7e" + _SOUND[-9:], "corrupt", -1),
    "corrupt at the end": (_SOUND[:-1] + b"\1", "corrupt", -1),
    "truncated": (_SOUND[:-3], "corrupt", -1),
    "empty bytes": (b"", "corrupt", -1),
    "missing_id": (document(("a", string("x")), ("z", int32(1))), "missing_id", -1),
    "empty document": (document(), "missing_id", -1),
    "key_kind": (document(("z", int32(1)), ("_id", string("x"))), "key_kind", -1),
    "misfit": (
        document(("_id", int32(9)), ("z", int32(1)), ("b", obj(("c", string("x"))))),
        "misfit",
        1,
    ),
    "two misfits": (
        document(("b", obj(("c", string("x")))), ("a", int32(1)), ("_id", int32(9))),
        "misfit",
        1,
    ),
}


@pytest.mark.parametrize("reason", BAD)
def test_reject_leaves_its_neighbours_alone(reason: str) -> None:
    bad, code, column = BAD[reason]
    clean = encode(GOOD, PLAN)
    batch = assert_same([bad, *GOOD[:2], bad, bad, *GOOD[2:], bad], PLAN)
    assert batch.payload == clean.payload
    assert (batch.rows, batch.documents) == (4, 8)
    assert {(reject.code, reject.column) for reject in batch.rejects} == {
        (code, column)
    }
    assert batch.drift == clean.drift == ()
    assert batch.rescued == 0


def test_a_plan_that_fails_names_its_misfits_as_dead_letters_do() -> None:
    documents = [GOOD[0], *(bad for bad, _, _ in BAD.values()), GOOD[1]]
    failing = assert_same(documents, PLAN._replace(on_misfit="fail"))
    assert failing == encode(documents, PLAN)


def test_reject_in_a_reply_leaves_its_neighbours_alone() -> None:
    bad = BAD["corrupt"][0]
    encoder = BatchEncoder(row_plan(PLAN))
    assert encoder.add_reply(Reply.of_documents([GOOD[0], bad, *GOOD[1:]]), 0) == 4
    assert encoder.rows == 4
    batch = encoder.take()
    assert batch.payload == encode(GOOD, PLAN).payload
    assert [reject.document for reject in batch.rejects] == [bad]


@pytest.mark.parametrize(
    ("reason", "key"),
    [("misfit", "9"), ("key_kind", '"x"'), ("missing_id", None)],
)
def test_reject_names_its_document(reason: str, key: str | None) -> None:
    assert [reject.key for reject in encode([BAD[reason][0]], PLAN).rejects] == [key]


def test_fault_is_located() -> None:
    for reason in ("corrupt", "corrupt at the end"):
        bad = BAD[reason][0]
        (reject,) = encode([bad], PLAN).rejects
        assert 0 <= reject.offset < len(bad)


def test_encoder_is_empty_after_take_and_can_go_on() -> None:
    encoder = BatchEncoder(row_plan(PLAN))
    assert encoder.add_document(GOOD[0], 0) is True
    assert encoder.add_document(BAD["misfit"][0], 0) is False
    first = encoder.take()
    assert (encoder.rows, encoder.nbytes) == (0, 0)
    assert encoder.add_document(GOOD[0], 0) is True
    assert (encoder.rows, encoder.nbytes) == (1, len(first.payload))
    assert encoder.take() == first._replace(documents=1, rejects=())
    assert encoder.take().documents == 0


def test_many_rows_grow_the_buffer() -> None:
    texts = [string(bytes([97 + at % 26]) * (at * 37 % 5000)) for at in range(500)]
    documents = [
        document(("_id", int32(at)), ("a", text)) for at, text in enumerate(texts)
    ]
    documents.append(document(("_id", int32(0)), ("a", string("x" * 3_000_000))))
    assert_same(documents, PLAN)


def test_reject_leaves_no_subtype_in_the_drift() -> None:
    plan = Plan("bigint", (Column(("a",), "bytea", "binData"),))
    good = document(("_id", int32(1)), ("a", binary(b"x", 5)), ("b", binary(b"x", 0)))
    bad = document(("_id", string("k")), ("a", binary(b"x", 9)), ("b", binary(b"x", 9)))
    batch = assert_same([good, bad], plan)
    assert {(each.path, each.subtype) for each in batch.drift} == {
        (("a",), 5),
        (("b",), 0),
    }
