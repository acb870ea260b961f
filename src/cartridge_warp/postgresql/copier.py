"""A copy's worker: one chunk, one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence

from psycopg import Cursor
from psycopg.rows import TupleRow

from cwarp_core import Drift, EncodedBatch, Reject

from ..config import DestinationSettings
from ..errors import DestinationError, DestinationUnavailable, OutcomeUnknown
from ..killpoint import reached
from ..metadata import chunks, letters, registry, runs, signals, store
from ..metadata.letters import Letter
from ..model import Chunk, ChunkRange, ClusterTime, Committed, Table
from .connection import (
    CommitUnknown,
    Link,
    application_name,
    refusing,
    translating,
)
from .journal import Line
from .reconcile import CarefullyReconciled, Reconciled
from .staging import Staging
from .straight import CarefulStraight, Outcome, Straight, Way
from .structure import hold
from .tenure import Tenure
from .upsert import Upserter

#: How long a commit looks for its outcome once its answer was lost.
_SETTLE_SECONDS = 60.0
_SETTLE_PAUSE_SECONDS = 0.5
_SETTLE_LOCK_MS = 10_000


class _Job:
    """A chunk between ``begin`` and the end of its transaction.

    way: how its rows come into the table.
    """

    def __init__(
        self,
        chunk: Chunk,
        table: Table,
        read_time: ClusterTime,
        cur: Cursor[TupleRow],
        way: Way,
    ) -> None:
        self.chunk = chunk
        self.table = table
        self.read_time = self.read_until = read_time
        self.cur = cur
        self.way = way
        self.rows = 0
        self.rescued = 0
        self.letters: list[Letter] = []
        self.drift: list[Drift] = []

    def refused(self, found: Sequence[Letter]) -> list[Reject]:
        """These rows are dead letters."""
        self.rows -= len(found)
        self.letters += found
        return [each.reject for each in found]


class PostgresCopier:
    """See ``protocols.Copier``.

    A chunk that could not be handed back, because the server was away, is claimed
    first by the next ``claim`` of this copier, or of the one that takes its place.
    """

    def __init__(
        self,
        settings: DestinationSettings,
        tenure: Tenure,
        *,
        role: str = "copy",
        slot: int | None = None,
    ) -> None:
        self._tenure = tenure
        name = application_name(role, tenure.schema)
        self._link = Link(settings, name, tenure.timeline)
        self._slot = tenure.take_slot() if slot is None else slot
        self._claimed: Chunk | None = None
        self._staging = Staging()
        self._upserter = Upserter(tenure.meta, self._staging)
        self._job: _Job | None = None

    def claim(self, table: Table) -> Chunk | None:
        own = self._tenure
        with self._link.transaction() as cur:
            store.check_owner(cur, own.meta, own.schema, own.epoch)
            found = chunks.claim(
                cur, own.meta, own.schema, table.name, own.epoch, self._slot
            )
        self._claimed = found
        return found

    def begin(
        self,
        chunk: Chunk,
        table: Table,
        read_time: ClusterTime,
        *,
        careful: bool = False,
    ) -> None:
        if self._job is not None:
            raise DestinationError("the copier has a chunk already")
        cur = self._link.begin(statement_ms=0)
        reached("tx_begin")
        try:
            with translating():
                hold(cur, self._tenure, [table])
                way = self._way(cur, chunk, table, careful=careful)
        except BaseException:
            self._link.rollback()
            raise
        self._job = _Job(chunk, table, read_time, cur, way)

    def _way(
        self, cur: Cursor[TupleRow], chunk: Chunk, table: Table, *, careful: bool
    ) -> Way:
        if not chunk.resync:
            return (CarefulStraight if careful else Straight)(cur, table)
        meta, pending = self._tenure.meta, table.name in self._tenure.letters
        if careful:
            return CarefullyReconciled(
                cur, meta, table, self._upserter, pending=pending
            )
        return Reconciled(cur, meta, table, self._staging, pending=pending)

    def write(self, batch: EncodedBatch) -> Sequence[Reject]:
        job = self._current()
        with translating(), refusing():
            refused = job.way.write(batch)
        job.rows += batch.rows
        job.rescued += batch.rescued
        job.letters += letters.of_rejects(job.table, batch.rejects)
        job.drift += batch.drift
        reached("mid_copy")
        return job.refused(refused)

    def commit(
        self,
        *,
        read_until: ClusterTime = 0,
        split_at: bytes | None = None,
        gone: bool = False,
    ) -> Committed:
        job = self._current()
        job.read_until = max(read_until, job.read_time)
        within = job.chunk.range
        if split_at is not None:
            within = ChunkRange(within.lower, split_at)
        try:
            with translating():
                with refusing():
                    outcome = job.way.finish(None if gone else within)
                reached("copy_done")
                refused = job.refused(outcome.refused)
                lines, rest = self._record(job, split_at, outcome)
        except BaseException:
            self._link.rollback()
            raise
        reached("chunk_commit")
        try:
            self._link.commit(refusable=job.way.refuses)
        except CommitUnknown:
            self._settle(job)
        reached("commit_ok")
        self._job = self._claimed = None
        self._tenure.journal.noted(lines)
        return Committed(rest, refused, outcome.written, outcome.removed)

    def abort(self) -> None:
        job, self._job = self._job, None
        claimed, self._claimed = self._claimed, None
        if job is not None:
            job.way.cancel()
            self._link.rollback()
        chunk = claimed if job is None else job.chunk
        if chunk is None:
            return
        own = self._tenure
        try:
            with self._link.transaction() as cur:
                chunks.hand_back(cur, own.meta, chunk, own.epoch, self._slot)
        except DestinationUnavailable:
            # It stays ours under our slot: the next claim finds it.
            self._link.drop()

    def close(self) -> None:
        self.abort()
        self._link.drop()
        self._tenure.free_slot(self._slot)

    def _current(self) -> _Job:
        if self._job is None:
            raise DestinationError("the copier has no chunk: begin comes first")
        return self._job

    def _record(
        self, job: _Job, split_at: bytes | None, outcome: Outcome
    ) -> tuple[Sequence[Line], Chunk | None]:
        """Dead letters, counters and ``done``, in the metadata's order of locks.

        Returns what was logged, and the chunk that was split off.
        """
        own, cur = self._tenure, job.cur
        lines = own.journal.due(job.table.name, job.drift)
        for line in lines:
            runs.log_error(
                cur,
                own.meta,
                own.schema,
                "rescued",
                line.message,
                table=line.table,
                count=line.count,
            )
        if job.letters:
            letters.add(cur, own.meta, job.table, job.letters, job.read_time)
            own.letters.add(job.table.name)
        registry.count(
            cur,
            own.meta,
            own.schema,
            job.table.name,
            registry.Counters(
                read=job.rows + len(job.letters),
                copied=job.rows,
                rejected=len(job.letters),
                rescued=job.rescued,
            ),
        )
        store.check_owner(cur, own.meta, own.schema, own.epoch)
        done = chunks.finish(
            cur,
            own.meta,
            job.chunk,
            own.epoch,
            self._slot,
            documents=job.rows + len(job.letters),
            rows=job.rows,
            read_time=job.read_time,
            read_until=job.read_until,
            upper=job.chunk.range.upper if split_at is None else split_at,
            written=outcome.written,
            removed=outcome.removed,
        )
        if not done:
            raise store.fenced(own.schema)
        rest = None
        if split_at is not None:
            rest = chunks.split_off(cur, own.meta, job.chunk, split_at)
        elif job.chunk.resync:
            self._end_resync(cur, job.table)
        return lines, rest

    def _end_resync(self, cur: Cursor[TupleRow], table: Table) -> None:
        """With its last chunk. Chunks of a table commit one after the other, since
        each has counted."""
        own = self._tenure
        if chunks.all_done(cur, own.meta, own.schema, table.name):
            letters.resolve_unseen(cur, own.meta, own.schema, table.name)
            signals.done(cur, own.meta, own.schema, table.name)

    def _settle(self, job: _Job) -> None:
        """Return if the lost COMMIT took place; raise what a failed one means.

        The caller treats the chunk as ``copying`` until this returns, so it must end
        in knowledge: a chunk that is done, taken for pending, would lose its changes.
        """
        own = self._tenure
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            try:
                with self._link.transaction(lock_ms=_SETTLE_LOCK_MS) as cur:
                    found = chunks.settled_state(cur, own.meta, job.chunk)
                break
            except DestinationUnavailable as error:
                if time.monotonic() > deadline:
                    raise OutcomeUnknown(
                        "the outcome of a chunk's COMMIT could not be read",
                        hint="start again when PostgreSQL answers; nothing is lost",
                    ) from error
                time.sleep(_SETTLE_PAUSE_SECONDS)
        if found == ("done", own.epoch, self._slot):
            return
        if found == ("copying", own.epoch, self._slot):
            raise DestinationUnavailable("the connection was lost before COMMIT")
        raise store.fenced(own.schema)
