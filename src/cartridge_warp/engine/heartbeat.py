"""Signs of life of the owner, so that whoever waits to take over knows to wait."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from ..errors import Fenced, WarpError
from .line import Line
from .runtime import Task

log = logging.getLogger(__name__)

#: A third of the time after which the owner is taken for dead.
BEAT_SECONDS = 2.0

#: How long the end of the block waits for a beat that is under way.
_CLOSE_SECONDS = 2.0


class Heartbeat:
    """Beats while the block runs, in a task of its own.

    A destination that cannot be reached is the others' trouble; another owner ends the
    line, even where it has nothing to commit.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._over = line.stop.child()
        self._tasks: list[Task] = []

    def __enter__(self) -> Self:
        self._tasks.append(self._line.start(self._beat_on, "heartbeat"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.request()
        for task in self._tasks:
            task.join(_CLOSE_SECONDS)

    def _beat_on(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                self._line.destination.beat()
            except Fenced as error:
                self._line.fatal = error
                return
            except WarpError as error:
                log.debug("no sign of life could be given: %s", error)
