"""Where the engine meets threads and clocks: everything that waits, waits here.

A seeded simulation puts a runtime of its own in the place of ``Threads`` and so drives
the very same engine, one step at a time, in whatever order it likes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol


class Condition(Protocol):
    """A lock that can be waited on, as ``threading.Condition`` has it."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any: ...

    def wait_for(
        self, predicate: Callable[[], object], timeout: float | None = None
    ) -> Any:
        """Let the lock go until the predicate holds, at most ``timeout`` seconds;
        the predicate's last value."""

    def notify_all(self) -> None: ...


class Task(Protocol):
    """Something that was started."""

    def join(self, timeout: float | None = None) -> None: ...


class Runtime(Protocol):
    """Starts tasks, makes what they wait on, and tells the time."""

    def start(self, work: Callable[[], None], name: str) -> Task: ...

    def condition(self) -> Condition: ...

    def clock(self) -> float:
        """Monotonic seconds."""

    def now(self) -> float:
        """Seconds since 1970, which may jump. For the times of day of batch mode."""


class Threads:
    """The runtime of a process: a thread a task."""

    def start(self, work: Callable[[], None], name: str) -> Task:
        # A daemon: what it has not committed when the process ends is done again.
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def condition(self) -> Condition:
        return threading.Condition()

    def clock(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()
