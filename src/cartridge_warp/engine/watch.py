"""Figures that neither the copy nor the stream comes by: a look at both ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from ..errors import WarpError
from ..protocols import KnowsLetters, KnowsOldest
from .beside import Beside
from .headroom import Headroom
from .line import Line

T = TypeVar("T")

log = logging.getLogger(__name__)

#: The figures are for a graph and an alert, and cost a query each.
LOOK_SECONDS = 15.0

#: The first look is an early one.
START_SECONDS = 0.5

#: How long the end waits for the last look, whose server may be away.
LAST_SECONDS = 1.0


class Watch(Beside):
    """Looks now and then while the block runs.

    It never fails: a figure that cannot be had is not known, and the work goes on.
    """

    name = "watch"

    def __init__(self, line: Line) -> None:
        super().__init__(line)
        self._headroom = Headroom()

    def ended(self) -> None:
        # What the closing summary tells is as of the end, unless that takes too long.
        self.line.start(self._look, "last-look").join(LAST_SECONDS)

    def work(self) -> None:
        pause = START_SECONDS
        while not self.over.wait(pause):
            self._look()
            pause = LOOK_SECONDS

    def _look(self) -> None:
        source, destination = self.line.source, self.line.destination
        self.line.progress.looked(
            _asked(source.oldest_time) if isinstance(source, KnowsOldest) else None,
            _asked(destination.pending_letters)
            if isinstance(destination, KnowsLetters)
            else None,
        )
        view = self.line.progress.now()
        if warning := self._headroom.judge(view, self.line.clock()):
            log.warning(
                warning,
                extra={
                    "hint": "make the oplog longer (replSetResizeOplog, "
                    "minRetentionHours)"
                },
            )


def _asked(figure: Callable[[], T]) -> T | None:
    try:
        return figure()
    except WarpError as error:
        log.debug("a figure is not known: %s", error)
        return None
