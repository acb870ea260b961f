"""The wish to stop: made by a signal or by the code, waited for by every loop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

#: What the process returns when a second Ctrl-C does not let it drain.
INTERRUPTED = 130


class StopSignal:
    """Asked once, never taken back: commit what is complete, then end."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        self._event.set()

    def wait(self, timeout: float) -> bool:
        """Sleep ``timeout`` seconds, or less: True as soon as the stop is asked for."""
        return self._event.wait(timeout)

    @contextlib.contextmanager
    def install(self) -> Iterator[StopSignal]:
        """Within the block SIGTERM and SIGINT ask for the stop.

        A second SIGINT ends the process at once with ``INTERRUPTED``: a person who
        presses Ctrl-C twice wants out, and what is not committed will be done again.
        Only the main thread may call this.
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
