"""What every part of one schema's sync works with: both ends, the record, the stop."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from .. import logs
from ..config import ErrorSettings, SchemaSettings
from ..errors import WarpError
from ..protocols import Destination, Source
from ..retry import Backoff, retrying
from .letters import LetterLog
from .progress import SchemaProgress, end_of
from .signals import StopSignal

T = TypeVar("T")

log = logging.getLogger(__name__)


class Line:
    """One schema's way from its source to its destination.

    structure: held around every call of the destination that changes structure, since
    these come one at a time.  letters: is told of every dead letter once it is
    committed.  clock: monotonic seconds.
    """

    def __init__(
        self,
        source: Source,
        destination: Destination,
        schema: SchemaSettings,
        progress: SchemaProgress,
        stop: StopSignal,
        *,
        errors: ErrorSettings | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self.destination = destination
        self.schema = schema
        self.progress = progress
        self.stop = stop
        self.clock = clock
        self.structure = threading.Lock()
        self.letters = LetterLog(clock)
        self._errors = errors or ErrorSettings()
        self._rng = rng or random.Random()

    def retry(
        self, call: Callable[[], T], *, wait: Callable[[float], bool] | None = None
    ) -> T:
        """Call until it succeeds or fails for good; trouble is counted and logged.

        wait: as ``retry.retrying`` has it; by default the wait ends with the stop.
        Raises Stopped when the stop came before the success.
        """
        trouble: list[WarpError] = []

        def failed(error: WarpError) -> None:
            trouble.append(error)
            self.trouble(error)

        result = retrying(
            call, backoff=self.backoff(), wait=wait or self.stop.wait, failed=failed
        )
        for error in trouble:
            self.progress.connected(True, end_of(error))
        return result

    def trouble(self, error: WarpError) -> None:
        """Something failed and will be tried again."""
        self.progress.retrying(error)
        log.warning("trying again: %s", error, extra={"hint": error.hint})

    def backoff(self) -> Backoff:
        """The waits of one series of attempts."""
        return Backoff(
            self._rng,
            factor=self._errors.backoff_factor,
            maximum=self._errors.max_backoff_seconds,
        )

    def thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        """A thread, not yet started, whose log lines carry the schema's name.

        It does not keep a process alive: what it has not committed is done again.
        """

        def run() -> None:
            with logs.context(schema=self.schema.name):
                target()

        return threading.Thread(
            target=run, name=f"{self.schema.name}-{name}", daemon=True
        )
