"""Change events: header, key, document, token."""

from __future__ import annotations

import uuid
from typing import Any

import bson
import pytest
from bson import Code, Int64, ObjectId, Timestamp
from bson.binary import Binary
from bson.raw_bson import RawBSONDocument

from cwarp_core import BatchEncoder, ChangeEvent, CorruptBSON, Reply, parse_events
from tests.core.build import document, int32, obj, string, symbol, timestamp
from tests.core.differential import row_plan
from tests.core.samples import SAMPLES
from tests.core.test_rejects import BAD, GOOD, PLAN

TOKEN = {"_data": "826400000001"}
NAMESPACE = {"db": "shop", "coll": "orders"}
KEY = {"_id": ObjectId(b"\1" * 12)}


def event(operation: str = "insert", **more: Any) -> bytes:
    return bson.encode(
        {
            "_id": TOKEN,
            "operationType": operation,
            "clusterTime": Timestamp(1_700_000_000, 3),
            "wallTime": bson.decode(document(("v", SAMPLES["date"][0])))["v"],
            "ns": NAMESPACE,
            "documentKey": KEY,
            **more,
        }
    )


def parse(*events: bytes) -> list[ChangeEvent]:
    return parse_events(Reply.of_documents(list(events)))


@pytest.mark.parametrize("operation", ["insert", "replace", "update"])
def test_event_with_its_document(operation: str) -> None:
    full = {"_id": KEY["_id"], "a": [1, {"b": None}]}
    raw = event(operation, fullDocument=full, updateDescription={"x": {"_id": 1}})
    (parsed,) = parse(raw)
    assert parsed.operation == operation
    assert (parsed.database, parsed.collection) == ("shop", "orders")
    assert parsed.key == b"\x07" + b"\1" * 12
    assert parsed.cluster_time == 1_700_000_000 << 32 | 3
    assert parsed.token == bson.encode(TOKEN)
    assert parsed.document == bson.encode(full)
    assert parsed.transaction is None
    assert parsed.to_collection is None
    assert parsed.collection_uuid is None
    assert parsed.nbytes == len(raw)


@pytest.mark.parametrize("full", [{}, {"fullDocument": None}], ids=["absent", "null"])
def test_event_without_a_document(full: dict[str, None]) -> None:
    (parsed,) = parse(event("update", **full))
    assert parsed.document is None


def test_structure_events() -> None:
    identity = uuid.UUID(int=7)
    rename = {"to": {"db": "shop", "coll": "n\u00e9w"}}
    raw = event("rename", collectionUUID=Binary.from_uuid(identity), **rename)
    (parsed,) = parse(raw)
    assert parsed.to_collection == "n\u00e9w"
    assert parsed.collection_uuid == identity.bytes
    invalidate = document(
        ("_id", obj(("_data", string("82")))),
        ("operationType", string("invalidate")),
        ("clusterTime", timestamp(1, 2)),
    )
    (parsed,) = parse(invalidate)
    assert parsed.operation == "invalidate"
    assert (parsed.database, parsed.collection, parsed.key) == ("", "", None)
    dropped = bson.encode(
        {
            "_id": TOKEN,
            "operationType": "dropDatabase",
            "clusterTime": Timestamp(1, 2),
            "ns": {"db": "shop"},
        }
    )
    (parsed,) = parse(dropped)
    assert (parsed.database, parsed.collection, parsed.key) == ("shop", "", None)


def test_events_of_one_transaction_share_their_mark() -> None:
    session = {"id": Binary.from_uuid(uuid.UUID(int=1)), "uid": b"\2" * 32}
    other = {"id": Binary.from_uuid(uuid.UUID(int=2)), "uid": b"\2" * 32}
    marks = [
        parsed.transaction
        for parsed in parse(
            event(lsid=session, txnNumber=Int64(1)),
            event("delete", txnNumber=Int64(1), lsid=session),
            event(lsid=session, txnNumber=Int64(2)),
            event(lsid=other, txnNumber=Int64(1)),
            event(),
        )
    ]
    assert marks[0] is not None
    assert marks[0] == marks[1]
    assert len(set(marks)) == 4
    assert marks[4] is None


