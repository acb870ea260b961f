"""Where the stream begins: behind a token, at a time, or nowhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import bson
import msgspec
import pytest
from pymongo.database import Database

from cartridge_warp.errors import SourceError
from cartridge_warp.model import Position
from cartridge_warp.mongodb.source import MongoSource
from cartridge_warp.mongodb.token import cluster_time, order, position
from cwarp_core import ChangeEvent, parse_events
from mongodb_kit import Client, element, failing, follow, make

Mongo = Database[dict[str, Any]]


@pytest.fixture
def source(mongo_db: Mongo, mongo_uri: str) -> Iterator[MongoSource]:
    mongo_db.c.insert_one({"_id": "before"})
    made = make(mongo_uri, mongo_db.name, change_batch_size=7)
    yield made
    made.close()


def write_all_kinds(database: Mongo, client: Client) -> None:
    """Single writes, transactions of 300 changes and of 30 MB, changes of structure."""
    database.c.insert_many([{"_id": number} for number in range(5)])
    with client.start_session() as session, session.start_transaction():
        many = [{"_id": number} for number in range(100, 300)]
        database.c.insert_many(many, session=session)
        database.c.update_many({}, {"$set": {"v": 1}}, session=session)
        database.c.delete_one({"_id": 100}, session=session)
    with client.start_session() as session, session.start_transaction():
        for number in range(4):
            large = {"_id": f"large {number}", "text": "x" * 7_000_000}
            database.c.insert_one(large, session=session)
    database.d.insert_one({"_id": 1.5})
    database.d.create_index("x")
    database.d.rename("e")
    database.e.drop()
    client.drop_database(database.name)


def test_the_order_is_that_of_the_stream(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    start = source.position_now()
    write_all_kinds(mongo_db, mongo_client)
    last = source.time_now()
    changes = source.changes(start)
    places = [order(start.token)]
    count = 0
    while True:
        reply = changes.read()
        events = parse_events(reply)
        count += len(events)
        for event in events:
            assert source.order(event.token) > places[-1]
            places.append(source.order(event.token))
        assert reply.post_batch_resume_token is not None
        # A token of no event lies behind all that was read, and before what comes.
        assert source.order(reply.post_batch_resume_token) >= places[-1]
        places.append(source.order(reply.post_batch_resume_token))
        if not events and cluster_time(reply.post_batch_resume_token) >= last:
            break
    changes.close()
    assert count > 420


def middle_of_a_transaction(
    database: Mongo, client: Client, source: MongoSource
) -> tuple[Position, list[ChangeEvent]]:
    """A position inside one, and every event of it and after it."""
    start = source.position_now()
    with client.start_session() as session, session.start_transaction():
        database.c.insert_many([{"_id": n} for n in range(9)], session=session)
    database.c.insert_one({"_id": 9})
    changes = source.changes(start)
    events = follow(changes, lambda seen: len(seen) >= 10)
    changes.close()
    return changes.position_of(events[4].token), events


def rest(source: MongoSource, begin: Position) -> tuple[int, list[bytes | None]]:
    """How many events come again, and the keys of the others; ends with _id 9."""
    changes = source.changes(begin)
    events = follow(changes, lambda seen: any(each.key == element(9) for each in seen))
    changes.close()
    place = source.order(begin.token)
    later = [each.key for each in events if source.order(each.token) > place]
    return len(events) - len(later), later


@pytest.mark.parametrize("stream", ["", '[{"$changeStream":{"other":true}}]'])
def test_a_token_of_another_stream_gives_its_time(
    mongo_db: Mongo,
    mongo_client: Client,
    source: MongoSource,
    stream: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    begin, _ = middle_of_a_transaction(mongo_db, mongo_client, source)
    keys = [element(number) for number in range(5, 10)]
    with caplog.at_level(logging.WARNING):
        assert rest(source, begin) == (0, keys)
        assert not caplog.records
        assert rest(source, msgspec.structs.replace(begin, stream=stream)) == (5, keys)
    (said,) = caplog.records
    assert "other settings" in said.getMessage()


def test_other_settings_are_another_stream(
    mongo_db: Mongo, mongo_client: Client, mongo_uri: str, source: MongoSource
) -> None:
    begin, _ = middle_of_a_transaction(mongo_db, mongo_client, source)
    streams = {begin.stream}
    for mode in ("update_lookup", "post_image"):
        other = make(mongo_uri, mongo_db.name, full_document=mode)
        again, later = rest(other, begin)
        assert (again, len(later)) == (5, 5)
        streams.add(other.position_now().stream)
        other.close()
    assert len(streams) == 3
    assert source.position_now().stream == begin.stream
    # What does not change the stream keeps its tokens.
    larger = make(mongo_uri, mongo_db.name, change_batch_size=500)
    assert larger.position_now().stream == begin.stream
    larger.close()


def forged(source: MongoSource, token: bytes, change: Callable[[str], str]) -> Position:
    data = change(bson.decode(token)["_data"])
    return position(bson.encode({"_data": data}), source.position_now().stream)


def test_a_token_that_is_not_found_gives_its_time(
    mongo_db: Mongo,
    mongo_client: Client,
    source: MongoSource,
    caplog: pytest.LogCaptureFixture,
) -> None:
    begin, events = middle_of_a_transaction(mongo_db, mongo_client, source)
    uuid = events[0].collection_uuid
    assert uuid is not None
    there = uuid.hex().upper()
    lost = forged(source, begin.token, lambda data: data.replace(there, "A0" * 16))
    assert lost.token != begin.token
    again, later = rest(source, lost)
    # The whole transaction; what was made up sorts beside the event it was made of.
    assert again + len(later) == 10
    assert again in (4, 5)
    assert "does not find" in caplog.text


def test_a_token_whose_time_is_yet_to_come_may_be_missed_later(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    """The server opens the stream, and says that it finds no such event afterwards."""
    begin, _ = middle_of_a_transaction(mongo_db, mongo_client, source)
    soon = (begin.cluster_time >> 32) + 2
    lost = forged(source, begin.token, lambda data: f"82{soon:08X}{1:08X}{data[18:]}")
    changes = source.changes(lost)
    assert parse_events(changes.read()) == []
    while source.newest_time() < lost.cluster_time:
        time.sleep(0.2)
        mongo_db.c.update_one({"_id": 0}, {"$inc": {"v": 1}})
    mongo_db.c.insert_one({"_id": "last"})
    events = follow(changes, lambda seen: bool(seen) and seen[-1].operation == "insert")
    changes.close()
    assert events[-1].key == element("last")
    assert all(each.cluster_time >= lost.cluster_time for each in events)


def test_a_time_that_is_refused_too_is_fatal(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    begin = source.position_now()
    broken = {"failCommands": ["aggregate"], "errorCode": 280}
    with (
        failing(mongo_client, {"times": 2}, **broken),
        pytest.raises(SourceError, match="280") as raised,
    ):
        source.changes(begin)
    assert not raised.value.retryable
    assert "same cluster" in raised.value.hint


def test_a_position_of_the_future_is_refused(
    mongo_db: Mongo, source: MongoSource
) -> None:
    begin = source.position_now()
    later = (begin.cluster_time >> 32) + 3600
    ahead = forged(source, begin.token, lambda data: f"82{later:08X}{data[10:]}")
    with pytest.raises(SourceError, match="seconds newer") as raised:
        source.changes(ahead)
    assert not raised.value.retryable
    assert "same cluster" in raised.value.hint


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:18],
        lambda data: data[:60],
        lambda data: f"{data[:18]}2B12{data[22:]}",
        lambda data: f"{data[:18]}00{data[20:]}",
    ],
    ids=["the time alone", "a half", "a later version", "no KeyString"],
)
def test_a_token_that_is_none_is_refused(
    mongo_db: Mongo,
    mongo_client: Client,
    source: MongoSource,
    change: Callable[[str], str],
) -> None:
    begin, _ = middle_of_a_transaction(mongo_db, mongo_client, source)
    broken = forged(source, begin.token, change)
    with pytest.raises(SourceError) as raised:
        source.changes(broken)
    assert not raised.value.retryable
    assert "same cluster" in raised.value.hint
