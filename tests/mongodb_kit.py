"""What the tests of the MongoDB source share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import bson
from pymongo import MongoClient

from cartridge_warp.config import SchemaSettings, SourceSettings
from cartridge_warp.model import ChunkRange
from cartridge_warp.mongodb.changes import MongoChanges
from cartridge_warp.mongodb.source import MongoSource
from cwarp_core import ChangeEvent, Reply, parse_events

Client = MongoClient[dict[str, Any]]

#: Replies without an event after which a test gives up; each takes a second.
PATIENCE = 12


def make(uri: str, database: str, **settings: Any) -> MongoSource:
    """A source of this database."""
    return MongoSource(
        SourceSettings(connection_string=uri, **settings),
        SchemaSettings(name="test", database=database),
    )


#: Every ``_id``.
EVERYTHING = ChunkRange(None, None)


def reading(
    source: MongoSource, collection: str, chunk: ChunkRange = EVERYTHING
) -> Iterator[Reply]:
    """A chunk, at the time of this call or later; nothing is sent for it yet."""
    return source.snapshot(collection, chunk, source.newest_time())


def ids(replies: Iterable[Reply]) -> list[bytes | None]:
    """The ``_id`` elements of replies, in order."""
    return [reply.key(index) for reply in replies for index in range(len(reply))]


def documents(replies: Iterable[Reply]) -> list[dict[str, Any]]:
    return [
        bson.decode(reply.document(index))
        for reply in replies
        for index in range(len(reply))
    ]


def element(value: object) -> bytes:
    """The ``_id`` element of a value: its type byte, then its bytes."""
    raw = bson.encode({"_id": value})
    return raw[4:5] + raw[9:-1]


def follow(
    changes: MongoChanges, enough: Callable[[list[ChangeEvent]], bool]
) -> list[ChangeEvent]:
    """The events read until there are enough of them."""
    events: list[ChangeEvent] = []
    silent = 0
    while not enough(events) and silent < PATIENCE:
        read = parse_events(changes.read())
        events += read
        silent += not read
    if enough(events):
        return events
    raise AssertionError(f"only {[each.operation for each in events]} came")


@contextmanager
def failing(client: Client, mode: Mapping[str, int], **data: Any) -> Iterator[None]:
    """Commands of the server fail. data: failCommands, errorCode, ..."""
    client.admin.command(
        {
            "configureFailPoint": "failCommand",
            "mode": mode,
            "data": {"appName": "cartridge-warp", **data},
        }
    )
    try:
        yield
    finally:
        client.admin.command("configureFailPoint", "failCommand", mode="off")


def cursors(client: Client, database: str) -> list[int]:
    """The idle cursors that the source has open on a database."""
    stages: list[dict[str, Any]] = [
        {"$currentOp": {"idleCursors": True, "allUsers": True}},
        {"$match": {"cursor": {"$exists": True}, "ns": {"$regex": f"^{database}\\."}}},
    ]
    return [each["cursor"]["cursorId"] for each in client.admin.aggregate(stages)]
