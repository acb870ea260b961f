"""The change stream of one database, and when it may be reopened."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError, ServerSelectionTimeoutError

from cwarp_core import Reply

from ..errors import SourceError
from ..model import Position
from . import token as tokens
from .errors import Verdict, classify, translating
from .link import Link
from .reader import RawCursor

#: How long the server waits for something to happen before it replies with nothing.
AWAIT_MS = 1000

#: A stream that breaks again this soon after it was reopened is left to the caller,
#: who waits longer and longer; seconds.
REOPEN_SECONDS = 1.0

#: MongoDB 6.0, the first with ``showExpandedEvents``, speaks this wire version.
_EXPANDED_WIRE = 17


class MongoChanges:
    """The stream of every change after ``position``. One thread at a time.

    It always starts behind a token: ``startAfter`` takes every token, also that of an
    ``invalidate``, which ``resumeAfter`` refuses. Nothing ever starts from now. There
    is no filter, so the tokens fit any stream of the database.

    batch_size: events asked for at once.
    """

    def __init__(self, link: Link, position: Position, batch_size: int) -> None:
        self._link = link
        self._batch_size = batch_size
        self._token = position.token
        self._reopened = -REOPEN_SECONDS
        self._cursor: RawCursor | None = None
        with translating("change stream"):
            self._first: Reply | None = self._open()

    def read(self) -> Reply:
        """The next reply; see ``protocols.Changes``."""
        reply, self._first = self._first, None
        if reply is None:
            reply = self._next()
        if (token := reply.post_batch_resume_token) is not None:
            self._token = token
        elif len(reply):
            raise SourceError(
                "MongoDB sent change events without a post-batch resume token",
                hint="check that the server is MongoDB 4.4 or newer",
            )
        return reply

    def _next(self) -> Reply:
        with translating("change stream"):
            # An invalidate ends the cursor, and history goes on behind it.
            if self._cursor is None or not self._cursor.alive:
                return self._open()
            try:
                return self._cursor.more(batchSize=self._batch_size, maxTimeMS=AWAIT_MS)
            except PyMongoError as error:
                if classify(error) not in (Verdict.RESUME, Verdict.RETRY):
                    raise
                if isinstance(error, ServerSelectionTimeoutError):
                    raise  # a whole timeout was waited already
                now = time.monotonic()
                if now - self._reopened < REOPEN_SECONDS:
                    raise
                self._reopened = now
                return self._open()

    def _open(self) -> Reply:
        """A new cursor on the primary, after the last token that was read."""
        self.close()
        self._cursor = RawCursor(self._link, primary=True)
        start = {"startAfter": RawBSONDocument(self._token)}
        return self._cursor.open(opening(self._link, start, self._batch_size))

    def position_of(self, token: bytes) -> Position:
        """The position of a token; only decodes."""
        return tokens.position(token)

    def close(self) -> None:
        """Free the cursor; safe to call twice."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()


def position_now(link: Link) -> Position:
    """The newest place in history: what a stream opened now begins behind."""
    with translating("change stream"):
        cursor = RawCursor(link, primary=True)
        try:
            reply = cursor.open(opening(link, {}, 0))
            # A reply without a token (a database mongos does not know yet) has none
            # later either, so there is nothing to wait for.
            if (token := reply.post_batch_resume_token) is None:
                raise SourceError(
                    "MongoDB gives no position for the database",
                    hint="make a collection in it first",
                )
        finally:
            cursor.close()
    return tokens.position(token)


def opening(link: Link, start: Mapping[str, Any], batch_size: int) -> dict[str, Any]:
    """The command that opens the stream.

    No stage follows: a filter would make its tokens its own.
    """
    stage: dict[str, Any] = dict(start)
    if link.wire_version() >= _EXPANDED_WIRE:
        stage["showExpandedEvents"] = True
    return {
        "aggregate": 1,
        "pipeline": [{"$changeStream": stage}],
        "cursor": {"batchSize": batch_size},
    }
