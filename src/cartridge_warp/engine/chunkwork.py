"""One chunk: read, encoded, sent and committed in one transaction."""

from __future__ import annotations

from collections.abc import Callable

from cwarp_core import BatchEncoder, EncodedBatch, Reject, Reply

from ..model import Chunk, ClusterTime, Committed
from ..protocols import Copier
from .line import Line
from .listing import followable
from .shape import Shape
from .views import Counts

#: Told until when a committed chunk was read, and what its commit did.
Done = Callable[[ClusterTime, Committed], None]


def copy_chunk(
    line: Line,
    copier: Copier,
    shape: Shape,
    chunk: Chunk,
    read_time: ClusterTime,
    *,
    careful: bool,
    done: Done,
) -> EncodedBatch | None:
    """Copy a claimed chunk, or its beginning, and commit; ``done`` is told at once.

    It ends early for the stop and for a structure change that somebody wants. With
    nothing at all it ends when the stop came before its transaction was opened, when
    its table is withdrawn, and where it has to but cannot be divided. Returns the rows
    that the table should change for once the chunk was handed back. Raises what its
    ends raise.
    """
    return _ChunkWork(line, copier, shape, chunk, read_time, careful, done).run()


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

    def run(self) -> EncodedBatch | None:
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
            if self._ends_before(key):
                return None
            batch = self._encoded(reply)
            # Again, because a key that was rewritten lets in documents with new fields.
            while not self._begun and self._drifts(batch):
                shape.evolve(batch)
                self._encode_for_newest()
                batch = self._encoded(reply)
            if self._begun and self._divisible and self._drifts(batch):
                if key and self._may_end_before(key):
                    self._commit(split_at=key)
                return batch
            if not self._begin():
                return None
            self._write(batch)
        stopped = line.stop.requested and not self._begun
        if not shape.withdrawn and not stopped and self._begin():
            self._commit()
        return None

    def _ends_before(self, key: bytes | None) -> bool:
        """Does it end before this document, with its beginning or with nothing?"""
        stop, shape = self._line.stop, self._shape
        if shape.withdrawn or (stop.requested and not self._begun):
            return True
        if not self._begun or not (stop.requested or shape.wanted):
            return False
        if key and self._may_end_before(key):
            self._commit(split_at=key)
            return True
        return stop.requested and not self._divisible

    @property
    def _divisible(self) -> bool:
        """Can it end before its end at all?"""
        resyncs = self._line.resyncs if self._chunk.resync else None
        ordered = resyncs is None or resyncs.ordered(self._table)
        return ordered and not self._chunk.range.whole

    def _may_end_before(self, key: bytes) -> bool:
        resyncs = self._line.resyncs if self._chunk.resync else None
        divides = resyncs is None or resyncs.divides(self._table, key)
        return divides and self._divisible

    def _encoded(self, reply: Reply) -> EncodedBatch:
        """One reply's rows alone, so that they can be dropped."""
        self._encoder.add_reply(reply, reply.operation_time)
        return self._encoder.take()

    def _drifts(self, batch: EncodedBatch) -> bool:
        """Should the table change before it takes these rows?"""
        if not batch.drift and not batch.rejects:
            return False
        return self._shape.table is not self._table or bool(self._shape.changes(batch))

    def _begin(self) -> bool:
        """Open the transaction, once; False when the chunk has to be planned again."""
        if not self._begun and self._suits():
            self._copier.begin(
                self._chunk, self._table, self._read_time, careful=self._careful
            )
            self._begun = True
        return self._begun

    def _suits(self) -> bool:
        """Do the chunk's bounds divide the rows as they divide the ids?

        Not any more where the table's key was rewritten since it was planned.
        """
        resyncs = self._line.resyncs if self._chunk.resync else None
        bounds = (self._chunk.range.lower, self._chunk.range.upper)
        if resyncs is None or all(
            each is None or resyncs.divides(self._table, each) for each in bounds
        ):
            return True
        self._shape.withdrawn = True
        self._line.asked.ask(self._shape.collection, "its key was rewritten")
        return False

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
        gone = False
        if self._chunk.resync and not self._counts.read:
            # A collection that was dropped reads like an empty one.
            gone = followable(self._line, self._shape.collection) is None
        committed = self._copier.commit(
            read_until=self._read_until, split_at=split_at, gone=gone
        )
        self._done(self._read_until, committed)
        refused = len(committed.refused)
        self._counts += Counts(copied=-refused, dead_letters=refused)
        rejects = [*self._rejects, *committed.refused]
        self._line.letters.committed(self._table.name, rejects)
        self._line.progress.committed(self._shape.collection, self._counts)
