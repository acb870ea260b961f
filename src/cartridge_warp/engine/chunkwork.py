"""One chunk: read, encoded, sent and committed in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from cwarp_core import BatchEncoder, EncodedBatch, Reject, Reply

from ..model import Chunk, ClusterTime
from ..protocols import Copier
from .line import Line
from .progress import Counts
from .shape import Shape

#: Told until when a committed chunk was read, and the new chunk of what is left of it.
Done = Callable[[ClusterTime, Chunk | None], None]


def copy_chunk(
    line: Line,
    copier: Copier,
    shape: Shape,
    chunk: Chunk,
    read_time: ClusterTime,
    *,
    careful: bool,
    done: Done,
) -> None:
    """Copy a claimed chunk, or its beginning, and commit; ``done`` is told at once.

    It ends early for the stop and for a structure change that somebody wants; with
    nothing at all when the stop came before its transaction was opened. Raises what
    its ends raise.
    """
    _ChunkWork(line, copier, shape, chunk, read_time, careful, done).run()


class _ChunkWork:
    def __init__(
        self,
        line: Line,
        copier: Copier,
        shape: Shape,
        chunk: Chunk,
        read_time: ClusterTime,
        careful: bool,
        done: Done,
    ) -> None:
        self._line = line
        self._copier = copier
        self._shape = shape
        self._chunk = chunk
        self._read_time = self._read_until = read_time
        self._careful = careful
        self._done = done
        self._begun = False
        self._counts = Counts()
        self._rejects: list[Reject] = []
        self._encode_for_newest()

    def _encode_for_newest(self) -> None:
        self._table = self._shape.table
        self._encoder: BatchEncoder = self._line.destination.encoder(
            self._table, keep=self._careful
        )

    def run(self) -> None:
        line, shape = self._line, self._shape
        replies = line.source.snapshot(
            shape.collection, self._chunk.range, self._read_time
        )
        for reply in replies:
            line.progress.turn()
            self._read_until = max(self._read_until, reply.operation_time)
            if not len(reply):
                continue
            key = reply.key(0)
            if line.stop.requested and not self._begun:
                return
            if self._begun and key and (line.stop.requested or shape.wanted):
                self._commit(split_at=key)
                return
            batch = self._encoded(reply)
            if self._drifts(batch):
                if self._begun and key:
                    self._commit(split_at=key)
                    shape.evolve(batch)
                    return
                if not self._begun:
                    shape.evolve(batch)
                    self._encode_for_newest()
                    batch = self._encoded(reply)
            self._begin()
            self._write(batch)
        if line.stop.requested and not self._begun:
            return
        self._begin()
        self._commit()

    def _encoded(self, reply: Reply) -> EncodedBatch:
        """One reply's rows alone, so that they can be dropped."""
        self._encoder.add_reply(reply, reply.operation_time)
        return self._encoder.take()

    def _drifts(self, batch: EncodedBatch) -> bool:
        """Should the table change before it takes these rows?"""
        if not batch.drift and not batch.rejects:
            return False
        return self._shape.table is not self._table or bool(self._shape.changes(batch))

    def _begin(self) -> None:
        if not self._begun:
            self._copier.begin(
                self._chunk, self._table, self._read_time, careful=self._careful
            )
            self._begun = True

    def _write(self, batch: EncodedBatch) -> None:
        self._shape.check(batch)
        refused = self._copier.write(batch)
        self._rejects += [*batch.rejects, *refused]
        self._counts += Counts(
            read=batch.documents,
            copied=batch.rows - len(refused),
            dead_letters=len(batch.rejects) + len(refused),
            rescued=batch.rescued,
        )

    def _commit(self, *, split_at: bytes | None = None) -> None:
        rest = self._copier.commit(read_until=self._read_until, split_at=split_at)
        self._done(self._read_until, rest)
        self._line.letters.committed(self._table.name, self._rejects)
        self._line.progress.committed(self._shape.collection, self._counts)
