"""What happened so far: the one store that every table, metric and page shows.

Counters of documents move only after the COMMIT that made them true, and never go
down. For every table, at any time::

    read = copied + applied + superseded + dead_letters + ignored

Times are wall-clock seconds (``time.time``); a time of the source is a cluster time.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

from msgspec.structs import replace

from ..errors import DestinationError, SourceError
from ..model import BatchState, ClusterTime
from .views import BATCH_SECONDS, Counts, Phase, SchemaView, TableView, View

End = Literal["source", "destination"]


#: While a stream is followed. A source that has told nothing for so long, in seconds,
#: is behind by that too: with nothing to tell it says so every second.
_FOLLOWING: Final = (Phase.COPYING, Phase.STREAMING)
SILENT_SECONDS: Final = 5.0


def end_of(error: Exception) -> End | None:
    """Which end an error speaks of, None when it does not say."""
    if isinstance(error, SourceError):
        return "source"
    return "destination" if isinstance(error, DestinationError) else None


class Progress:
    """Thread-safe. The engine writes through ``schema``; anyone reads ``snapshot``.

    began: called once, as soon as there is something to show: a table is known, or a
    server or another owner is waited for. Before that a sync can only start or fail to.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        began: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._began = began
        self._begun = threading.Event()
        self._lock = threading.Lock()
        self._schemas: dict[str, SchemaProgress] = {}
        self._started = clock()

    def schema(self, name: str, database: str = "") -> SchemaProgress:
        """The record of a schema, made at first sight."""
        with self._lock:
            if name not in self._schemas:
                self._schemas[name] = SchemaProgress(
                    SchemaView(name=name, database=database, turned=self._clock()),
                    self._lock,
                    self._clock,
                    self._begin,
                )
            return self._schemas[name]

    @property
    def begun(self) -> bool:
        """There is something to show."""
        return self._begun.is_set()

    def _begin(self) -> None:
        if not self._begun.is_set():
            self._begun.set()
            self._began()

    def snapshot(self) -> View:
        with self._lock:
            schemas = tuple(each.view() for each in self._schemas.values())
            return View(self._started, self._clock(), schemas)


