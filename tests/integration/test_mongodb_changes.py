"""The change stream: everything once and in order, whatever breaks on the way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import bson
import pytest
from pymongo.database import Database

from cartridge_warp import embedded
from cartridge_warp.errors import HistoryLost, SourceError, SourceUnavailable
from cartridge_warp.model import Position
from cartridge_warp.mongodb.source import MongoSource
from cartridge_warp.mongodb.token import cluster_time
from cwarp_core import ChangeEvent, parse_events
from mongodb_kit import Client, cursors, element, failing, follow, ids, make, reading

Mongo = Database[dict[str, Any]]
LABEL = "ResumableChangeStreamError"


@pytest.fixture
def source(mongo_db: Mongo, mongo_uri: str) -> Iterator[MongoSource]:
    mongo_db.c.insert_one({"_id": "before"})
    # A server that the driver holds for lost is looked at again after 10 s.
    made = make(mongo_uri, mongo_db.name, change_batch_size=10, connection_timeout=30.0)
    yield made
    made.close()


def insert(database: Mongo, *numbers: int) -> None:
    database.c.insert_many([{"_id": number} for number in numbers])


def keys(events: list[ChangeEvent]) -> list[bytes | None]:
    return [each.key for each in events]


def elements(*numbers: int) -> list[bytes]:
    return [element(number) for number in numbers]


def test_every_later_write_comes_once_and_in_order(
    mongo_db: Mongo, source: MongoSource
) -> None:
    position = source.position_now()
    insert(mongo_db, *range(35))
    mongo_db.d.insert_one({"_id": 0})
    mongo_db.c.update_one({"_id": 3}, {"$set": {"v": 1}})
    mongo_db.c.replace_one({"_id": 4}, {"v": 2})
    mongo_db.c.delete_one({"_id": 5})
    changes = source.changes(position)
    events = follow(changes, lambda seen: len(seen) >= 40)
    assert [each.operation for each in events[:35]] == ["insert"] * 35
    assert keys(events)[:35] == elements(*range(35))
    # The collection made on the way is told of by ``showExpandedEvents``.
    assert [(each.operation, each.collection) for each in events[35:]] == [
        ("create", "d"),
        ("insert", "d"),
        ("update", "c"),
        ("replace", "c"),
        ("delete", "c"),
    ]
    assert parse_events(changes.read()) == []
    changes.close()


def test_a_token_holds_its_events_time(mongo_db: Mongo, source: MongoSource) -> None:
    position = source.position_now()
    assert position.cluster_time == cluster_time(position.token)
    insert(mongo_db, *range(5))
    changes = source.changes(position)
    events = follow(changes, lambda seen: len(seen) >= 5)
    for event in events:
        # A position of no event comes before every event of its own time.
        assert cluster_time(event.token) == event.cluster_time >= position.cluster_time
        assert changes.position_of(event.token) == Position(
            event.token, event.cluster_time, position.stream
        )
    changes.close()


def test_it_goes_on_after_any_token(mongo_db: Mongo, source: MongoSource) -> None:
    first = source.changes(source.position_now())
    insert(mongo_db, *range(8))
    events = follow(first, lambda seen: len(seen) >= 8)
    first.close()
    for index, event in enumerate(events[:-1]):
        again = source.changes(first.position_of(event.token))
        rest = follow(again, lambda seen, left=7 - index: len(seen) >= left)
        again.close()
        assert keys(rest) == keys(events[index + 1 :])


def test_an_idle_stream_moves_its_token(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    position = source.position_now()
    changes = source.changes(position)
    changes.read()
    mongo_client["elsewhere"].c.insert_one({})
    now = source.time_now()
    for _ in range(12):
        reply = changes.read()
        assert len(reply) == 0
        token = reply.post_batch_resume_token
        assert token is not None
        if cluster_time(token) >= now:
            break
    else:
        raise AssertionError("the token did not reach a time that is past")
    changes.close()
    mongo_client.drop_database("elsewhere")


def test_a_killed_cursor_resumes(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    changes = source.changes(source.position_now())
    insert(mongo_db, *range(15))
    events = follow(changes, lambda seen: len(seen) >= 10)
    (cursor,) = cursors(mongo_client, mongo_db.name)
    kill = {"killCursors": "$cmd.aggregate", "cursors": [bson.Int64(cursor)]}
    assert mongo_db.command(kill)["cursorsKilled"] == [cursor]
    insert(mongo_db, *range(15, 20))
    events += follow(changes, lambda seen: len(seen) + len(events) >= 20)
    assert keys(events) == elements(*range(20))
    changes.close()
    assert cursors(mongo_client, mongo_db.name) == []


@pytest.mark.parametrize(
    "failure",
    [
        {"errorCode": 8, "errorLabels": [LABEL]},
        {"errorCode": 43},
        {"errorCode": 189},
        {"closeConnection": True},
    ],
    ids=["label", "CursorNotFound", "PrimarySteppedDown", "connection"],
)
def test_what_may_be_resumed_is(
    mongo_db: Mongo,
    mongo_client: Client,
    source: MongoSource,
    failure: dict[str, Any],
) -> None:
    changes = source.changes(source.position_now())
    insert(mongo_db, *range(15))
    events = follow(changes, lambda seen: len(seen) >= 10)
    with failing(mongo_client, {"times": 1}, failCommands=["getMore"], **failure):
        events += follow(changes, lambda seen: len(seen) + len(events) >= 15)
    assert keys(events) == elements(*range(15))
    changes.close()


@pytest.mark.parametrize(("code", "kind"), [(8, SourceError), (286, HistoryLost)])
def test_what_may_not_is_raised(
    mongo_db: Mongo,
    mongo_client: Client,
    source: MongoSource,
    code: int,
    kind: type[SourceError],
) -> None:
    changes = source.changes(source.position_now())
    changes.read()
    broken = {"failCommands": ["getMore"], "errorCode": code, "errorLabels": []}
    with (
        failing(mongo_client, {"times": 1}, **broken),
        pytest.raises(SourceError) as raised,
    ):
        changes.read()
    assert type(raised.value) is kind
    assert not raised.value.retryable
    changes.close()


def test_a_stream_that_keeps_breaking_is_left_to_the_caller(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    changes = source.changes(source.position_now())
    changes.read()
    broken = {"failCommands": ["getMore"], "errorCode": 43}
    with failing(mongo_client, {"times": 5}, **broken):
        changes.read()
        with pytest.raises(SourceUnavailable):
            changes.read()
    insert(mongo_db, 1)
    assert keys(follow(changes, bool)) == elements(1)
    changes.close()


@pytest.mark.parametrize(("code", "kind"), [(286, HistoryLost), (260, SourceError)])
def test_a_position_that_cannot_be_resumed_is_fatal(
    mongo_db: Mongo,
    mongo_client: Client,
    source: MongoSource,
    code: int,
    kind: type[SourceError],
) -> None:
    position = source.position_now()
    broken = {"failCommands": ["aggregate"], "errorCode": code}
    with (
        failing(mongo_client, {"times": 1}, **broken),
        pytest.raises(SourceError) as raised,
    ):
        source.changes(position)
    assert type(raised.value) is kind
    assert not raised.value.retryable
    assert raised.value.hint


def test_an_id_that_is_no_token_is_fatal(mongo_db: Mongo, source: MongoSource) -> None:
    with pytest.raises(SourceError) as raised:
        source.changes(Position(bson.encode({"_data": "00"}), 0)).read()
    assert not raised.value.retryable


def test_a_dropped_database_ends_nothing(mongo_db: Mongo, source: MongoSource) -> None:
    changes = source.changes(source.position_now())
    mongo_db.client.drop_database(mongo_db.name)
    events = follow(
        changes, lambda seen: any(e.operation == "invalidate" for e in seen)
    )
    assert [each.operation for each in events] == ["drop", "dropDatabase", "invalidate"]
    insert(mongo_db, 1, 2)
    later = follow(changes, lambda seen: len(seen) >= 3)
    assert keys(later)[-2:] == elements(1, 2)
    changes.close()
    # The place of the invalidate itself is one to start after, in a new process too.
    again = source.changes(changes.position_of(events[-1].token))
    assert keys(follow(again, lambda seen: len(seen) >= 3)) == keys(later)
    again.close()


def test_a_transaction_is_known_by_its_events(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    position = source.position_now()
    insert(mongo_db, 0)
    for start in (1, 3):
        with mongo_client.start_session() as session, session.start_transaction():
            mongo_db.c.insert_one({"_id": start}, session=session)
            mongo_db.c.insert_one({"_id": start + 1}, session=session)
    changes = source.changes(position)
    events = follow(changes, lambda seen: len(seen) >= 5)
    changes.close()
    alone, one, two, three, four = (each.transaction for each in events)
    assert alone is None
    assert one == two
    assert three == four
    assert None is not one != three is not None


def test_a_large_document_passes(mongo_db: Mongo, source: MongoSource) -> None:
    position = source.position_now()
    mongo_db.c.insert_one({"_id": 1, "text": "x" * 15_000_000})
    insert(mongo_db, 2)
    changes = source.changes(position)
    events = follow(changes, lambda seen: len(seen) >= 2)
    changes.close()
    document = events[0].document
    assert document is not None
    assert len(bson.decode(document)["text"]) == 15_000_000


def test_a_position_leaves_no_cursor(
    mongo_db: Mongo, mongo_client: Client, source: MongoSource
) -> None:
    source.position_now()
    assert cursors(mongo_client, mongo_db.name) == []


@pytest.mark.parametrize("pause", [0.0, 1.5], ids=["at once", "noticed before"])
def test_a_dead_server_costs_one_timeout(pause: float) -> None:
    timeout = 2.0
    with embedded.mongod(own=True) as server:
        assert server.pid is not None
        with Client(server.uri) as client:
            client["shop"].c.insert_one({})
        source = make(server.uri, "shop", connection_timeout=timeout)
        changes = source.changes(source.position_now())
        changes.read()
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(pause)
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(SourceUnavailable):
                changes.read()
            assert time.monotonic() - started < 1.7 * timeout
        changes.close()
        source.close()


def test_a_capped_collection_tells_of_what_falls_out(
    mongo_db: Mongo, source: MongoSource
) -> None:
    mongo_db.create_collection("round", capped=True, size=4096, max=3)
    position = source.position_now()
    mongo_db.round.insert_many([{"_id": number} for number in range(5)])
    changes = source.changes(position)
    events = follow(changes, lambda seen: len(seen) >= 7)
    changes.close()
    assert {each.key for each in events if each.operation == "delete"} == set(
        elements(0, 1)
    )
    assert ids(reading(source, "round")) == elements(2, 3, 4)
