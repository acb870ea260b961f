"""The change stream's main loop: what arrives is batched and handed to the lanes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ..killpoint import reached
from ..model import ClusterTime, Position
from ..retry import Stopped
from .batcher import DOCUMENT_OPERATIONS, Batcher, Pending
from .copy import Copy
from .feed import HURRY, PATIENCE, Arrival, Feed
from .lanes import IDLE_SECONDS, Lanes
from .line import Line
from .structure import Structure
from .tables import Tables

log = logging.getLogger(__name__)

#: The loop turns at least this often, in seconds, whatever it waits for.
TURN_SECONDS = 1.0

#: How long a stop waits for what the lanes have begun; then it is done again.
DRAIN_SECONDS = 5.0


class Stream:
    """Follows the source from the smallest of the lanes' ``positions`` on.

    until: asked again and again; the stream ends as soon as its position has reached
    the time it answers, None: not yet. Without ``until`` it never ends.
    """

    def __init__(
        self,
        line: Line,
        tables: Tables,
        copy: Copy,
        positions: Sequence[Position],
        until: Callable[[], ClusterTime | None] | None = None,
    ) -> None:
        self._line = line
        self._tables = tables
        self._copy = copy
        self._structure = Structure(line, tables, copy)
        self._until = until
        self._news = line.runtime.condition()
        self._lanes = Lanes(line, tables, copy, positions, self._news)
        lane_of = self._lanes.lane_of
        self._batcher = Batcher(
            line.schema.stream_batch_size,
            line.schema.stream_batch_bytes,
            lane_of if len(positions) > 1 else None,
        )
        order = line.source.order
        first = min(positions, key=lambda each: order(each.token))
        places = [order(each.token) for each in positions]
        # Which lane has done what is not known: settings may have moved the keys. What
        # lies between the first and the last of them is done again, by all together.
        self._again = max(places) if len(set(places)) > 1 else b""
        self._several = len(positions) > 1
        self._reached: Position | None = None
        self._settled = False
        patience = PATIENCE if until is None else HURRY
        self._feed = Feed(line, first, self._news, patience)

    def run(self) -> Position:
        """Returns the end's position, where every lane stands then.

        Raises Stopped when the stop came: what was handed to a lane is committed; a
        source transaction that was not read to its end is left for the next start.
        """
        with self._feed, self._lanes:
            while not self._line.stop.requested:
                if (end := self._turn()) is not None:
                    return end
            self._drain()
        raise Stopped

    # --- one turn ---------------------------------------------------------------

    def _turn(self) -> Position | None:
        """What can be done at once; the end's position when it is reached."""
        self._line.progress.turn()
        with self._news:
            self._news.wait_for(self._has_work, TURN_SECONDS)
            if self._feed.held and self._has_done_all:
                self._feed.release()
            arrival = self._feed.take() if self._has_room else None
        self._check()
        if arrival is not None:
            self._take(arrival)
        elif self._ready and self._lanes.free:
            self._submit()
        self._resync()
        if self._ends() or self._rests():
            position = self._level()
            return position if self._ends() else None
        return None

    def _has_work(self) -> object:
        return (
            self._lanes.failure is not None
            or self._feed.failure is not None
            or (self._feed.queued and self._has_room)
            or (self._ready and self._lanes.free)
            or (self._feed.held and self._has_done_all)
        )

    @property
    def _has_done_all(self) -> bool:
        """Nothing can be done with what was read."""
        return not self._feed.queued and not self._ready and self._lanes.settled

    @property
    def _ready(self) -> bool:
        """The batch could be committed as it is."""
        return not self._batcher.empty and not self._batcher.inside_transaction

    @property
    def _has_room(self) -> bool:
        """The batch may take more; a transaction that was begun has to be ended."""
        return not self._batcher.full or self._batcher.inside_transaction

    def _check(self) -> None:
        """Raises what ended a lane or the reading."""
        if self._lanes.failure is not None:
            raise self._lanes.failure
        if self._feed.failure is not None and not self._feed.queued:
            raise self._feed.failure
        if self._copy.failure is not None and not self._copy.working:
            raise self._copy.failure
        self._line.check()

    def _take(self, arrival: Arrival) -> None:
        batcher = self._batcher
        events = arrival.events
        index = 0
        while (index := batcher.extend(events, index)) < len(events):
            event = events[index]
            if event.operation not in DOCUMENT_OPERATIONS:
                if self._structure.concerns(event):
                    self._settle()
                    self._structure.happened(event)
                batcher.passed(event.token)
                self._structure.noticed(event)
                self._resync()
                index += 1
            else:
                self._submit()
        if gone := self._tables.gone:
            # A server before 6.0 does not tell of a collection that is made.
            for event in [each for each in events if each.collection in gone]:
                self._structure.noticed(event)
        batcher.reply_used_up(arrival.token, settled=arrival.settled)
        if arrival.token is not None:
            self._reached = self._feed.position_of(arrival.token)
            self._settled = batcher.settled
        self._line.progress.heard(
            arrival.source_time,
            queued=self._feed.queued,
            idle=batcher.empty
            and batcher.settled
            and not self._feed.queued
            and self._lanes.settled,
        )

    # --- handing over -----------------------------------------------------------

    def _submit(self) -> None:
        """Hand the batch to the lanes, as soon as they are free."""
        pending = self._batcher.take()
        if pending is None:
            return
        if pending.cuts:
            log.warning(
                "a transaction of the source is larger than stream_batch_bytes; "
                "it is committed in parts"
            )
        if pending.joint or self._again:
            self._together(pending)
        else:
            self._await(lambda: self._lanes.free)
            self._lanes.submit(pending, self._feed.position_of(pending.token))

    def _together(self, pending: Pending) -> None:
        """Hand the batch to all lanes as one, as soon as everything before is done."""
        self._await(lambda: self._lanes.settled)
        again = bool(self._again)
        if self._line.source.order(pending.token) >= self._again:
            self._again = b""
        self._lanes.together(
            pending,
            self._feed.position_of(pending.token),
            again=again,
            moves=not self._again,
        )

    def _await(self, ready: Callable[[], bool]) -> None:
        """Wait for the lanes. Raises Stopped when they take too long for a stop."""
        waited = 0.0
        while True:
            with self._news:
                self._news.wait_for(
                    lambda: ready() or self._lanes.failure is not None, TURN_SECONDS
                )
            self._check()
            if ready():
                return
            self._line.progress.turn()
            waited = waited + TURN_SECONDS if self._line.stop.requested else 0.0
            if waited >= DRAIN_SECONDS:
                raise Stopped

    def _settle(self) -> None:
        """Commit everything that was taken, in every lane."""
        if not self._batcher.empty:
            self._submit()
        self._await(lambda: self._lanes.settled)

    def _level(self) -> Position | None:
        """Commit the place reached, and what was taken up to it, in every lane."""
        self._await(lambda: self._lanes.settled)
        pending = self._batcher.take()
        if pending is None and self._several and self._reached is not None:
            pending = Pending(self._reached.token, {}, 0, self._settled)
        if pending is not None:
            self._together(pending)
            self._await(lambda: self._lanes.settled)
        return self._reached

    def _drain(self) -> None:
        reached("sigterm_drain")
        if self._batcher.inside_transaction:
            self._await(lambda: self._lanes.settled)
        else:
            self._level()

    def _resync(self) -> None:
        """Begin the resyncs that are asked for, unless a transaction is open."""
        asked = self._line.asked
        if asked and not self._batcher.inside_transaction:
            self._settle()
            self._structure.resync(asked.take())

    def _rests(self) -> bool:
        """Is a place without events worth a commit, now and then?"""
        batcher = self._batcher
        return (
            batcher.empty
            and batcher.token is not None
            and self._lanes.settled
            and self._lanes.rested >= IDLE_SECONDS
        )

    def _ends(self) -> bool:
        """Is everything taken that there has to be? Several events can share one time,
        so only a settled place is behind them all.

        Asked anew whenever something was taken or committed: that may have begun a
        copy, and its end is then another one.
        """
        until = self._until() if self._until is not None else None
        at = self._reached
        if until is None or at is None or self._batcher.inside_transaction:
            return False
        if self._again and self._line.source.order(at.token) < self._again:
            return False
        return at.cluster_time > until or (self._settled and at.cluster_time == until)
