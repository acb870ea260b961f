"""What the progress shows, at one moment: frozen values.

Times are wall-clock seconds (``time.time``); a time of the source is a cluster time.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

from msgspec import Struct

from ..model import ClusterTime

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
    #: Compared with its collection, chunk by chunk; the stream goes on.
    RESYNCING = "resyncing"
    #: Every document is there; the stream has not passed the time of the copy yet.
    COPIED = "copied"
    STREAMING = "streaming"
    #: Its collection is there no more; the table is as that left it.
    GONE = "gone"
    #: The filters of the last run leave it out; the table is as that found it.
    LEFT = "not followed"
    #: A pass of batch mode is under way; and the next one is waited for.
    READING = "reading"
    WAITING = "waiting"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


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
    """One table. ``expected``: the source's estimate of documents to copy or resync.

    before: ``counts.copied`` when that began.  table: its name in the destination, ""
    while it has none.  pending_letters: dead letters that wait in the destination,
    those of earlier runs included; None until known.  Of a table of batch mode: passes:
    that have ended, earlier processes' too. last_pass: when the last of them began,
    which is how old its rows may be; next_pass: when the next one is due.  unread:
    documents in which passes see no change.
    """

    collection: str
    table: str = ""
    phase: Phase = Phase.STARTING
    expected: int = 0
    before: int = 0
    counts: Counts = Counts()
    structure_changes: int = 0
    pending_letters: int | None = None
    last_commit: float | None = None
    last_error: str = ""
    passes: int = 0
    last_pass: float | None = None
    next_pass: float | None = None
    unread: int = 0

    def batch_lag(self, now: float) -> float | None:
        """How old the rows of a table of batch mode may be, in seconds; else None."""
        return None if self.last_pass is None else max(now - self.last_pass, 0.0)

    @property
    def copied(self) -> int:
        """By the copy or the resync that was begun last."""
        return self.counts.copied - self.before


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
