"""The first copy of tables: some workers, each with its own connection, chunk by chunk.

A chunk can end before any key, and what is left becomes another chunk. That is how a
worker lets a structure change pass, and how a stop keeps what is done already.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from cwarp_core import BatchEncoder, EncodedBatch, Reject, Reply

from ..errors import SourceError, WarpError
from ..model import Chunk
from ..protocols import Copier
from ..retry import Stopped
from .line import Line
from .progress import Counts, Phase
from .shape import Shape


def copy_tables(line: Line, shapes: Sequence[Shape]) -> None:
    """Copy every chunk of these tables that is not done.

    A table that fails does not stop the others; the first failure is raised when
    they are done. Raises Stopped when the stop came first.
    """
    crew = _Crew(line, shapes)
    threads = [
        line.thread(crew.work, f"copy-{number}")
        for number in range(line.schema.snapshot_workers if shapes else 0)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if crew.failures:
        raise crew.failures[0]
    if line.stop.requested:
        raise Stopped


class _Crew:
    """What the workers of one copy share."""

    def __init__(self, line: Line, shapes: Sequence[Shape]) -> None:
        self.failures: list[Exception] = []
        self._line = line
        self._shapes = shapes
        self._lock = threading.Lock()
        self._busy = {shape.collection: 0 for shape in shapes}
        self._failed: set[str] = set()

    def work(self) -> None:
        """One worker's life: table after table, until none has a chunk to claim."""
        try:
            copier = self._line.retry(self._line.destination.copier)
        except Stopped:
            return
        except Exception as error:
            self.failures.append(error)
            return
        with contextlib.closing(copier):
            worker = _Worker(self._line, copier)
            for shape in self._shapes:
                if shape.collection not in self._failed:
                    self._table(worker, shape)

    def _table(self, worker: _Worker, shape: Shape) -> None:
        name = shape.collection
        with self._lock:
            self._busy[name] += 1
        try:
            worker.table(shape)
        except Stopped:
            return
        except Exception as error:
            with self._lock:
                self.failures.append(error)
                self._failed.add(name)
            self._line.progress.failed(error, name)
            with self._line.structure:
                self._line.destination.failed(error, shape.table)
            return
        with self._lock:
            self._busy[name] -= 1
            last = not self._busy[name] and not self._line.stop.requested
        if last:
            self._line.progress.table(name, Phase.COPIED)


class _Worker:
    """One connection that copies chunks."""

    def __init__(self, line: Line, copier: Copier) -> None:
        self._line = line
        self._copier = copier

    def table(self, shape: Shape) -> None:
        """Copy chunks of this table until none can be claimed, or the stop comes."""
        backoff = self._line.backoff()
        while not self._line.stop.requested:
            try:
                chunk = self._copier.claim(shape.table)
                if chunk is None:
                    return
                self._line.progress.table(shape.collection, Phase.COPYING)
                self._chunk(shape, chunk)
            except WarpError as error:
                if not self._mends(error, shape):
                    with contextlib.suppress(WarpError):
                        self._copier.abort()
                    raise
                self._line.trouble(error)
                self._line.retry(self._copier.abort)
                self._line.stop.wait(backoff.delay())
            else:
                backoff.reset()
                self._line.progress.connected(True)

    def _mends(self, error: WarpError, shape: Shape) -> bool:
        """Will the chunk succeed later? Yes too when its collection is gone.

        A collection dropped under an open cursor is an error; the next read finds no
        document, which is the truth.
        """
        if error.retryable or not isinstance(error, SourceError):
            return error.retryable
        listed = self._line.retry(self._line.source.discover)
        return all(each.name != shape.collection for each in listed)

    def _chunk(self, shape: Shape, chunk: Chunk) -> None:
        """Copy one chunk, or its beginning."""
        line, copier = self._line, self._copier
        table = shape.table
        encoder = line.destination.encoder(table)
        begun = False
        counts = Counts()
        rejects: list[Reject] = []
        for reply in line.source.snapshot(shape.collection, chunk.range):
            line.progress.turn()
            if not len(reply):
                continue
            key = reply.key(0)
            if line.stop.requested and not begun:
                break
            if begun and key and (line.stop.requested or shape.wanted):
                self._commit(shape, counts, rejects, split_at=key)
                return
            batch = _encoded(encoder, reply)
            drifts = batch.drift or batch.rejects
            if drifts and (shape.table is not table or shape.changes(batch)):
                if not begun:
                    table = shape.evolve(batch)
                    encoder = line.destination.encoder(table)
                    batch = _encoded(encoder, reply)
                elif key:
                    self._commit(shape, counts, rejects, split_at=key)
                    shape.evolve(batch)
                    return
            if not begun:
                copier.begin(chunk, table)
                begun = True
            copier.write(batch)
            rejects += batch.rejects
            counts += Counts(
                read=batch.documents,
                copied=batch.rows,
                dead_letters=len(batch.rejects),
                rescued=batch.rescued,
            )
        if line.stop.requested and not begun:
            copier.abort()
            return
        if not begun:
            copier.begin(chunk, table)
        self._commit(shape, counts, rejects)

    def _commit(
        self,
        shape: Shape,
        counts: Counts,
        rejects: Sequence[Reject],
        *,
        split_at: bytes | None = None,
    ) -> None:
        self._copier.commit(split_at=split_at)
        self._line.letters.committed(shape.table.name, rejects)
        self._line.progress.committed(shape.collection, counts)


def _encoded(encoder: BatchEncoder, reply: Reply) -> EncodedBatch:
    """One reply's rows alone, so that they can be dropped."""
    encoder.add_reply(reply, reply.operation_time)
    return encoder.take()
