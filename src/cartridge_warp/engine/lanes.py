"""Lanes: the workers that apply the stream, each to its own slice of the keys."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import TracebackType
from typing import Self

from cwarp_core import ChangeEvent, Reject

from ..config import SchemaSettings
from ..model import ClusterTime, Position
from ..powers import Prepares
from .batcher import CollectionChanges, Pending
from .commit import commit
from .copy import Copy
from .line import Line
from .part import Part, Piece, pieces
from .runtime import Condition, Task
from .tables import Tables

#: A lane without work commits its position this often, in seconds, so that a restart
#: never begins far behind.
IDLE_SECONDS = 10.0
#: How long the end of the block waits for a lane that waits for a server.
_CLOSE_SECONDS = 1.0


def lane_chooser(schema: SchemaSettings, lanes: int) -> Callable[[ChangeEvent], int]:
    """Which of so many lanes an event belongs to. A key is always in the same one.

    A table's keys are spread over as many lanes as its ``max_parallel_streams`` says;
    with 1 the whole table keeps its order.
    """

    @cache
    def place(collection: str) -> tuple[int, int]:
        streams = schema.table(collection).max_parallel_streams
        return zlib.crc32(collection.encode()), min(streams, lanes)

    def choose(event: ChangeEvent) -> int:
        first, spread = place(event.collection)
        identity = event.identity
        if spread == 1 or identity is None:
            return first % lanes
        if isinstance(identity, str):
            identity = identity.encode()
        return (first + zlib.crc32(identity) % spread) % lanes

    return choose


class Lanes:
    """All lanes of a schema. The methods come from one thread.

    positions: where each of them stands.  news: notified whenever one of them has
    ended something. Use as a context manager.
    """

    def __init__(
        self,
        line: Line,
        tables: Tables,
        copy: Copy,
        positions: Sequence[Position],
        news: Condition,
    ) -> None:
        self.failure: Exception | None = None
        self.ended = False
        self.lane_of = lane_chooser(line.schema, len(positions))
        self._line = line
        self._copy = copy
        self._news = news
        self._stop = line.stop.child()
        self._newest = max(positions, key=lambda each: each.cluster_time)
        self._committed_at = [line.clock()] * len(positions)
        self._joint = False
        self._lanes = [
            _Lane(number, line, tables, copy, self, news)
            for number in range(len(positions))
        ]

    def __enter__(self) -> Self:
        for lane in self._lanes:
            lane.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._news:
            self.end(None)
        if error is not None:
            self._line.stop.request()
        for lane in self._lanes:
            lane.join()

    def end(self, error: Exception | None) -> None:
        """Nothing more is to be committed, because of ``error``. Inside ``news``."""
        self.failure = self.failure or error
        self.ended = True
        self._stop.request()
        self._news.notify_all()

    @property
    def free(self) -> bool:
        """Every lane could begin with another part at once.

        Behind one that moves all of them nobody may begin before it is committed: it
        has keys of every lane.
        """
        if self._joint and not self.settled:
            return False
        return all(lane.free for lane in self._lanes)

    @property
    def settled(self) -> bool:
        """Everything handed over is committed."""
        return all(lane.settled for lane in self._lanes)

    @property
    def rested(self) -> float:
        """For how many seconds the lane that rested longest has committed nothing."""
        return self._line.clock() - min(self._committed_at)

    def submit(self, pending: Pending, position: Position) -> None:
        """Hand every lane its part of a batch. Only when ``free``."""
        parts = self._split(pending.collections)
        now = self._line.clock()
        with self._news:
            for number, lane in enumerate(self._lanes):
                rests = now - self._committed_at[number] >= IDLE_SECONDS
                if number in parts or rests:
                    mine = parts.get(number, {})
                    lane.hand(_part(pending, position, mine, (number,)), self._newest)
                    self._committed_at[number] = now
            self._newest = position
            self._joint = False

    def together(
        self, pending: Pending, position: Position, *, again: bool, moves: bool
    ) -> None:
        """Let one transaction move every lane. Only when ``settled``.

        again, moves: as in ``Part``.
        """
        everyone = tuple(range(len(self._lanes)))
        with self._news:
            part = _part(pending, position, pending.collections, everyone, again, moves)
            self._lanes[0].hand(part, self._newest)
            self._committed_at = [self._line.clock()] * len(self._lanes)
            self._newest = position
            self._joint = True

    def _split(
        self, collections: Mapping[str, CollectionChanges]
    ) -> dict[int, dict[str, CollectionChanges]]:
        if len(self._lanes) == 1:
            return {0: dict(collections)} if collections else {}
        parts: dict[int, dict[str, CollectionChanges]] = {}
        for collection, changes in collections.items():
            for number, mine in self._split_one(changes).items():
                parts.setdefault(number, {})[collection] = mine
        return parts

    def _split_one(self, changes: CollectionChanges) -> dict[int, CollectionChanges]:
        parts: dict[int, CollectionChanges] = {}
        for identity, event in changes.last.items():
            number = self.lane_of(event)
            if number not in parts:
                parts[number] = CollectionChanges({})
            parts[number].last[identity] = event
            parts[number].events += 1
        # Events that a later one of their key stands for are counted once, somewhere.
        some = parts.setdefault(next(iter(parts), 0), CollectionChanges({}))
        some.events += changes.events - len(changes.last)
        some.unkeyed = changes.unkeyed
        return parts

    def committed(self, piece: Piece, seconds: float) -> None:
        """A lane has committed a piece. Comes from the lane's task, inside ``news``."""
        if not piece.last or not piece.part.moves:
            return
        # The slowest lane is the position of the whole.
        position_time = min(lane.reached(self._newest) for lane in self._lanes)
        took = seconds if piece.batch.tables else None
        self._line.progress.moved(position_time, seconds=took)
        # Events behind a place that is not settled can be of its very time.
        settled = piece.part.settled and self.settled
        self._copy.passed(position_time if settled else position_time - 1)

    def wait(self, seconds: float) -> bool:
        """Sleep, or less: True as soon as there is nothing more to try for."""
        return self._stop.wait(seconds)


