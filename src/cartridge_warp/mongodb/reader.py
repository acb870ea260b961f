"""Cursors by hand: raw replies in order, the cursor's end always told to the server."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from bson.int64 import Int64
from pymongo.errors import ConnectionFailure, PyMongoError

from cwarp_core import Reply

from .errors import translating
from .link import Command, Link, Pin


class RawCursor:
    """One cursor of the server that opened it, in a session of its own.

    One thread at a time. ``open`` and ``more`` raise the driver's errors.
    primary: read there, whatever the read preference.
    """

    def __init__(self, link: Link, *, primary: bool = False) -> None:
        self._link = link
        self._primary = primary
        self._pin = Pin()
        self._session = link.client.start_session(causal_consistency=False)
        self._id = 0
        self._collection = ""

    @property
    def alive(self) -> bool:
        """The server has, or may come to have, more."""
        return self._id != 0

    def open(self, command: Command) -> Reply:
        """The first reply. command: one that makes a cursor."""
        reply = self._run(command)
        self._collection = reply.namespace.removeprefix(f"{self._link.name}.")
        return reply

    def more(self, **options: Any) -> Reply:
        """The next reply. options: batchSize, maxTimeMS."""
        return self._run(
            {"getMore": Int64(self._id), "collection": self._collection, **options}
        )

    def _run(self, command: Command) -> Reply:
        try:
            raw = self._link.command(
                command, session=self._session, pin=self._pin, primary=self._primary
            )
        except ConnectionFailure:
            # To tell a server that is away would take another whole timeout; it frees
            # an idle cursor by itself.
            self._id = 0
            raise
        reply = Reply(raw)
        self._id = reply.cursor_id
        return reply

    def close(self) -> None:
        """Free the server's cursor, if it can be reached, and the session."""
        number, self._id = self._id, 0
        with suppress(PyMongoError):
            if number:
                kill = {"killCursors": self._collection, "cursors": [Int64(number)]}
                self._link.command(
                    kill, session=self._session, pin=self._pin, primary=self._primary
                )
        self._session.end_session()


def replies(
    link: Link,
    command: Command,
    *,
    batch: Callable[[Reply], int] | None = None,
) -> Generator[Reply]:
    """Every reply of a command that makes a cursor, to its end.

    batch: how many documents to ask for after a reply. Nothing is sent before the
    first reply is asked for; closing the generator frees the cursor.
    Raises SourceUnavailable, SourceError.
    """
    doing = next(iter(command))
    with translating(doing):
        cursor = RawCursor(link)
        try:
            reply = cursor.open(command)
            yield reply
            while cursor.alive:
                options = {"batchSize": batch(reply)} if batch else {}
                reply = cursor.more(**options)
                yield reply
        finally:
            cursor.close()
