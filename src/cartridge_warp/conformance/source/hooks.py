"""What a source's author gives the suite, and a reader of its stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from cwarp_core import ChangeEvent, Reply, parse_events

from ...model import ChunkRange, ClusterTime, Position
from ...protocols import Changes, Source
from ..documents import ZOO, documents
from ..promise import Promise

#: The events of one document; all others speak of structure.
ROW_EVENTS = frozenset({"insert", "update", "replace", "delete"})

EVERYTHING = ChunkRange(None, None)

#: Replies without an event after which the suite gives up.
_PATIENCE = 15


class SourceHooks(ABC):
    """ids: kinds of ``_id`` that the source can hold; by default all there are."""

    ids: Sequence[Any] = ZOO

    @pytest.fixture  # noqa: B027  it need not be overridden
    def place(self) -> None:
        """An empty database for one test. Override it by a fixture that makes one."""

    @abstractmethod
    def connect(self) -> Source:
        """A new source of the test's database. The suite closes it."""

    @abstractmethod
    def insert(self, collection: str, new: Sequence[bytes]) -> None:
        """Store documents, given as BSON, whose ids are new; all are committed."""

    @abstractmethod
    def replace(self, collection: str, document: bytes) -> None:
        """Put a document in the place of the one with its ``_id``."""

    @abstractmethod
    def delete(self, collection: str, document: bytes) -> None:
        """Delete the document with this one's ``_id``."""

    # --- for the suite ----------------------------------------------------------

    @pytest.fixture(autouse=True)
    def ends(self, place: None) -> Iterator[None]:
        """Close what a test has opened, before its database goes."""
        self._open: list[Source | Changes] = []
        yield
        for each in reversed(self._open):
            each.close()

    def source(self) -> Source:
        made = self.connect()
        self._open.append(made)
        return made

    def follow(self, source: Source, position: Position) -> Reader:
        changes = source.changes(position)
        self._open.append(changes)
        return Reader(source, changes, position)

    def copied(
        self,
        source: Source,
        collection: str,
        chunk: ChunkRange = EVERYTHING,
        after: ClusterTime | None = None,
    ) -> list[bytes]:
        """The documents of a chunk, as it is read now, or at ``after`` or later."""
        time = source.time_now() if after is None else after
        return documents(source.snapshot(collection, chunk, time))


class Reader:
    """Reads a stream as the engine does: what it was given before is left out.

    after: where the last reply ended.  events: those of documents, so far.  every:
    those of structure too.  replies: each with the events it brought.
    """

    def __init__(self, source: Source, changes: Changes, position: Position) -> None:
        self.changes = changes
        self.after = position
        self.every: list[ChangeEvent] = []
        self.replies: list[tuple[Reply, list[ChangeEvent]]] = []
        self._source = source
        self._behind = source.order(position.token)

    @property
    def events(self) -> list[ChangeEvent]:
        return [each for each in self.every if each.operation in ROW_EVENTS]

    def read(self, patience: float = 1.0) -> Reply:
        """One reply; its new events are added to the others."""
        reply = self.changes.read(patience)
        events = parse_events(reply)
        self.replies.append((reply, events))
        for event in events:
            place = self._source.order(event.token)
            if place > self._behind:
                self._behind = place
                self.every.append(event)
        token = reply.post_batch_resume_token
        if token is not None and self._source.order(token) >= self._behind:
            self.after = self.changes.position_of(token)
        return reply

    def until(self, enough: Callable[[list[ChangeEvent]], object]) -> list[ChangeEvent]:
        """Read until there are enough events of documents."""
        silent = 0
        while not enough(self.every):
            silent += not len(self.read())
            if silent > _PATIENCE:
                told = [(e.operation, e.collection, e.identity) for e in self.every]
                Promise("Source.changes", "Everything after ``position``.").broken(
                    f"what was written did not come; of all events only {told}"
                )
        return self.events

    def silence(self) -> None:
        """Read until a reply brings nothing."""
        for _ in range(1000):
            if not len(self.read()):
                return
        Promise(
            "Changes.read", "or none after ``patience`` seconds of silence."
        ).broken("a thousand replies brought events that nobody made")

    def count(self, number: int) -> list[ChangeEvent]:
        """The first so many events of documents."""
        return self.until(lambda _: len(self.events) >= number)[:number]