def _part(
    pending: Pending,
    position: Position,
    collections: Mapping[str, CollectionChanges],
    lanes: tuple[int, ...],
    again: bool = False,
    moves: bool = True,
) -> Part:
    return Part(
        position,
        collections,
        lanes,
        pending.cluster_time,
        pending.transactions,
        pending.settled,
        again,
        moves,
    )


class _Lane:
    """Two tasks: one makes the pieces of a part, the other commits them.

    So the next rows are made while the destination is busy with the last ones, but
    never more than one part ahead.
    """

    def __init__(
        self,
        number: int,
        line: Line,
        tables: Tables,
        copy: Copy,
        lanes: Lanes,
        news: Condition,
    ) -> None:
        self._number = number
        self._line = line
        self._tables = tables
        self._copy = copy
        self._lanes = lanes
        self._news = news
        self._part: Part | None = None
        self._piece: Piece | None = None
        self._ahead: Prepares | None = None
        self._committed: ClusterTime = 0
        self._handed = 0
        self._tasks: list[Task] = []

    def start(self) -> None:
        for work, name in ((self._make, "encoder"), (self._apply, "lane")):
            task = self._line.start(partial(self._run, work), f"{name}-{self._number}")
            self._tasks.append(task)

    def join(self) -> None:
        for task in self._tasks:
            task.join(_CLOSE_SECONDS)

    @property
    def free(self) -> bool:
        """No part waits or is being made into pieces."""
        return self._part is None

    @property
    def settled(self) -> bool:
        """Every part that was handed over is committed."""
        return self._handed == 0

    def hand(self, part: Part, newest: Position) -> None:
        """Take a part; ``newest`` is the place before it. Inside ``news``."""
        if self.settled:
            self._committed = newest.cluster_time
        self._part = part
        self._handed += 1
        self._news.notify_all()

    def reached(self, newest: Position) -> ClusterTime:
        """Up to when everything of this lane is committed."""
        return newest.cluster_time if self.settled else self._committed

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            with self._news:
                self._lanes.failure = self._lanes.failure or error
                self._news.notify_all()

    def _waits(self, ready: Callable[[], object]) -> bool:
        """Wait until it is so; False when the lanes end before. Inside ``news``."""
        self._news.wait_for(lambda: ready() or self._lanes.ended)
        return bool(ready())

    def _make(self) -> None:
        while True:
            with self._news:
                if not self._waits(lambda: self._part is not None):
                    return
                part = self._part
            assert part is not None
            for piece in pieces(self._line, self._tables, self._copy, part):
                self._prepare(piece)
                with self._news:
                    if not self._waits(lambda: self._piece is None):
                        return
                    self._piece = piece
                    if piece.last:
                        self._part = None
                    self._news.notify_all()

    def _prepare(self, piece: Piece) -> None:
        """Let the destination begin with a piece while it commits the one before."""
        if self._piece is not None and self._ahead is not None:
            self._ahead.prepare(piece.batch)

    def _apply(self) -> None:
        applier = self._line.retry(self._line.destination.applier)
        self._ahead = applier if isinstance(applier, Prepares) else None
        with contextlib.closing(applier):
            while True:
                with self._news:
                    if not self._waits(lambda: self._piece is not None):
                        return
                    piece = self._piece
                assert piece is not None
                started = self._line.clock()
                refused = commit(self._line, applier, piece, wait=self._lanes.wait)
                self._count(piece, refused)
                with self._news:
                    self._piece = None
                    if piece.last:
                        self._handed -= 1
                        self._committed = piece.part.position.cluster_time
                    self._lanes.committed(piece, self._line.clock() - started)
                    self._news.notify_all()

    def _count(self, piece: Piece, refused: Mapping[str, Sequence[Reject]]) -> None:
        line = self._line
        for collection, counts in piece.counts(refused):
            line.progress.committed(collection, counts)
        for table, rejects in (*piece.rejects(), *refused.items()):
            line.letters.committed(table, rejects)
        if piece.filtered:
            line.progress.filtered(piece.filtered)
