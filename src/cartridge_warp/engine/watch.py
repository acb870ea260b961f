"""Figures that neither the copy nor the stream comes by: a look at both ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from ..errors import WarpError
from ..protocols import KnowsLetters, KnowsOldest
from .line import Line
from .runtime import Task

T = TypeVar("T")

log = logging.getLogger(__name__)

#: The figures are for a graph and an alert, and cost a query each.
LOOK_SECONDS = 15.0

#: Until the first position is stored there is nothing to look at.
START_SECONDS = 0.5

#: How long the end of the block waits for a look that is under way.
CLOSE_SECONDS = 2.0


class Watch:
    """Looks now and then while the block runs, in a thread of its own.

    It never fails: a figure that cannot be had is not known, and the work goes on.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._over = line.stop.child()
        self._tasks: list[Task] = []

    def __enter__(self) -> Self:
        self._tasks.append(self._line.start(self._look_on, "watch"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.request()
        for task in self._tasks:
            task.join(CLOSE_SECONDS)
        # What the closing summary tells is as of the end.
        if self._line.progress.position_time is not None:
            self._look()

    def _look_on(self) -> None:
        pause = START_SECONDS
        while not self._over.wait(pause):
            if self._line.progress.position_time is not None:
                self._look()
                pause = LOOK_SECONDS

    def _look(self) -> None:
        source, destination = self._line.source, self._line.destination
        self._line.progress.looked(
            _asked(source.oldest_time) if isinstance(source, KnowsOldest) else None,
            _asked(destination.pending_letters)
            if isinstance(destination, KnowsLetters)
            else None,
        )


def _asked(figure: Callable[[], T]) -> T | None:
    try:
        return figure()
    except WarpError as error:
        log.debug("a figure is not known: %s", error)
        return None
