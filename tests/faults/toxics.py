"""What a network may do to a link: the eight toxics, and a cut at COMMIT.

One object serves every link of a proxy. ``begin`` runs beside a link as long as the
toxic is in force, ``forward`` carries the bytes, ``finish`` comes between the end of
one side and the end of the other.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from enum import Enum
from typing import Protocol


class Way(Enum):
    """The direction of bytes: UP to the server, DOWN to the client."""

    UP = "up"
    DOWN = "down"


class Link(Protocol):
    """What a toxic may do with one connection through the proxy."""

    #: Bytes were swallowed: the link is of no more use once the toxic is gone.
    lossy: bool
    #: What ``LimitData`` counts and ``CommitCut`` remembers.
    passed: int
    cut_at_reply: bool

    def obeys(self, toxic: Toxic) -> bool:
        """Is this toxic still in force?"""

    async def send(self, way: Way, data: bytes) -> None: ...

    async def pause(self, seconds: float) -> None:
        """Wait; less when the toxic changes."""

    def close(self) -> None:
        """End both sides as a program would."""

    def reset(self) -> None:
        """End both sides with RST, whatever is under way."""


class Toxic:
    """No harm at all; the others override what they need."""

    #: Whether a new connection is taken.
    admits = True

    async def begin(self, link: Link) -> None:
        return

    async def forward(self, link: Link, way: Way, data: bytes, commit: bool) -> None:
        await link.send(way, data)

    async def finish(self, link: Link) -> None:
        return


class Latency(Toxic):
    """Every piece waits, ``seconds`` plus at most ``jitter``."""

    def __init__(self, seconds: float, jitter: float = 0.0, seed: int = 0) -> None:
        self._seconds, self._jitter = seconds, jitter
        self._random = random.Random(seed)

    async def forward(self, link: Link, way: Way, data: bytes, commit: bool) -> None:
        await link.pause(self._seconds + self._jitter * self._random.random())
        await link.send(way, data)


class Down(Toxic):
    """Nobody is there: links end, new ones are refused."""

    admits = False

    async def begin(self, link: Link) -> None:
        link.close()


class Bandwidth(Toxic):
    """So many bytes a second on each way of each link."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._piece = max(1, rate // 20)

    async def forward(self, link: Link, way: Way, data: bytes, commit: bool) -> None:
        for at in range(0, len(data), self._piece):
            if not link.obeys(self):
                await link.send(way, data[at:])
                return
            piece = data[at : at + self._piece]
            await link.pause(len(piece) / self._rate)
            await link.send(way, piece)


class SlowClose(Toxic):
    """The end of one side reaches the other one later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def finish(self, link: Link) -> None:
        await link.pause(self._seconds)


class Timeout(Toxic):
    """Nothing passes, and after some seconds the link ends."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def begin(self, link: Link) -> None:
        await link.pause(self._seconds)
        link.close()

    async def forward(self, link: Link, way: Way, data: bytes, commit: bool) -> None:
        link.lossy = True


class ResetPeer(Toxic):
    """RST to both sides, some seconds after the link met the toxic."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    async def begin(self, link: Link) -> None:
        await link.pause(self._seconds)
        if link.obeys(self):
            link.reset()


class Slicer(Toxic):
    """Pieces of so many bytes, each sent for itself."""

    def __init__(self, size: int, seconds: float = 0.0) -> None:
        self._size, self._seconds = size, seconds

    async def forward(self, link: Link, way: Way, data: bytes, commit: bool) -> None:
        for at in range(0, len(data), self._size):
            if not link.obeys(self):
                await link.send(way, data[at:])
                return
            await link.send(way, data[at : at + self._size])
            await link.pause(self._seconds)


class LimitData(Toxic):
    """A link ends, in the middle of a message, once so many bytes went through it.

    limits: one for each link, the last one for all that follow.  way: the bytes that
    count.  reset: end it with RST.
    """

    def __init__(
        self, *limits: int, way: Way = Way.UP, reset: bool = False, times: int = 0
    ) -> None:
        self._limits = iter(limits)
        self._limit = 0
        self._way, self._reset = way, reset
        #: 0: no end. The toxic does nothing more after so many cuts.
        self._times = times
        self.cuts = 0

    async def begin(self, link: Link) -> None:
        self._limit = next(self._limits, self._limit)
        link.passed = -self._limit

    async def forward(self, link: Link, way: Way, data: bytes, commit: bool) -> None:
        spent = bool(self._times) and self.cuts >= self._times
        if way is not self._way or spent:
            await link.send(way, data)
            return
        room = -link.passed
        link.passed += len(data)
        await link.send(way, data[: max(0, room)])
        if len(data) >= room:
            self.cuts += 1
            (link.reset if self._reset else link.close)()


class Cut(Enum):
    """When a link ends that carries a COMMIT.

    BEFORE: the server never hears of it.  AFTER: the server has answered, the client
    never hears the answer.  RACING: at once after it was sent on, while the server may
    still be at it.
    """

    BEFORE = "before"
    AFTER = "after"
    RACING = "racing"


class CommitCut(Toxic):
    """Every ``every``-th COMMIT of all links together is cut, in the ways given."""

    def __init__(self, *cuts: Cut, every: int = 1, times: int = 0) -> None:
        self._cuts: Iterable[Cut] = cuts
        self._next = itertools.cycle(cuts)
        self._every = every
        #: 0: no end.
        self._times = times
        self.commits = 0
        self.cuts = 0

    async def forward(self, link: Link, way: Way, data: bytes, commit: bool) -> None:
        if way is Way.DOWN and link.cut_at_reply:
            link.reset()
            return
        if way is Way.DOWN or not commit or not self._due():
            await link.send(way, data)
            return
        self.cuts += 1
        cut = next(self._next)
        if cut is Cut.AFTER:
            link.cut_at_reply = True
        if cut is not Cut.BEFORE:
            await link.send(way, data)
        if cut is not Cut.AFTER:
            link.reset()

    def _due(self) -> bool:
        self.commits += 1
        spent = bool(self._times) and self.cuts >= self._times
        return not spent and self.commits % self._every == 0