class SchemaProgress:
    """What the engine reports about one schema. Every method is one atomic step."""

    def __init__(
        self,
        view: SchemaView,
        lock: threading.Lock,
        clock: Callable[[], float],
        begin: Callable[[], None],
    ) -> None:
        self._view = view
        self._lock = lock
        self._clock = clock
        self._begin = begin
        self._tables: dict[str, TableView] = {}
        self._heard: float | None = None
        self._errors: dict[str, int] = {}

    def now(self) -> SchemaView:
        with self._lock:
            return self.view()

    def view(self) -> SchemaView:
        """The caller holds the store's lock."""
        return replace(
            self._view,
            lag_seconds=self._lag(),
            tables=tuple(self._tables.values()),
            errors=tuple(sorted(self._errors.items())),
        )

    def _lag(self) -> float | None:
        """The lag, with the time for which the source has told nothing."""
        lag = self._view.lag_seconds
        if lag is None or self._heard is None or self._view.phase not in _FOLLOWING:
            return lag
        silent = self._clock() - self._heard
        return lag if silent < SILENT_SECONDS else lag + silent

    def phase(self, phase: Phase) -> None:
        with self._lock:
            self._view = replace(self._view, phase=phase)
        if phase in (Phase.STREAMING, Phase.STANDBY, Phase.WAITING):
            self._begin()

    def connected(self, yes: bool, end: End | None = None) -> None:
        """This end, or with None both, can be used now; or it cannot."""
        with self._lock:
            self._set_connected(yes, end)

    def _set_connected(self, yes: bool, end: End | None) -> None:
        view = self._view
        self._view = replace(
            view,
            source_connected=view.source_connected if end == "destination" else yes,
            destination_connected=view.destination_connected
            if end == "source"
            else yes,
        )

    def filtered(self, events: int) -> None:
        """So many events of collections that are not synced are behind the position."""
        with self._lock:
            self._view = replace(self._view, filtered=self._view.filtered + events)

    def turn(self) -> None:
        """A loop of this schema is alive."""
        with self._lock:
            self._view = replace(self._view, turned=self._clock())

    def table(
        self,
        collection: str,
        phase: Phase,
        *,
        table: str | None = None,
        expected: int | None = None,
        counts: Counts | None = None,
        reason: str | None = None,
    ) -> None:
        """A table is in this phase now; what is not given stays as it was.

        counts: of the copy that is under way or done, when its chunks are known; the
        first time about a table, which begins with what earlier processes committed.
        expected: of a copy, or of a resync, that begins.
        """
        with self._lock:
            seen = self._tables.get(collection)
            if seen is None:
                seen = TableView(collection=collection, counts=counts or Counts())
            begins = counts or (phase is Phase.RESYNCING and expected is not None)
            copied = counts.copied if counts else 0
            self._tables[collection] = replace(
                seen,
                phase=phase,
                before=seen.counts.copied - copied if begins else seen.before,
                table=seen.table if table is None else table,
                expected=seen.expected if expected is None else expected,
                last_error=seen.last_error if reason is None else reason,
            )
        self._begin()

    def committed(self, collection: str, counts: Counts) -> None:
        """Something of this table is committed: what it adds to each counter."""
        with self._lock:
            now = self._clock()
            seen = self._tables.get(collection) or TableView(collection=collection)
            self._tables[collection] = replace(
                seen,
                counts=seen.counts + counts,
                last_commit=now,
            )
            self._view = replace(self._view, last_commit=now, turned=now)

    def passed(self, collection: str, state: BatchState, due: float) -> None:
        """Where a table of batch mode is now, and when its next pass begins."""
        with self._lock:
            seen = self._tables.get(collection) or TableView(collection=collection)
            self._tables[collection] = replace(
                seen,
                passes=state.passes,
                last_pass=state.began or None,
                next_pass=due,
                unread=state.unread,
            )

    def restructured(self, collection: str, changes: int) -> None:
        """So many structure changes of this table are committed."""
        with self._lock:
            seen = self._tables.get(collection) or TableView(collection=collection)
            self._tables[collection] = replace(
                seen, structure_changes=seen.structure_changes + changes
            )

    def moved(
        self, position_time: ClusterTime, *, seconds: float | None = None
    ) -> None:
        """The position is committed; ``seconds``: what a batch with rows took."""
        with self._lock:
            now = self._clock()
            view = self._view
            self._view = replace(
                view,
                position_time=max(position_time, view.position_time or 0),
                moved=now,
                last_commit=now,
                turned=now,
            )
            if seconds is not None:
                self._count_batch(seconds)
            self._set_lag(idle=False)

    def _count_batch(self, seconds: float) -> None:
        batches = list(self._view.batches)
        batches[bisect.bisect_left(BATCH_SECONDS, seconds)] += 1
        self._view = replace(
            self._view,
            batches=tuple(batches),
            batch_seconds=self._view.batch_seconds + seconds,
        )

    @property
    def position_time(self) -> ClusterTime | None:
        """The cluster time of the committed position."""
        return self._view.position_time

    def looked(
        self, oldest_time: ClusterTime | None, letters: Mapping[str, int] | None
    ) -> None:
        """What a look at both ends found; None for what it could not.

        letters: pending ones by the table's name; no entry is none of them.
        """
        with self._lock:
            self._view = replace(self._view, oldest_time=oldest_time)
            for name, seen in self._tables.items():
                pending = None if letters is None else letters.get(seen.table, 0)
                self._tables[name] = replace(seen, pending_letters=pending)

    def heard(
        self, source_time: ClusterTime, *, queued: int, idle: bool = False
    ) -> None:
        """The source told its time; ``idle``: and that it has nothing more for us."""
        with self._lock:
            self._heard = self._clock()
            view = self._view
            self._view = replace(
                view,
                source_time=max(source_time, view.source_time or 0) or None,
                queued=queued,
                turned=self._clock(),
            )
            self._set_lag(idle=idle)

    def _set_lag(self, *, idle: bool) -> None:
        view = self._view
        if idle:
            lag: float | None = 0.0
        elif view.source_time is None or view.position_time is None:
            lag = view.lag_seconds
        else:
            # Cluster times count whole seconds in their upper half.
            seconds = (view.source_time >> 32) - (view.position_time >> 32)
            lag = float(max(0, seconds))
        self._view = replace(self._view, lag_seconds=lag)

    def retrying(self, error: Exception) -> None:
        """A call failed and will be made again; its end is not connected for now."""
        with self._lock:
            self._count_error(error)
            self._set_connected(False, end_of(error))
            self._view = replace(
                self._view,
                retries=self._view.retries + 1,
                turned=self._clock(),
            )
        self._begin()

    def failed(self, error: Exception, collection: str | None = None) -> None:
        """A table, or with no collection the whole schema, cannot go on."""
        with self._lock:
            self._count_error(error)
            if collection is None:
                self._view = replace(self._view, phase=Phase.FAILED)
                return
            seen = self._tables.get(collection) or TableView(collection=collection)
            self._tables[collection] = replace(
                seen, phase=Phase.FAILED, last_error=str(error)
            )

    def _count_error(self, error: Exception) -> None:
        kind = type(error).__name__
        self._errors[kind] = self._errors.get(kind, 0) + 1
        self._view = replace(self._view, last_error=str(error))
