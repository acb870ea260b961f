"""What an encoder gives beside its rows, and a payload cut into rows."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest

from cwarp_core import (
    COPY_HEADER,
    COPY_TRAILER,
    BatchEncoder,
    Reply,
    parse_events,
    row_offsets,
)
from tests.core.allocation_probe import DOCUMENTS, EVENT
from tests.core.build import document, int32, string
from tests.core.differential import encode, row_plan
from tests.core.test_rejects import BAD, GOOD, PLAN


def test_documents_of_the_rows_are_kept() -> None:
    encoder = BatchEncoder(row_plan(PLAN), keep=True)
    for raw in (GOOD[0], BAD["misfit"][0], GOOD[1]):
        encoder.add_document(raw, 0)
    encoder.add_reply(Reply.of_documents([BAD["corrupt"][0], *GOOD[2:]]), 0)
    batch = encoder.take()
    assert batch.raw == b"".join(GOOD)
    assert batch.rows == len(GOOD)
    plain = encode(
        [GOOD[0], BAD["misfit"][0], GOOD[1], BAD["corrupt"][0], *GOOD[2:]], PLAN
    )
    assert plain.raw == b""
    assert batch == plain._replace(raw=batch.raw)
    encoder.add_document(GOOD[3], 0)
    assert encoder.take().raw == GOOD[3]
    assert encoder.take().raw == b""


def test_reject_of_any_kind_is_not_kept() -> None:
    for bad, _, _ in BAD.values():
        encoder = BatchEncoder(row_plan(PLAN), keep=True)
        assert encoder.add_document(bad, 0) is False
        batch = encoder.take()
        assert (batch.rows, batch.raw) == (0, b"")


def test_documents_of_events_are_kept() -> None:
    events = parse_events(Reply.of_documents([EVENT]))
    encoder = BatchEncoder(row_plan(PLAN), keep=True)
    assert encoder.add_events(events * 3) == 3
    assert encoder.take().raw == DOCUMENTS[0] * 3


def test_kept_documents_grow_their_buffer() -> None:
    documents = [
        document(("_id", int32(at)), ("a", string("x" * (at * 379 % 9000))))
        for at in range(300)
    ]
    encoder = BatchEncoder(row_plan(PLAN), keep=True)
    encoder.add_reply(Reply.of_documents(documents), 0)
    assert encoder.take().raw == b"".join(documents)


def test_payload_is_cut_into_its_rows() -> None:
    payload = encode(GOOD, PLAN).payload
    offsets = row_offsets(payload)
    rows = [payload[start:end] for start, end in pairwise(offsets)]
    assert rows == [encode([each], PLAN).payload for each in GOOD]
    assert (offsets[0], offsets[-1]) == (0, len(payload))
    assert row_offsets(b"") == [0]
    # A row without cells, and one of a NULL and an empty cell.
    assert row_offsets(b"\0\0" + struct.pack(">hii", 2, -1, 0)) == [0, 2, 12]


@pytest.mark.parametrize(
    "broken",
    [
        COPY_HEADER,
        COPY_TRAILER,
        b"\0",
        b"\0\1",
        b"\0\1\0\0\0",
        struct.pack(">hi", 1, 1),
        struct.pack(">hi", 1, -2),
        struct.pack(">hi", 1, -(2**31)),
        struct.pack(">hi", 1, 2**31 - 1) + b"x",
        struct.pack(">hi", 2, 1) + b"x",
    ],
)
def test_what_is_not_whole_rows_is_refused(broken: bytes) -> None:
    row = encode(GOOD[:1], PLAN).payload
    for payload in (broken, row + broken):
        with pytest.raises(ValueError, match=f"byte {len(payload) - len(broken)} "):
            row_offsets(payload)


def test_every_cut_of_a_payload_is_refused() -> None:
    payload = encode(GOOD, PLAN).payload
    whole = row_offsets(payload)
    for size in range(len(payload)):
        if size in whole:
            assert row_offsets(payload[:size]) == [at for at in whole if at <= size]
        else:
            with pytest.raises(ValueError, match="no whole row"):
                row_offsets(payload[:size])
