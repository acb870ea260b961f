"""A task that runs beside a block, and ends with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self

from .line import Line
from .runtime import Task

#: How long the end of the block waits for a call that is under way, in seconds.
CLOSE_SECONDS = 0.5


class Beside(ABC):
    """Runs ``work`` while the block does; ``over`` asks it to end."""

    name: ClassVar[str]

    def __init__(self, line: Line) -> None:
        self.line = line
        self.over = line.stop.child()
        self._tasks: list[Task] = []

    def __enter__(self) -> Self:
        self._tasks.append(self.line.start(self.work, self.name))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.request()
        for task in self._tasks:
            task.join(CLOSE_SECONDS)
        self.ended()

    @abstractmethod
    def work(self) -> None:
        """The task's whole life."""

    def ended(self) -> None:  # noqa: B027  most have nothing to add
        """The task has ended, or will not in time."""
