"""The change stream's reader: one task that reads ahead, within bounds."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

from cwarp_core import ChangeEvent, CorruptBSON, Reply, parse_events

from ..errors import SourceError, WarpError
from ..killpoint import reached
from ..model import ClusterTime, Position
from ..protocols import Changes
from ..retry import Stopped
from .line import Line
from .runtime import Condition, Task

#: A reply waiting is read ahead; more would only be memory.
MAX_REPLIES = 4
MAX_BYTES = 64 << 20

#: A reply with events, and with fewer bytes, is of a source that is followed closely.
#: Asked again at once it would give the next event alone; asked when these are
#: committed, it gives all that happened meanwhile, for the cost of one.
SMALL_REPLY = 64 << 10

#: How long a reading waits for news, in seconds: of a stream without an end, and of one
#: that ends at some time, which it only learns of with a reply.
PATIENCE = 1.0
HURRY = 0.1

#: How long ``close`` waits for a read that is under way.
CLOSE_SECONDS = 1.0


class Arrival(Struct, frozen=True):
    """One reply of the stream.

    token: of the place behind it, None where the source gives none.  settled: the
    source had nothing more to give up to there.  source_time: the source's clock when
    it replied.
    """

    events: Sequence[ChangeEvent]
    token: bytes | None
    settled: bool
    source_time: ClusterTime
    nbytes: int


class Feed:
    """Replies of the change stream after ``position``, in order, each event once.

    Lives through every outage of the source: it reopens the stream after the last
    reply it read. news: notified with every arrival.  patience: see ``Changes.read``.
    Use as a context manager.
    """

    def __init__(
        self, line: Line, position: Position, news: Condition, patience: float
    ) -> None:
        self.failure: Exception | None = None
        self._line = line
        self._after = position
        self._news = news
        self._patience = patience
        self._changes: Changes | None = None
        self._decode: Callable[[bytes], Position]
        self._repeated = b""
        self._first = True
        self._arrivals: collections.deque[Arrival] = collections.deque()
        self._nbytes = 0
        self._held = False
        self._stop = line.stop.child()
        self._tasks: list[Task] = []

    def __enter__(self) -> Self:
        self._tasks.append(self._line.start(self._read_all, "reader"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.request()
        with self._news:
            self._news.notify_all()
        for task in self._tasks:
            task.join(CLOSE_SECONDS)

    @property
    def queued(self) -> int:
        """Replies read and not yet taken."""
        return len(self._arrivals)

    def take(self) -> Arrival | None:
        """The next reply, if one waits. Inside ``news``."""
        if not self._arrivals:
            return None
        arrival = self._arrivals.popleft()
        self._nbytes -= arrival.nbytes
        self._news.notify_all()
        return arrival

    @property
    def held(self) -> bool:
        """Nothing more is read before ``release``, for a while. Inside ``news``."""
        return self._held

    def release(self) -> None:
        """What was taken is done: read on. Inside ``news``."""
        self._held = False
        self._news.notify_all()

    def position_of(self, token: bytes) -> Position:
        """The position of a token that came with one of the replies."""
        return self._decode(token)

    def _read_all(self) -> None:
        try:
            while not self._stop.requested:
                reply = self._line.retry(self._read, wait=self._stop.wait)
                reached("batch_received")
                arrival = self._arrival(reply)
                reached("mid_decode")
                if not self._put(arrival):
                    return
        except Stopped:
            pass
        except Exception as error:
            with self._news:
                self.failure = error
                self._news.notify_all()
        finally:
            self._close_changes()

    def _read(self) -> Reply:
        self._first = self._changes is None
        if self._changes is None:
            changes = self._line.source.changes(self._after)
            self._changes, self._decode = changes, changes.position_of
            self._repeated = self._line.source.order(self._after.token)
            reached("stream_open")
        try:
            reply = self._changes.read(self._patience)
        except BaseException:
            self._close_changes()
            raise
        token = reply.post_batch_resume_token
        if token is not None and not self._repeats(token):
            self._after = self._decode(token)
        return reply

    def _repeats(self, token: bytes) -> bool:
        """Does a stream opened by time stand before the place it was opened for?"""
        return bool(self._repeated) and (
            self._line.source.order(token) < self._repeated
        )

    def _arrival(self, reply: Reply) -> Arrival:
        try:
            events = parse_events(reply)
        except CorruptBSON as error:
            raise SourceError(
                f"a change event cannot be read: {error}",
                hint="the stream cannot pass it; run `cwarp sync` with a new schema to "
                "copy again, and report this",
            ) from error
        token = reply.post_batch_resume_token
        if token is not None and self._repeats(token):
            # Nothing of it is new, and its place would be a step back.
            return Arrival((), None, False, reply.operation_time, reply.nbytes)
        return Arrival(
            self._new(events) if self._repeated else events,
            token,
            # A place other than the last event's lies behind everything there was; the
            # first reply may tell of none because nothing was looked at yet.
            token != events[-1].token if events else not self._first,
            reply.operation_time,
            reply.nbytes,
        )

    def _new(self, events: list[ChangeEvent]) -> list[ChangeEvent]:
        """Without those that a stream opened by time repeats; they come first."""
        for index, event in enumerate(events):
            if self._line.source.order(event.token) > self._repeated:
                self._repeated = b""
                return events[index:]
        return []

    def _put(self, arrival: Arrival) -> bool:
        """Queue a reply as soon as there is room; False when nobody wants it."""
        with self._news:
            self._news.wait_for(
                lambda: (
                    self._stop.requested
                    or not self._arrivals
                    or (
                        len(self._arrivals) < MAX_REPLIES
                        and self._nbytes + arrival.nbytes <= MAX_BYTES
                    )
                )
            )
            if self._stop.requested:
                return False
            self._arrivals.append(arrival)
            self._nbytes += arrival.nbytes
            self._held = bool(arrival.events) and arrival.nbytes < SMALL_REPLY
            self._news.notify_all()
            # Not for ever: the source is to be heard of while a lane hangs.
            self._news.wait_for(
                lambda: self._stop.requested or not self._held, self._patience
            )
            return not self._stop.requested

    def _close_changes(self) -> None:
        changes, self._changes = self._changes, None
        if changes is not None:
            with contextlib.suppress(WarpError):
                changes.close()
