"""The wish to stop: made by a signal or by the code, waited for by every loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from .runtime import Runtime, Threads

#: What the process returns when a second Ctrl-C does not let it drain.
INTERRUPTED = 130


class StopSignal:
    """Asked once, never taken back: commit what is complete, then end.

    runtime: where its waiters wait.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        self._runtime = runtime or Threads()
        self._changed = self._runtime.condition()
        self._children: list[StopSignal] = []
        self._requested = False

    @property
    def requested(self) -> bool:
        return self._requested

    def request(self) -> None:
        with self._changed:
            self._requested = True
            self._changed.notify_all()
            children = list(self._children)
        for child in children:
            child.request()

    def wait(self, timeout: float) -> bool:
        """Sleep ``timeout`` seconds, or less: True as soon as the stop is asked for."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._requested, timeout))

    def child(self) -> StopSignal:
        """A signal for a part of the work: asked for with this one, or by itself."""
        child = StopSignal(self._runtime)
        with self._changed:
            self._children.append(child)
            child._requested = self._requested
        return child

    @contextlib.contextmanager
    def install(self) -> Iterator[StopSignal]:
        """Within the block SIGTERM and SIGINT ask for the stop.

        A second SIGINT ends the process at once with ``INTERRUPTED``: a person who
        presses Ctrl-C twice wants out, and what is not committed will be done again.
        Only the main thread may call this, and it must not wait for the signal inside
        the block: a handler would wait for its own thread's lock.
        """

        def handle(signum: int, _frame: FrameType | None) -> None:
            if signum == signal.SIGINT and self.requested:
                os._exit(INTERRUPTED)
            self.request()

        wanted = (signal.SIGTERM, signal.SIGINT)
        before = {each: signal.signal(each, handle) for each in wanted}
        try:
            yield self
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