@pytest.mark.parametrize("kind", SAMPLES)
def test_key_of_every_kind(kind: str) -> None:
    header = bson.encode(
        {
            "_id": TOKEN,
            "operationType": "delete",
            "ns": NAMESPACE,
            "clusterTime": Timestamp(1, 1),
        }
    )
    for value in SAMPLES[kind]:
        shard = document(("shard", int32(1)), ("_id", value), ("z", int32(2)))
        raw = header[4:-1] + b"\x03documentKey\0" + shard
        whole = (len(raw) + 5).to_bytes(4, "little") + raw + b"\0"
        assert parse(whole)[0].key == value.key


def test_events_keep_their_order() -> None:
    events = [event(documentKey={"_id": at}) for at in range(50)]
    keys = [parsed.key for parsed in parse(*events)]
    assert keys == [int32(at).key for at in range(50)]
    assert parse() == []


def test_every_truncation_and_flip_is_refused_or_read() -> None:
    raw = event(fullDocument={"_id": 1, "a": "x"}, lsid={"id": 1}, txnNumber=Int64(1))
    refused = 0
    for at in range(len(raw)):
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[at] ^= 1 << bit
            try:
                _read(parse(bytes(flipped))[0])
            except CorruptBSON:
                refused += 1
    assert 0 < refused < len(raw) * 8


def _read(parsed: ChangeEvent) -> list[object]:
    names = [name for name in dir(ChangeEvent) if not name.startswith("_")]
    return [getattr(parsed, name) for name in names]


def test_events_are_encoded_as_their_documents_are() -> None:
    documents = [*GOOD[:2], BAD["misfit"][0], *GOOD[2:]]
    events = parse(
        event("delete"),
        *(
            event(fullDocument=RawBSONDocument(raw), clusterTime=Timestamp(7, at))
            for at, raw in enumerate(documents)
        ),
        event("update"),
    )
    assert [each.has_document for each in events] == [False, *[True] * 5, False]
    encoder, one_by_one = BatchEncoder(row_plan(PLAN)), BatchEncoder(row_plan(PLAN))
    assert encoder.add_events(events) == 4
    for at, raw in enumerate(documents):
        one_by_one.add_document(raw, 7 << 32 | at)
    batch = encoder.take()
    assert batch == one_by_one.take()
    assert [reject.document for reject in batch.rejects] == [BAD["misfit"][0]]


def test_what_is_no_event_is_refused() -> None:
    encoder = BatchEncoder(row_plan(PLAN))
    for wrong in (None, GOOD[0]):
        with pytest.raises(TypeError):
            encoder.add_events([*parse(event(fullDocument={"_id": 1})), wrong])  # type: ignore[list-item]
    assert encoder.take().documents == 0


def test_an_event_is_made_by_parsing_alone() -> None:
    with pytest.raises(TypeError, match="parse_events"):
        ChangeEvent()
    (parsed,) = parse(event())
    before = _read(parsed)
    with pytest.raises(TypeError, match="parse_events"):
        ChangeEvent.__init__(parsed)
    assert _read(parsed) == before


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, Int64(1), True),
        (1, 1.0, True),
        (1, 1.5, False),
        (1, "1", False),
        ("a", "a", True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        (KEY["_id"], str(KEY["_id"]), False),
        (Code("f", {"a": 1}), Code("f", {"a": 1.0}), True),
    ],
)
def test_identity_is_equality_of_ids(one: Any, other: Any, same: bool) -> None:
    events = parse(*(event(documentKey={"_id": each}) for each in (one, other)))
    assert (events[0].identity == events[1].identity) is same


@pytest.mark.parametrize("text", [b"a", b"", b"\xff"])
def test_a_symbol_is_the_id_that_its_text_is(text: bytes) -> None:
    keys = (obj(("_id", string(text))), obj(("_id", symbol(text))))
    raw = [
        document(
            ("_id", obj(("_data", string("82")))),
            ("operationType", string("delete")),
            ("documentKey", key),
        )
        for key in keys
    ]
    one, other = (each.identity for each in parse_events(Reply.of_documents(raw)))
    assert one is not None
    assert one == other


def test_what_has_no_key_has_no_identity() -> None:
    broken = event(documentKey={"_id": {"a": 1}}).replace(b"\x10a\0", b"\x66a\0")
    parsed = parse(event("drop", documentKey=None), broken)
    assert [each.identity for each in parsed] == [None, None]
