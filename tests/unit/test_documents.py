"""Documents, ids and changes as bytes are what a decoder of BSON sees in them."""

from __future__ import annotations

import itertools
from typing import Any

import bson
import pytest

from cartridge_warp.conformance.documents import ZOO
from cartridge_warp.documents import change_event, holds, in_order, key_of
from cartridge_warp.model import ChunkRange
from cwarp_core import Reply, compare_keys, parse_events

TOKEN = bson.encode({"place": 7})
DOCUMENTS = [bson.encode({"n": 1, "_id": each}) for each in ZOO]


def test_a_key_is_type_and_bytes() -> None:
    fields = b"\x10x\0\1\0\0\0\x02_id\0\3\0\0\0ab\0\0"
    assert key_of(bytes([len(fields) + 4, 0, 0, 0]) + fields) == b"\x02\3\0\0\0ab\0"
    with pytest.raises(ValueError, match="no _id"):
        key_of(bson.encode({"x": 1}))


def test_documents_are_sorted_by_id() -> None:
    keys = [key_of(each) for each in in_order(reversed(DOCUMENTS))]
    assert len(keys) == len(ZOO)
    assert all(compare_keys(*each) < 0 for each in itertools.pairwise(keys))


def test_a_range_holds_its_lower_bound_and_not_its_upper() -> None:
    one, two, three = (key_of(bson.encode({"_id": n})) for n in (1, 2, 3))
    for chunk, held in (
        (ChunkRange(None, None), [one, two, three]),
        (ChunkRange(None, two), [one]),
        (ChunkRange(two, None), [two, three]),
        (ChunkRange(two, three), [two]),
        (ChunkRange(two, two), []),
    ):
        assert [key for key in (one, two, three) if holds(chunk, key)] == held


@pytest.mark.parametrize("raw", DOCUMENTS)
@pytest.mark.parametrize("operation", ["replace", "delete"])
def test_an_event_is_read_as_it_was_made(raw: bytes, operation: str) -> None:
    document = raw if operation == "replace" else None
    time = 1_764_000_000 << 32 | 0xFFFFFFFF
    made = change_event(TOKEN, time, operation, "ö rders", key_of(raw), document)
    decoded: dict[str, Any] = bson.decode(
        made, bson.CodecOptions(document_class=dict, tz_aware=True)
    )
    assert list(decoded) == [
        *("_id", "operationType", "clusterTime", "ns", "documentKey"),
        *(["fullDocument"] if document else []),
    ]
    [event] = parse_events(Reply.of_documents([made], 5, TOKEN))
    assert (event.token, event.cluster_time) == (TOKEN, time)
    assert (event.operation, event.collection) == (operation, "ö rders")
    assert (event.key, event.document) == (key_of(raw), document)
