"""What the tests of the MongoDB source share."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import bson
from pymongo import MongoClient

from cartridge_warp.config import SchemaSettings, SourceSettings, TableSettings
from cartridge_warp.errors import WarpError
from cartridge_warp.model import ChunkRange
from cartridge_warp.mongodb.changes import MongoChanges
from cartridge_warp.mongodb.source import MongoSource
from cartridge_warp.retry import Backoff, retrying
from cwarp_core import ChangeEvent, Reply, parse_events

Client = MongoClient[dict[str, Any]]

#: Replies without an event after which a test gives up; each takes a second.
PATIENCE = 12


def make(uri: str, database: str, **settings: Any) -> MongoSource:
    """A source of this database. settings: the source's; a strategy of batch mode
    there is every table's."""
    strategy = settings.get("change_detection_strategy", "log")
    every = TableSettings(name="*", change_detection_strategy=strategy)
    return MongoSource(
        SourceSettings(connection_string=uri, **settings),
        SchemaSettings(name="test", database=database, defaults=every),
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


class Reader:
    """Reads as the engine does: what is retryable is tried again, on a new stream."""

    def __init__(self, source: MongoSource) -> None:
        self._source = source
        self._after = source.position_now()
        self._changes: MongoChanges | None = None
        self.failures = 0
        self.events: list[ChangeEvent] = []

    def _read(self) -> Reply:
        if self._changes is None:
            self._changes = self._source.changes(self._after)
        try:
            reply = self._changes.read()
        except BaseException:
            self.close()
            raise
        assert reply.post_batch_resume_token is not None
        self._after = self._changes.position_of(reply.post_batch_resume_token)
        return reply

    def read(self) -> int:
        """How many events were new; those that come again are left out."""
        reply = retrying(
            self._read,
            backoff=Backoff(random.Random(1), initial=0.05, maximum=1.0),
            wait=self._wait,
            failed=self._failed,
        )
        place = self._source.order(self.events[-1].token) if self.events else b""
        new = [e for e in parse_events(reply) if self._source.order(e.token) > place]
        self.events += new
        return len(new)

    def until(self, count: int) -> None:
        silent = 0
        while len(self.events) < count and silent < PATIENCE:
            silent += not self.read()

    def _wait(self, seconds: float) -> bool:
        time.sleep(seconds)
        return False

    def _failed(self, error: WarpError) -> None:
        self.failures += 1

    def close(self) -> None:
        if self._changes is not None:
            self._changes.close()
        self._changes = None


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
