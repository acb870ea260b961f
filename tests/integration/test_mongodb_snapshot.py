"""Reading what is there: chunks that lose no id, lookups that are new enough."""

from __future__ import annotations

import datetime
import threading
import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, MaxKey, MinKey, ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from cartridge_warp.errors import SourceError, SourceUnavailable
from cartridge_warp.model import ChunkRange
from cartridge_warp.mongodb import snapshot
from cartridge_warp.mongodb.source import MongoSource
from cwarp_core import KeyRanges
from mongodb_kit import (
    EVERYTHING,
    Client,
    cursors,
    documents,
    element,
    failing,
    ids,
    make,
    reading,
)
from tests.core.build import (
    array,
    code_with_scope,
    db_pointer,
    document,
    int32,
    obj,
    string,
)

Mongo = Database[dict[str, Any]]

ZOO: list[Any] = [
    MinKey(),
    None,
    float("nan"),
    float("-inf"),
    -1,
    0,
    2**40,
    1.5,
    Decimal128("2.50"),
    float("inf"),
    "",
    "a",
    "Z",
    "\u00e9",
    {},
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    Binary(b"", 0),
    Binary(b"xyz", 0x80),
    uuid.UUID(int=5),
    ObjectId("64b0c6d50000000000000000"),
    ObjectId("64b0c6d5ffffffffffffffff"),
    False,
    True,
    datetime.datetime(1960, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    Timestamp(5, 1),
    Code("f()"),
    MaxKey(),
]


@pytest.fixture
def source(mongo_db: Mongo, mongo_uri: str) -> Iterator[MongoSource]:
    made = make(mongo_uri, mongo_db.name)
    yield made
    made.close()


def in_order(source: MongoSource, collection: str) -> list[bytes]:
    whole = ids(reading(source, collection))
    return [key for key in whole if key is not None]


@pytest.mark.parametrize("kind", ["plain", "clustered", "collated"])
def test_every_id_of_the_zoo_lies_in_exactly_one_chunk(
    mongo_db: Mongo, source: MongoSource, kind: str
) -> None:
    options: dict[str, dict[str, Any]] = {
        "clustered": {"clusteredIndex": {"key": {"_id": 1}, "unique": True}},
        "collated": {"collation": {"locale": "de", "strength": 2}},
    }
    zoo = mongo_db.create_collection("zoo", **options.get(kind, {}))
    # A clustered collection takes no null.
    kept = [value for value in ZOO if kind != "clustered" or value is not None]
    zoo.insert_many([{"_id": value} for value in kept])
    keys = in_order(source, "zoo")
    assert len(keys) == len(kept)

    # A chunk for each id: every id is once a lower and once an upper bound.
    edges = [None, *keys, None]
    seen = [ids(reading(source, "zoo", ChunkRange(*pair))) for pair in pairwise(edges)]
    assert seen == [[], *([key] for key in keys)]
    # And each of them cuts the whole in two.
    for number, key in enumerate(keys):
        assert ids(reading(source, "zoo", ChunkRange(None, key))) == keys[:number]
        assert ids(reading(source, "zoo", ChunkRange(key, None))) == keys[number:]


def test_the_plan_holds_every_id_once_whatever_its_type(
    mongo_db: Mongo, source: MongoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [number if number % 2 else f"s{number}" for number in range(3000)]
    mongo_db.mixed.insert_many(
        [{"_id": value} for value in [*many, *ZOO[:3], MaxKey()]]
    )
    monkeypatch.setattr(snapshot, "CHUNK_DOCUMENTS", 500)
    plan = source.plan_chunks("mixed")
    # Seven chunks' worth, the last two of them in five pieces each.
    assert len(plan) == 15
    assert plan[0].lower is None
    assert plan[-1].upper is None
    assert all(one.upper == two.lower for one, two in pairwise(plan))
    parts = [ids(reading(source, "mixed", chunk)) for chunk in plan]
    assert [key for part in parts for key in part] == in_order(source, "mixed")
    assert min(map(len, parts[:5])) > 50
    assert sum(map(len, parts[5:])) > 250


@pytest.mark.parametrize("locale", ["de", "simple"])
def test_a_collation_makes_one_chunk(
    mongo_db: Mongo,
    source: MongoSource,
    monkeypatch: pytest.MonkeyPatch,
    locale: str,
) -> None:
    """Its ids do not sort by their bytes; the simple one is none."""
    words = mongo_db.create_collection("words", collation={"locale": locale})
    keys = [f"{letter}{n}" for letter in "aAbB\u00e4z" for n in range(300)]
    words.insert_many([{"_id": key} for key in keys])
    monkeypatch.setattr(snapshot, "CHUNK_DOCUMENTS", 500)
    plan = source.plan_chunks("words")
    assert (plan == [ChunkRange(None, None, whole=True)]) is (locale == "de")
    parts = [ids(reading(source, "words", chunk)) for chunk in plan]
    whole = [key for part in parts for key in part]
    assert set(whole) == set(map(element, keys))
    assert len(whole) == len(keys)
    texts = [key[5:] for key in whole if key is not None]
    assert (texts == sorted(texts)) is (locale == "simple")


def test_a_small_and_an_empty_collection_are_one_chunk(
    mongo_db: Mongo, source: MongoSource
) -> None:
    mongo_db.one.insert_one({})
    assert source.plan_chunks("one") == [ChunkRange(None, None)]
    assert source.plan_chunks("none") == [ChunkRange(None, None)]
    assert ids(reading(source, "none")) == []
    assert source.key_bounds("none") is None


def test_bounds_and_sample(mongo_db: Mongo, source: MongoSource) -> None:
    mongo_db.c.insert_many([{"_id": value} for value in (3, "x", 1.5)])
    assert source.key_bounds("c") == (element(1.5), element("x"))
    assert len(ids(source.sample("c", 2))) == 2
    assert len(ids(source.sample("c", 100))) == 3


def test_documents_arrive_untouched_and_in_batches_that_fit(
    mongo_db: Mongo, mongo_uri: str
) -> None:
    large = [{"_id": n, "text": "x" * 2000} for n in range(3000)]
    mongo_db.c.insert_many([*large, {"_id": 3000, "text": "y" * 15_000_000}])
    source = make(mongo_uri, mongo_db.name, snapshot_batch_bytes=200_000)
    replies = list(reading(source, "c"))
    source.close()
    assert [each["_id"] for each in documents(replies)] == list(range(3001))
    assert bson.decode(replies[-1].document(len(replies[-1]) - 1)) == (
        mongo_db.c.find_one({"_id": 3000})
    )
    assert all(reply.nbytes < 400_000 for reply in replies[1:-1])
    assert all(reply.operation_time for reply in replies)


def test_a_chunk_is_as_new_as_it_has_to_be(
    mongo_db: Mongo, source: MongoSource
) -> None:
    mongo_db.c.insert_one({"_id": 1})
    after = source.newest_time()
    (reply,) = source.snapshot("c", EVERYTHING, after)
    assert ids([reply]) == [element(1)]
    assert reply.operation_time >= after


def test_a_chunk_left_early_frees_its_cursor(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    mongo_db.c.insert_many([{"_id": number} for number in range(2000)])
    replies = reading(source, "c")
    next(replies)
    assert len(cursors(mongo_client, mongo_db.name)) == 1
    replies.close()  # type: ignore[attr-defined]
    assert cursors(mongo_client, mongo_db.name) == []


def test_chunks_are_in_the_order_of_the_index(
    mongo_db: Mongo, source: MongoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sort of the server looks at a DBPointer's id before its namespace."""
    monkeypatch.setattr(snapshot, "CHUNK_DOCUMENTS", 100)
    mongo_db.c.insert_many(
        RawBSONDocument(document(("_id", db_pointer(name, number.to_bytes(12, "big")))))
        for number in range(1000)
        for name in ("one", "two")
    )
    plan = source.plan_chunks("c")
    assert len(plan) > 20
    parts = [ids(reading(source, "c", chunk)) for chunk in plan]
    keys = [key or b"" for part in parts for key in part]
    assert len(set(keys)) == len(keys) == 2000
    KeyRanges([chunk.lower for chunk in plan])


def test_lookup_sees_an_update_and_leaves_out_what_is_gone(
    mongo_db: Mongo, source: MongoSource
) -> None:
    mongo_db.c.insert_many([{"_id": number, "v": 0} for number in range(2500)])
    mongo_db.c.update_many({}, {"$set": {"v": 1}})
    mongo_db.c.delete_one({"_id": 7})
    keys = [element(number) for number in range(2500)]
    replies = list(source.lookup("c", keys, source.time_now()))
    found = documents(replies)
    assert len(replies) == 3
    assert {each["v"] for each in found} == {1}
    assert sorted(each["_id"] for each in found) == [n for n in range(2500) if n != 7]
    assert list(source.lookup("c", [], 0)) == []


def test_lookup_finds_ids_that_the_server_cannot_tell_apart_from_others(
    mongo_db: Mongo, source: MongoSource
) -> None:
    """Of a DBPointer's namespace its index takes what stands before a NUL."""
    cut = [db_pointer(name, b"x" * 12) for name in (b"a\0b", b"c\0", b"c", b"\0dd")]
    values = [
        *(*cut[:2], int32(5), string("x")),
        *(obj(("a", array(each))) for each in cut[1:]),
        *(code_with_scope("f", ("a", each)) for each in cut),
        *(db_pointer(b"whole", bytes([at]) * 12) for at in range(50)),
    ]
    stored = [values[at] for at in (0, 1, 2, 3, 4, 6, 7, 8, 10, *range(11, 60))]
    mongo_db.c.insert_many([RawBSONDocument(document(("_id", v))) for v in stored])
    missing = [cut[3].key, obj(("b", cut[0])).key, element(6)]
    keys = [each.key for each in stored]
    replies = list(source.lookup("c", [*keys, *missing], source.time_now()))
    assert sorted(each or b"" for each in ids(replies)) == sorted(keys)


def test_discover_tells_the_kinds_apart(mongo_db: Mongo, source: MongoSource) -> None:
    mongo_db.plain.insert_many([{"_id": number} for number in range(3)])
    mongo_db.create_collection("round", capped=True, size=4096)
    mongo_db.create_collection(
        "sorted", clusteredIndex={"key": {"_id": 1}, "unique": True}
    )
    mongo_db.create_collection("seen", viewOn="plain", pipeline=[])
    mongo_db.create_collection("times", timeseries={"timeField": "t"})
    listed = {each.name: each for each in source.discover()}
    assert {name: each.kind for name, each in listed.items()} == {
        "plain": "collection",
        "round": "capped",
        "seen": "view",
        "sorted": "clustered",
        "times": "timeseries",
    }
    assert list(listed) == sorted(listed)
    assert listed["plain"].documents == 3
    assert listed["plain"].nbytes > 0


@pytest.mark.parametrize(("code", "kind"), [(189, SourceUnavailable), (2, SourceError)])
def test_an_error_of_a_chunk_is_one_of_ours(
    mongo_db: Mongo,
    mongo_client: Client,
    source: MongoSource,
    code: int,
    kind: type[SourceError],
) -> None:
    mongo_db.c.insert_many([{"_id": number} for number in range(2000)])
    replies = reading(source, "c")
    next(replies)
    with (
        failing(mongo_client, {"times": 1}, failCommands=["getMore"], errorCode=code),
        pytest.raises(SourceError) as raised,
    ):
        list(replies)
    assert type(raised.value) is kind


def test_any_thread_may_read(mongo_db: Mongo, source: MongoSource) -> None:
    mongo_db.c.insert_many([{"_id": number} for number in range(2000)])
    counts: list[int] = []

    def read() -> None:
        counts.append(len(ids(reading(source, "c"))))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [2000] * 6
