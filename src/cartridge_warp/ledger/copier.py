"""Chunks of a copy, each in one transaction of the ledger."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec.structs import replace

from cwarp_core import EncodedBatch, Reject

from ..errors import DestinationError, DestinationUnavailable
from ..model import Chunk, ClusterTime, Committed, Table

if TYPE_CHECKING:
    from .book import Ledger
    from .destination import LedgerDestination

H = TypeVar("H")


class _Abort(Exception):
    """Ends a transaction that is not committed."""


class _Job(Generic[H]):
    """A chunk from ``begin`` to the end of its transaction.

    open: the transaction, where it began with the chunk.
    """

    def __init__(self, chunk: Chunk, table: Table, read_time: ClusterTime) -> None:
        self.chunk = chunk
        self.table = table
        self.read_time = read_time
        self.documents = 0
        self.waiting: list[EncodedBatch] = []
        self.stack = ExitStack()
        self.open: tuple[H, Ledger] | None = None


class LedgerCopier(Generic[H]):
    """See ``protocols.Copier``.

    A chunk's rows wait in memory for its commit, so that its transaction is short and
    nobody waits for a chunk that is being read. When careful they are written as they
    come.
    """

    def __init__(
        self,
        destination: LedgerDestination[H],
        *,
        epoch: int | None = None,
        worker: str = "",
    ) -> None:
        """worker: the process that helps the owner of this epoch, if it is one."""
        self._there = destination
        self._epoch = destination.epoch if epoch is None else epoch
        self._name = worker + uuid.uuid4().hex
        self._helps = bool(worker)
        self._job: _Job[H] | None = None

    def claim(self, table: Table) -> Chunk | None:
        with self._there.transaction() as (_, ledger):
            return ledger.claim(self._epoch, table, self._name)

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
        job = _Job[H](chunk, table, read_time)
        with ExitStack() as stack:
            store, ledger = stack.enter_context(self._there.transaction())
            ledger.hold(self._epoch, table)
            if careful:
                job.open, job.stack = (store, ledger), stack.pop_all()
        self._job = job

    def write(self, batch: EncodedBatch) -> Sequence[Reject]:
        job = self._current()
        job.documents += batch.documents
        if job.open is None:
            job.waiting.append(batch)
            return ()
        store, ledger = job.open
        entry = ledger.entry(job.table)
        return self._there.bring(store, entry, job.table, batch, careful=True)

    def commit(
        self,
        *,
        read_until: ClusterTime = 0,
        split_at: bytes | None = None,
        gone: bool = False,  # noqa: ARG002  of resyncs, which are not asked for here
    ) -> Committed:
        job = self._current()
        done = replace(
            job.chunk,
            documents=job.documents,
            read_time=job.read_time,
            read_until=max(read_until, job.read_time),
        )
        with job.stack as stack:
            store, ledger = job.open or stack.enter_context(self._there.transaction())
            entry = ledger.hold(self._epoch, job.table)
            for batch in job.waiting:
                self._there.bring(store, entry, job.table, batch, careful=False)
            rest = ledger.finish(self._epoch, job.table, self._name, done, split_at)
        self._job = None
        return Committed(rest)

    def abort(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            with suppress(_Abort), job.stack:
                raise _Abort
        # Where the store is away the chunk stays ours: the next claim finds it.
        with suppress(DestinationUnavailable), self._there.transaction() as (_, ledger):
            ledger.hand_back(self._name, kept=self._helps)

    def close(self) -> None:
        self.abort()

    def _current(self) -> _Job[H]:
        if self._job is None:
            raise DestinationError("the copier has no chunk: begin comes first")
        return self._job
