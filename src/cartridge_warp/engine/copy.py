"""Copies of tables, beside the stream: chunk by chunk, some workers at a time.

A chunk can end before any key, and what is left becomes another chunk. That is how a
worker lets a structure change pass, and how a stop keeps what is done already.
A resync is a copy into a table that has rows.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from cwarp_core import ChangeEvent

from ..errors import OutcomeUnknown
from ..model import Chunk, ClusterTime, Committed
from ..powers import Sharing
from ..retry import Stopped
from .chunks import ChunkMap, ChunkState
from .copyworker import CopyWorker
from .line import Line
from .runtime import Task
from .shape import Shape
from .views import Counts, Phase

log = logging.getLogger(__name__)

#: How long the end waits for a worker that waits for a server; its chunk is copied
#: again by the next start.
_CLOSE_SECONDS = 1.5

#: A chunk that another process copies is looked at this often, in seconds.
_GLANCE_SECONDS = 0.1

#: A wait for workers looks at the stop this often, in seconds.
_TURN_SECONDS = 1.0


class Copy:
    """The copies of one schema's tables, and what the stream has to know of them.

    A table is here from the moment its chunks are planned until the stream's position
    has passed everything its copy has read.

    after: the schema's phase once nothing is copied any more.  completed: told of each
    collection whose last chunk is done.  sharing: how other processes help; shared:
    some may, and what is known of a chunk is not enough to drop an event.
    """

    def __init__(
        self,
        line: Line,
        *,
        after: Phase = Phase.STREAMING,
        completed: Callable[[str], None] = lambda _: None,
        sharing: Sharing | None = None,
    ) -> None:
        self.sharing = sharing
        self.shared = False
        self.failure: Exception | None = None
        self._line = line
        self._after = after
        self._completed = completed
        self._changed = line.runtime.condition()
        self._maps: dict[str, ChunkMap] = {}
        self._shapes: dict[str, Shape] = {}
        #: Tables with a chunk to claim, in order; how many workers are at each.
        self._open: dict[str, Shape] = {}
        self._busy: Counter[str] = Counter()
        self._careful: set[int] = set()
        self._broken: set[str] = set()
        self._tasks: list[Task] = []
        self._working = 0

    def start(self, tables: Sequence[tuple[Shape, Sequence[Chunk]]]) -> None:
        """Copy every chunk of these tables that is not done, in tasks of their own.

        A table whose copy fails does not stop the others; ``failure`` tells of it.
        """
        with self._changed:
            for shape, chunks in tables:
                shape.withdrawn = False
                self._maps[shape.collection] = ChunkMap(chunks)
                self._shapes[shape.collection] = shape
                if any(each.state != ChunkState.DONE for each in chunks):
                    self._open[shape.collection] = shape
        self._staff()

    def _staff(self) -> None:
        """Start the workers that are missing."""
        with self._changed:
            workers = self._line.schema.snapshot_workers if self._open else 0
            workers = max(workers - self._working, 0)
            self._working += workers
        if workers:
            self._line.progress.phase(Phase.COPYING)
        for _ in range(workers):
            number = len(self._tasks)
            self._tasks.append(self._line.start(self._work, f"copy-{number}"))

    def withdraw(self, shapes: Sequence[Shape]) -> None:
        """Copy these tables no more, and forget how far that is.

        Waits for the workers that are at them, which give up what they have begun.
        Nobody may be applying events. Raises Stopped.
        """
        names = [shape.collection for shape in shapes]
        with self._changed:
            for shape in shapes:
                shape.withdrawn = True
                self._open.pop(shape.collection, None)
            while any(self._busy[name] for name in names):
                self._changed.wait_for(
                    lambda: not any(self._busy[name] for name in names), _TURN_SECONDS
                )
                if self._line.stop.requested:
                    raise Stopped
                self._line.progress.turn()
            for name in names:
                self._maps.pop(name, None)

    @property
    def working(self) -> bool:
        """Some worker has not ended."""
        return self._working > 0

    @property
    def waiting(self) -> bool:
        """Some chunk is not done that another process may have."""
        with self._changed:
            return self.shared and any(
                not chunks.complete for chunks in self._maps.values()
            )

    def share(self) -> None:
        """Other processes may claim chunks from now on."""
        with self._changed:
            self.shared = True

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
        kept: list[ChangeEvent] = []
        rest = deque(events)
        fresh: dict[int, Chunk] = {}
        while asked := self._sifted(collection, rest, kept, fresh):
            self._look_again(*asked, fresh)
        return kept

    def _sifted(
        self,
        collection: str,
        rest: deque[ChangeEvent],
        kept: list[ChangeEvent],
        fresh: dict[int, Chunk],
    ) -> tuple[Shape, ChunkMap, list[int]] | None:
        """Go on until the destination has to be asked: about these chunks.

        fresh: what it said of chunks since the events came.
        """
        with self._changed:
            chunks = self._maps.get(collection)
            if chunks is None:
                kept += rest
                return None
            while rest:
                wanted = self._verdict(chunks, rest[0], fresh)
                if wanted is None:
                    asked = [
                        chunks.at(each.key).chunk_id
                        for each in rest
                        if each.key and self._asks(chunks, each.key, fresh)
                    ]
                    return self._shapes[collection], chunks, list(set(asked))
                event = rest.popleft()
                if wanted:
                    kept.append(event)
        return None

    def _verdict(
        self, chunks: ChunkMap, event: ChangeEvent, fresh: dict[int, Chunk]
    ) -> bool | None:
        """Is this event to be applied? None: nobody here can tell.

        A chunk that was pending after the event came is read later than that, whoever
        claims it.
        """
        if event.key is None:
            return True
        if self._asks(chunks, event.key, fresh):
            return None
        chunk = chunks.at(event.key)
        if self.shared and chunks.open(chunk):
            return False
        return self._wanted(chunks, event)

    def _asks(self, chunks: ChunkMap, key: bytes, fresh: dict[int, Chunk]) -> bool:
        """May another process have claimed this key's chunk unknown to this one?"""
        chunk = chunks.at(key)
        if not self.shared or not chunks.open(chunk):
            return False
        found = fresh.get(chunk.chunk_id)
        return found is None or found.state != ChunkState.PENDING

    def _look_again(
        self,
        shape: Shape,
        chunks: ChunkMap,
        numbers: list[int],
        fresh: dict[int, Chunk],
    ) -> None:
        """Ask the destination about chunks, not at once again about those that it
        called copied. Raises Stopped."""
        sharing, line = self.sharing, self._line
        assert sharing is not None
        if not fresh.keys().isdisjoint(numbers):
            with self._changed:
                self._changed.wait_for(lambda: False, _GLANCE_SECONDS)
            if line.stop.requested:
                raise Stopped
        found = line.retry(lambda: sharing.standing(shape.table, numbers))
        fresh |= {each.chunk_id: each for each in found}
        self._seen(shape, chunks, found)

    def look(self) -> None:
        """Learn what other processes have done, and copy what they gave up.

        Raises what the destination raises.
        """
        if not self.shared or self.sharing is None:
            return
        with self._changed:
            asked = [
                (self._shapes[name], chunks, [each.chunk_id for each in chunks.opened])
                for name, chunks in self._maps.items()
            ]
        for shape, chunks, numbers in asked:
            if numbers:
                found = self.sharing.standing(shape.table, numbers)
                self._seen(shape, chunks, found)
                self._reopen(shape, chunks)

    def _current(self, shape: Shape, chunks: ChunkMap) -> bool:
        """It was not planned anew, nor given up, since it was asked about."""
        return self._maps.get(shape.collection) is chunks and not shape.withdrawn

    def _seen(self, shape: Shape, chunks: ChunkMap, found: Sequence[Chunk]) -> None:
        with self._changed:
            if not self._current(shape, chunks):
                return
            done = []
            for each in found:
                if each.state == ChunkState.DONE:
                    # Before the map knows: no row is newer than this.
                    shape.read(each.read_until)
                if chunks.seen(each):
                    done.append(each)
            complete = bool(done) and chunks.complete
            if complete:
                self._line.progress.table(shape.collection, Phase.COPIED)
            self._changed.notify_all()
        documents = sum(each.documents for each in done)
        if documents:
            counts = Counts(read=documents, copied=documents)
            self._line.progress.committed(shape.collection, counts)
        if complete:
            self._completes(shape, chunks, resync=False)

    def _reopen(self, shape: Shape, chunks: ChunkMap) -> None:
        """Copy on, where there is a chunk to claim and nobody looks for one."""
        name = shape.collection
        with self._changed:
            if not self._current(shape, chunks) or name in self._broken:
                return
            if any(each.state == ChunkState.PENDING for each in chunks.opened):
                self._open.setdefault(name, shape)
        self._staff()

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

    def _work(self) -> None:
        """One worker's life: table after table, until none has a chunk to claim."""
        counted = True
        try:
            copier = self._line.retry(self._line.destination.copier)
            with contextlib.closing(copier):
                worker = CopyWorker(self, self._line, copier)
                while (shape := self._next()) is not None:
                    self._table(worker, shape)
                # It is counted out, so that whoever opens a table starts another.
                counted = False
                worker.confirm()
        except Stopped:
            pass
        except Exception as error:
            self._failed(error)
        finally:
            with self._changed:
                self._working -= counted
                finished = not self._working and self.failure is None
                self._changed.notify_all()
            if finished and not (self._line.stop.requested or self.waiting):
                self._line.progress.phase(self._after)

    def _next(self) -> Shape | None:
        """A table with a chunk to claim; without one the worker is counted out."""
        with self._changed:
            shape = next(iter(self._open.values()), None)
            if shape is None or self._line.stop.requested:
                self._working -= 1
                return None
            self._busy[shape.collection] += 1
            return shape

    def _table(self, worker: CopyWorker, shape: Shape) -> None:
        name = shape.collection
        try:
            worker.table(shape)
        except Stopped:
            raise
        except Exception as error:
            self._failed(error)
            self._broken.add(name)
            self._line.progress.failed(error, name)
            with self._line.structure:
                self._line.destination.failed(error, shape.table)
        finally:
            with self._changed:
                # Nothing is left to claim, or it cannot be copied. Whoever withdrew it
                # opens it again only when nobody is at it.
                self._busy[name] -= 1
                self._open.pop(name, None)
                self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        with self._changed:
            self.failure = self.failure or error
            self._changed.notify_all()

    # --- what a worker tells ----------------------------------------------------

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
        committed: Committed,
    ) -> None:
        """A worker has committed its chunk."""
        shape.read(read_until)
        with self._changed:
            chunks = self._maps[shape.collection]
            chunks.done(chunk, read_time, read_until, committed)
            complete = chunks.complete
            if complete:
                # Told here: the position may pass it as soon as this is let go of.
                self._line.progress.table(shape.collection, Phase.COPIED)
            self._changed.notify_all()
        if complete:
            self._completes(shape, chunks, resync=chunk.resync)

    def _completes(self, shape: Shape, chunks: ChunkMap, *, resync: bool) -> None:
        """Its last chunk is done."""
        extra: dict[str, object] = {"collection": shape.collection}
        if resync:
            extra |= {"written": chunks.written, "removed": chunks.removed}
        log.info("table resynced" if resync else "table complete", extra=extra)
        self._completed(shape.collection)
        if not (self._working or self.waiting or self.failure):
            self._line.progress.phase(self._after)

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
