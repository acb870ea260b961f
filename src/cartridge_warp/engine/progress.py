"""What happened so far: the one store that every table, metric and page shows.

Counters of documents move only after the COMMIT that made them true, and never go
down. For every table, at any time::

    read = copied + applied + superseded + dead_letters + ignored

Times are wall-clock seconds (``time.time``); a time of the source is a cluster time.
"""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from ..errors import DestinationError, SourceError
from ..model import ClusterTime

End = Literal["source", "destination"]

#: Upper bounds, in seconds, by which batches are counted. The last one has none.
BATCH_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, math.inf),
)


class Phase(StrEnum):
    """Where a schema or a table is in its life."""

    STARTING = "starting"
    #: Another process owns the schema; this one takes over when that ends.
    STANDBY = "standby"
    #: A collection without a document: its table comes with the first one.
    EMPTY = "empty"
    #: A kind of collection that cannot be followed; ``last_error`` says why.
    UNSUPPORTED = "unsupported"
    COPYING = "copying"
    #: Every document is there; the stream has not passed the time of the copy yet.
    COPIED = "copied"
    STREAMING = "streaming"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


#: While a stream is followed. A source that has told nothing for so long, in seconds,
#: is behind by that too: with nothing to tell it says so every second.
_FOLLOWING: Final = (Phase.COPYING, Phase.STREAMING)
SILENT_SECONDS: Final = 5.0


class Counts(Struct, frozen=True):
    """How many documents and change events went where.

    read: documents of the copy and change events that came in.  copied: rows of the
    copy.  applied: events that are rows (or deletes) now, ``deleted`` of them deletes.
    superseded: events that a later state of their key made needless.  dead_letters:
    documents kept raw because they fit no row.  ignored: events that ask for nothing,
    such as a delete of an id that the table cannot hold.  rescued: values (not
    documents) kept in ``_cwarp_extra``.
    """

    read: int = 0
    copied: int = 0
    applied: int = 0
    deleted: int = 0
    superseded: int = 0
    dead_letters: int = 0
    ignored: int = 0
    rescued: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            *(
                getattr(self, name) + getattr(other, name)
                for name in self.__struct_fields__
            )
        )


class TableView(Struct, frozen=True):
    """One table. ``expected``: the source's estimate of documents to copy.

    table: its name in the destination, "" while it has none.  pending_letters: dead
    letters that wait in the destination, those of earlier runs included; None until
    known.
    """

    collection: str
    table: str = ""
    phase: Phase = Phase.STARTING
    expected: int = 0
    counts: Counts = Counts()
    structure_changes: int = 0
    pending_letters: int | None = None
    last_commit: float | None = None
    last_error: str = ""


class SchemaView(Struct, frozen=True):
    """One schema.

    source_time: the newest cluster time the source told us.  position_time: the
    cluster time of the committed position.  lag_seconds: between the two, by the
    source's clock; 0 when nothing is left to do, None until known.  source_connected,
    destination_connected: False while that end is being reached for.  turned: when a
    loop of this schema last turned.  moved: when the position was last committed.
    queued: replies read and not yet taken.  oldest_time: the oldest cluster time the
    source still has the changes of, None when it does not tell.  batches: commits of
    the stream, by the bounds of ``BATCH_SECONDS``.  batch_seconds: the time they took
    together.  filtered: change events of collections that are not synced.
    """

    name: str
    database: str
    phase: Phase = Phase.STARTING
    tables: tuple[TableView, ...] = ()
    source_time: ClusterTime | None = None
    position_time: ClusterTime | None = None
    oldest_time: ClusterTime | None = None
    lag_seconds: float | None = None
    source_connected: bool = False
    destination_connected: bool = False
    turned: float = 0.0
    moved: float | None = None
    last_commit: float | None = None
    last_error: str = ""
    errors: tuple[tuple[str, int], ...] = ()
    retries: int = 0
    filtered: int = 0
    queued: int = 0
    batches: tuple[int, ...] = (0,) * len(BATCH_SECONDS)
    batch_seconds: float = 0.0

    @property
    def connected(self) -> bool:
        """Both ends can be used."""
        return self.source_connected and self.destination_connected


class View(Struct, frozen=True):
    """Everything at one moment; rates are the difference of two views."""

    started: float
    taken: float
    schemas: tuple[SchemaView, ...]


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
        if phase in (Phase.STREAMING, Phase.STANDBY):
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

        counts: what earlier processes committed, for the first call about a table.
        """
        with self._lock:
            seen = self._tables.get(collection) or TableView(collection=collection)
            self._tables[collection] = replace(
                seen,
                phase=phase,
                table=seen.table if table is None else table,
                expected=seen.expected if expected is None else expected,
                counts=seen.counts if counts is None else counts,
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
