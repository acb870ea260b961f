"""An applier's two connections: while one commits, the other takes the next rows."""

from __future__ import annotations

import threading
from collections.abc import Set

from msgspec import Struct
from psycopg import Cursor
from psycopg.rows import TupleRow

from ..config import DestinationSettings
from ..errors import WarpError
from ..killpoint import reached
from ..model import Batch, Table
from .connection import Link, application_name, translating
from .tenure import Tenure
from .upsert import Upserter

#: How long ``close`` waits for a batch being prepared; a connection that hangs in it
#: ends with the process.
_CLOSE_SECONDS = 1.0

#: How long a batch waits until the one before it has been opened.
_TAKEN_SECONDS = 1.0


class Session:
    """One connection and its staging tables."""

    def __init__(self, settings: DestinationSettings, tenure: Tenure) -> None:
        name = application_name("stream", tenure.schema)
        self.link = Link(settings, name, tenure.timeline)
        self.upserter = Upserter(tenure.meta)


class Opened(Struct, frozen=True, eq=False):
    """A transaction that was begun. staged: tables whose rows are in it already."""

    cur: Cursor[TupleRow]
    staged: Set[Table] = frozenset()


class Sessions:
    """A session that works, and a spare one that prepares for the next batch.

    The spare one connects when the first batch is prepared.
    """

    def __init__(self, settings: DestinationSettings, tenure: Tenure) -> None:
        self.working = Session(settings, tenure)
        self._spare = Session(settings, tenure)
        self._batch: Batch | None = None
        self._opened: Opened | None = None
        self._preparing = threading.Condition()
        self._closed = False

    def prepare(self, batch: Batch) -> None:
        """Stage the rows of its large tables. From another thread than the rest."""
        with self._preparing:
            taken = self._preparing.wait_for(
                lambda: self._opened is None, _TAKEN_SECONDS
            )
            if self._closed or not taken:
                return
            large = [
                each
                for each in batch.tables
                if Upserter.stages(each.table, each.upserts)
            ]
            if not large:
                return
            link, upserter = self._spare.link, self._spare.upserter
            try:
                cur = link.begin()
                reached("tx_begin")
                with translating():
                    for each in large:
                        upserter.stage(cur, each.table, each.upserts)
            except WarpError:
                # ``open`` begins anew, and meets whatever it was.
                link.rollback()
                return
            self._batch = batch
            self._opened = Opened(cur, {each.table for each in large})

    def open(self, batch: Batch) -> Opened:
        """Begin this batch's transaction, or go on in the prepared one, in ``working``.

        The working session has none. Raises what ``Link.begin`` raises.
        """
        with self._preparing:
            if self._opened is not None and self._batch is batch:
                opened, self._opened = self._opened, None
                self._preparing.notify()
                self.working, self._spare = self._spare, self.working
                return opened
            self._forget()
        cur = self.working.link.begin()
        reached("tx_begin")
        return Opened(cur)

    def close(self) -> None:
        self._closed = True
        self.working.link.drop()
        if self._preparing.acquire(timeout=_CLOSE_SECONDS):
            self._forget()
            self._spare.link.drop()
            self._preparing.release()

    def _forget(self) -> None:
        """What was prepared for another batch is of no use."""
        if self._opened is not None:
            self._opened = None
            self._preparing.notify()
            self._spare.link.rollback()
