"""First copies of tables, beside the stream: chunk by chunk, some workers at a time.

A chunk can end before any key, and what is left becomes another chunk. That is how a
worker lets a structure change pass, and how a stop keeps what is done already.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

from cwarp_core import ChangeEvent

from ..errors import OutcomeUnknown, RowsRefused, SourceError, WarpError
from ..model import Chunk, ClusterTime
from ..protocols import Copier
from ..retry import Stopped
from .chunks import ChunkMap, ChunkState
from .chunkwork import copy_chunk
from .line import Line
from .progress import Phase
from .runtime import Task
from .shape import Shape

log = logging.getLogger(__name__)

#: How long the end waits for a worker that waits for a server; its chunk is copied
#: again by the next start.
_CLOSE_SECONDS = 1.5


class Copy:
    """The copies of one schema's tables, and what the stream has to know of them.

    A table is here from the moment its chunks are planned until the stream's position
    has passed everything its copy has read.

    after: the schema's phase once nothing is copied any more.  completed: told of each
    collection whose last chunk is done.
    """

    def __init__(
        self,
        line: Line,
        *,
        after: Phase = Phase.STREAMING,
        completed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.failure: Exception | None = None
        self._line = line
        self._after = after
        self._completed = completed
        self._changed = line.runtime.condition()
        self._maps: dict[str, ChunkMap] = {}
        self._broken: set[str] = set()
        self._careful: set[int] = set()
        self._tasks: list[Task] = []
        self._working = 0

    def start(self, tables: Sequence[tuple[Shape, Sequence[Chunk]]]) -> None:
        """Copy every chunk of these tables that is not done, in tasks of their own.

        A table whose copy fails does not stop the others; ``failure`` tells of it.
        """
        with self._changed:
            for shape, chunks in tables:
                self._maps[shape.collection] = ChunkMap(chunks)
        shapes = [
            shape
            for shape, chunks in tables
            if any(each.state != ChunkState.DONE for each in chunks)
        ]
        workers = self._line.schema.snapshot_workers if shapes else 0
        if workers:
            self._line.progress.phase(Phase.COPYING)
        with self._changed:
            self._working += workers
        for number in range(workers):
            self._tasks.append(
                self._line.start(lambda: self._work(shapes), f"copy-{number}")
            )

    @property
    def working(self) -> bool:
        """Some worker has not ended."""
        return self._working > 0

    def join(self) -> None:
        """Wait for the workers, which the stop has reached; not long for a server."""
        for task in self._tasks:
            task.join(_CLOSE_SECONDS)

    # --- what the stream asks ---------------------------------------------------

    def concerns(self, collection: str) -> bool:
        """Rows of this collection's copy may be newer than the position."""
        return collection in self._maps

    def sift(self, collection: str, events: Iterable[ChangeEvent]) -> list[ChangeEvent]:
        """Those of these events that have to be applied, in order.

        An event whose chunk is still to be read is in that read, and so is one that is
        not newer than its chunk's read time. Waits for a chunk that is being copied.
        Raises what became of a chunk whose outcome cannot be learnt.
        """
        with self._changed:
            chunks = self._maps.get(collection)
            if chunks is None:
                return list(events)
            kept = []
            for event in events:
                if event.key is None or self._wanted(chunks, event):
                    kept.append(event)
            return kept

    def _wanted(self, chunks: ChunkMap, event: ChangeEvent) -> bool:
        key = event.key or b""
        self._changed.wait_for(lambda: chunks.at(key).state != ChunkState.COPYING)
        chunk = chunks.at(key)
        if chunk.state == ChunkState.LOST:
            raise OutcomeUnknown(
                "the outcome of a chunk's COMMIT could not be read",
                hint="start again when the destination answers; nothing is lost",
            )
        if chunk.state == ChunkState.PENDING:
            return False
        return event.cluster_time > chunk.read_time

    def passed(self, position_time: ClusterTime) -> None:
        """Everything up to this time is committed: tables whose copy read nothing newer
        are consistent."""
        if not self._maps:
            return
        with self._changed:
            consistent = [
                name
                for name, chunks in self._maps.items()
                if chunks.complete and chunks.read_until <= position_time
            ]
            for name in consistent:
                del self._maps[name]
                self._line.progress.table(name, Phase.STREAMING)
        for name in consistent:
            log.info("table consistent", extra={"collection": name})

    # --- the workers ------------------------------------------------------------

    def _work(self, shapes: Sequence[Shape]) -> None:
        """One worker's life: table after table, until none has a chunk to claim."""
        try:
            copier = self._line.retry(self._line.destination.copier)
            with contextlib.closing(copier):
                worker = _Worker(self, self._line, copier)
                for shape in shapes:
                    if shape.collection not in self._broken:
                        self._table(worker, shape)
        except Stopped:
            pass
        except Exception as error:
            self._failed(error)
        finally:
            with self._changed:
                self._working -= 1
                finished = not self._working and self.failure is None
                self._changed.notify_all()
            if finished and not self._line.stop.requested:
                self._line.progress.phase(self._after)

    def _table(self, worker: _Worker, shape: Shape) -> None:
        try:
            worker.table(shape)
        except Stopped:
            raise
        except Exception as error:
            self._broken.add(shape.collection)
            self._failed(error)
            self._line.progress.failed(error, shape.collection)
            with self._line.structure:
                self._line.destination.failed(error, shape.table)

    def _failed(self, error: Exception) -> None:
        with self._changed:
            self.failure = self.failure or error
            self._changed.notify_all()

    def claimed(self, shape: Shape, chunk: Chunk) -> bool:
        """A worker has a chunk and will read it; must its rows be taken with care?"""
        with self._changed:
            self._maps[shape.collection].claimed(chunk)
            return chunk.chunk_id in self._careful

    def done(
        self,
        shape: Shape,
        chunk: Chunk,
        read_time: ClusterTime,
        read_until: ClusterTime,
        rest: Chunk | None,
    ) -> None:
        """A worker has committed its chunk."""
        shape.read(read_until)
        with self._changed:
            chunks = self._maps[shape.collection]
            chunks.done(chunk, read_time, read_until, rest)
            complete = chunks.complete
            if complete:
                # Told here: the position may pass it as soon as this is let go of.
                self._line.progress.table(shape.collection, Phase.COPIED)
            self._changed.notify_all()
        if complete:
            log.info("table complete", extra={"collection": shape.collection})
            self._completed(shape.collection)

    def handed_back(self, shape: Shape, chunk: Chunk, *, careful: bool) -> None:
        """A worker gave its chunk up, and nothing of it was kept."""
        with self._changed:
            # A position that has passed the whole copy has taken its map along.
            if (chunks := self._maps.get(shape.collection)) is not None:
                chunks.handed_back(chunk)
            if careful:
                self._careful.add(chunk.chunk_id)
            self._changed.notify_all()

    def lost(self, shape: Shape, chunk: Chunk) -> None:
        """A worker cannot learn whether its chunk was committed."""
        with self._changed:
            self._maps[shape.collection].lost(chunk)
            self._changed.notify_all()


class _Worker:
    """One connection that copies chunks."""

    def __init__(self, copy: Copy, line: Line, copier: Copier) -> None:
        self._copy = copy
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
                    raise
                self._line.trouble(error)
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
        """Copy one chunk, or its beginning, and tell the map how it ended."""
        copy, line, copier = self._copy, self._line, self._copier
        careful = copy.claimed(shape, chunk)

        def done(read_until: ClusterTime, rest: Chunk | None) -> None:
            copy.done(shape, chunk, read_time, read_until, rest)

        try:
            # Only now, behind the claim: what a stream has told of before is older.
            read_time = line.source.newest_time()
            copy_chunk(
                line, copier, shape, chunk, read_time, careful=careful, done=done
            )
        except OutcomeUnknown:
            copy.lost(shape, chunk)
            raise
        except RowsRefused:
            careful = True
        finally:
            # Nothing happens to a chunk that is committed, or lost. The map comes
            # first: behind the abort another worker may claim the chunk.
            copy.handed_back(shape, chunk, careful=careful)
            with contextlib.suppress(WarpError):
                copier.abort()
