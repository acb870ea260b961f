"""Events that no reply can hold: they come without their documents, and in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bson
import pytest
from pymongo.database import Database

from cartridge_warp.errors import SourceError
from cartridge_warp.model import Position
from cartridge_warp.mongodb.source import MongoSource
from cwarp_core import ChangeEvent
from mongodb_kit import Client, documents, element, failing, follow, make

Mongo = Database[dict[str, Any]]

MB = 1 << 20
LARGEST = 16 * MB - 1024


@pytest.fixture(autouse=True)
def room(mongo_client: Client) -> Iterator[None]:
    """A cache in which such writes fit; in a small one mongod tries them for ever."""

    def set_to(size: str) -> None:
        name = "wiredTigerEngineRuntimeConfig"
        mongo_client.admin.command({"setParameter": 1, name: f"cache_size={size}"})

    set_to("1G")
    yield
    set_to("256M")


@pytest.fixture(params=["lookup", "update_lookup"])
def source(
    mongo_db: Mongo, mongo_uri: str, request: pytest.FixtureRequest
) -> Iterator[MongoSource]:
    mongo_db.c.insert_one({"_id": "before"})
    made = make(mongo_uri, mongo_db.name, full_document=request.param)
    yield made
    made.close()


def of_size(nbytes: int, key: object) -> dict[str, Any]:
    document = {"_id": key, "text": ""}
    document["text"] = "x" * (nbytes - len(bson.encode(document)))
    return document


def all_of_them(source: MongoSource, database: Mongo) -> list[ChangeEvent]:
    """Write around each large change a few small ones; what the stream tells of it."""
    start = source.position_now()
    keys: list[object] = []

    def small(count: int = 20) -> None:
        batch = [f"{len(keys)} {number}" for number in range(count)]
        database.c.insert_many([{"_id": key} for key in batch])
        keys.extend(batch)

    small()
    for key in ("large", 7, "i" * MB):
        # A write's own record holds the key twice, and must not be larger either.
        nbytes = LARGEST - MB if key == "i" * MB else LARGEST
        database.c.insert_one(of_size(nbytes, key))
        keys.append(key)
    small()
    for key in ("large", 7, "i" * MB):
        # All of it is new: the change is as large as the document.
        changed = {"$set": {"text": "y" * (LARGEST - 4 * MB)}}
        database.c.update_one({"_id": key}, changed)
        keys.append(key)
    small()
    # Neither the event nor its token is too large, both together are.
    database.c.insert_one(of_size(12 * MB, "t" * MB))
    keys.append("t" * MB)
    small()
    changes = source.changes(start)
    events = follow(changes, lambda seen: len(seen) >= len(keys))
    changes.close()
    assert [each.key for each in events] == [element(key) for key in keys]
    places = [source.order(each.token) for each in events]
    assert places == sorted(set(places))
    return events


def test_they_pass_and_only_they_lack_their_documents(
    mongo_db: Mongo, source: MongoSource
) -> None:
    events = all_of_them(source, mongo_db)
    bare = {each.key for each in events if not each.has_document}
    assert element("i" * MB) in bare
    assert bare <= {element(key) for key in ("large", 7, "i" * MB, "t" * MB)}
    for event in events:
        if event.has_document or event.key is None:
            continue
        (found,) = documents(source.lookup("c", [event.key], event.cluster_time))
        assert element(found["_id"]) == event.key


def test_their_tokens_are_places_like_any_other(
    mongo_db: Mongo, source: MongoSource
) -> None:
    events = all_of_them(source, mongo_db)
    stream = source.position_now().stream
    for number, event in enumerate(events):
        if event.has_document:
            continue
        rest = events[number + 1 :]
        changes = source.changes(Position(event.token, event.cluster_time, stream))
        later = follow(changes, lambda seen, rest=rest: len(seen) >= len(rest))
        changes.close()
        assert [each.key for each in later] == [each.key for each in rest]


def test_an_image_that_is_too_large_is_left_away(
    mongo_db: Mongo, mongo_uri: str
) -> None:
    images = {"enabled": True}
    mongo_db.create_collection("c", changeStreamPreAndPostImages=images)
    source = make(mongo_uri, mongo_db.name, full_document="post_image")
    mongo_db.c.insert_one({"_id": 1, "text": "x"})
    start = source.position_now()
    for text in ("small", "y" * (10 * MB), "small again"):
        mongo_db.c.update_one({"_id": 1}, {"$set": {"text": text}})
    changes = source.changes(start)
    events = follow(changes, lambda seen: len(seen) >= 3)
    changes.close()
    source.close()
    assert [each.has_document for each in events] == [True, False, True]
    assert events[2].document is not None
    assert bson.decode(events[2].document) == {"_id": 1, "text": "small again"}


def test_many_keys_that_are_too_long_for_one_command(
    mongo_db: Mongo, mongo_uri: str
) -> None:
    source = make(mongo_uri, mongo_db.name)
    keys = [f"{number}" + "k" * MB for number in range(20)]
    for key in keys:
        mongo_db.c.insert_one({"_id": key})
    found = documents(
        source.lookup("c", [element(key) for key in keys], source.newest_time())
    )
    source.close()
    assert sorted(each["_id"] for each in found) == sorted(keys)


def test_a_key_that_no_event_can_hold_is_said(
    mongo_db: Mongo, mongo_client: Client, mongo_uri: str
) -> None:
    source = make(mongo_uri, mongo_db.name)
    mongo_db.c.insert_one({"_id": 0})
    start = source.position_now()
    # A full batch, a single event, and that one without its document.
    broken = {"failCommands": ["aggregate"], "errorCode": 10334}
    with (
        failing(mongo_client, {"times": 3}, **broken),
        pytest.raises(SourceError, match="10334") as raised,
    ):
        source.changes(start)
    source.close()
    assert not raised.value.retryable
    assert "_id" in raised.value.hint


def test_a_server_that_closes_the_connection_once_costs_no_document(
    mongo_db: Mongo, mongo_client: Client, mongo_uri: str
) -> None:
    source = make(mongo_uri, mongo_db.name, change_batch_size=5)
    mongo_db.c.insert_one({"_id": "before"})
    start = source.position_now()
    mongo_db.c.insert_many([{"_id": number} for number in range(8)])
    broken = {"failCommands": ["aggregate"], "closeConnection": True}
    with failing(mongo_client, {"times": 1}, **broken):
        changes = source.changes(start)
    events = follow(changes, lambda seen: len(seen) >= 8)
    changes.close()
    source.close()
    assert [each.key for each in events] == [element(number) for number in range(8)]
    assert all(each.has_document for each in events)
