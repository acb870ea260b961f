"""What becomes of tables when their collections come, go, or are replaced."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from cwarp_core import ChangeEvent

from ..model import Origin
from .asked import BY_SIGNAL
from .copy import Copy
from .line import Line
from .listing import followable
from .shape import Shape
from .tables import Planned, Tables
from .views import Phase

log = logging.getLogger(__name__)

_REPLACED = "its collection was replaced"
_BACK = "its collection has come back"


class Structure:
    """Told of the events that speak of no document, in order, by one task.

    An event that is told a second time, after a crash, does nothing: what it asks for
    is stored before the position passes it, with a time that lies behind it.
    """

    def __init__(self, line: Line, tables: Tables, copy: Copy) -> None:
        self._line = line
        self._tables = tables
        self._copy = copy

    def concerns(self, event: ChangeEvent) -> bool:
        """Has everything before the event to be committed first, and then it to be
        told of at once?"""
        if event.operation == "dropDatabase":
            return True
        if event.operation not in ("drop", "rename"):
            return False
        # What is on its way may make the table only now.
        names = (event.collection, event.to_collection)
        return any(name is not None and self._line.streams(name) for name in names)

    def happened(self, event: ChangeEvent) -> None:
        """Everything before it is committed, and nobody applies events."""
        tables, time, operation = self._tables, event.cluster_time, event.operation
        gone = [shape for shape in tables.streamed if shape.since < time]
        if operation == "dropDatabase":
            # Its collections were dropped one by one before.
            gone = [shape for shape in gone if not shape.gone]
        else:
            gone = [shape for shape in gone if shape.collection == event.collection]
        if gone and self._line.resyncs is None:
            _warn(event)
        elif gone:
            self._copy.withdraw(gone)
            for shape in gone:
                # What was renamed is somewhere else, and no less true for that.
                tables.retired(shape, time, keep=operation == "rename")
        if operation == "rename" and (to := event.to_collection) is not None:
            self._renamed(to, event)

    def _renamed(self, name: str, event: ChangeEvent) -> None:
        """A collection got this name, documents and all."""
        if not self._line.streams(name):
            return
        shape = self._tables.get(name)
        if shape is None:
            if (planned := self._tables.copied(name)) is not None:
                self._copy.start([planned])
        elif shape.since < event.cluster_time:
            if self._line.resyncs is None:
                _warn(event)
            else:
                self.resync({name: _REPLACED})

    def noticed(self, event: ChangeEvent) -> None:
        """Any event that was taken: does it tell of a table that has stale rows?

        That is resynced as soon as the stream stands still. It is not forgotten in a
        crash: a table whose collection is gone is known as such, and one whose
        collection is another one now is seen at the start.
        """
        shape, time = self._tables.get(event.collection), event.cluster_time
        if shape is None or self._line.resyncs is None:
            return
        if shape.gone and time > max(shape.since, shape.absent):
            self._line.asked.ask(event.collection, _BACK)
        elif event.operation == "create" and time > shape.since:
            self._line.asked.ask(event.collection, _REPLACED)

    def resync(self, wanted: Mapping[str, str]) -> None:
        """Begin the resync of these tables, each for its reason. As ``happened``."""
        line = self._line
        if (resyncs := line.resyncs) is None:
            return
        asked = set(line.retry(resyncs.asked))
        shapes: list[tuple[Shape, str]] = []
        for collection, reason in wanted.items():
            shape = self._tables.get(collection)
            # A request may have been seen before it was accepted.
            late = reason == BY_SIGNAL and shape and shape.table.name not in asked
            if shape is not None and not late:
                shapes.append((shape, reason))
        self._copy.withdraw([shape for shape, _ in shapes])
        found = (self._resynced(*each) for each in shapes)
        self._copy.start([each for each in found if each is not None])

    def _resynced(self, shape: Shape, reason: str) -> Planned | None:
        line, name = self._line, shape.collection
        # Before the look: what ends a collection that is there then is newer.
        since = line.retry(line.source.time_now)
        listed = followable(line, name)
        if listed is None:
            shape.absent = since
            if reason == BY_SIGNAL or not shape.gone:
                # Its end may still come with the stream; this is no later.
                self._tables.retired(shape, shape.since)
            return None
        log.info("resync", extra={"table": shape.table.name, "reason": reason})
        planned = self._tables.resynced(shape, Origin(since, listed.identity))
        line.progress.table(name, Phase.RESYNCING, expected=listed.documents, reason="")
        return planned


def _warn(event: ChangeEvent) -> None:
    """Of a destination that cannot resync."""
    log.warning(
        "the rows that were copied are kept, those of documents that are gone too",
        extra={"collection": event.collection, "event": event.operation},
    )
