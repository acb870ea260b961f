"""What every part of one schema's sync works with: both ends, the record, the stop."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from .. import logs
from ..config import ErrorSettings, SchemaSettings
from ..errors import WarpError
from ..powers import KnowsPassing, Resyncs
from ..protocols import Destination, Source
from ..retry import Backoff, retrying
from .asked import Asked
from .letters import LetterLog
from .names import Names
from .progress import SchemaProgress, end_of
from .runtime import Runtime, Task, Threads
from .signals import StopSignal

T = TypeVar("T")

log = logging.getLogger(__name__)


class Line:
    """One schema's way from its source to its destination.

    stop: asks this line alone to end; asked for with the process's.  structure: held
    around every call of the destination that changes structure, since these come one at
    a time.  letters: is told of every dead letter once it is committed.  fatal: why the
    line has to end, when a task beside its main one has seen that.  resyncs: the
    destination, if it can resync tables.  asked: those that it is to resync.  names: is
    told which collections there are.
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
        runtime: Runtime | None = None,
        names: Names | None = None,
    ) -> None:
        self.source = source
        self.destination = destination
        self.schema = schema
        self.progress = progress
        self.stop = stop.child()
        self.runtime = runtime or Threads()
        self.clock = self.runtime.clock
        self.structure = self.runtime.condition()
        self.letters = LetterLog(self.clock)
        self.fatal: Exception | None = None
        self.resyncs = destination if isinstance(destination, Resyncs) else None
        self.asked = Asked()
        self.names = names or Names()
        self._passing = source.passing if isinstance(source, KnowsPassing) else None
        self._process = stop
        self._errors = errors or ErrorSettings()
        self._rng = rng or random.Random()

    def renewed(self) -> Line:
        """The same ends and record for another attempt, after this one was ended."""
        return Line(
            *(self.source, self.destination, self.schema, self.progress, self._process),
            errors=self._errors,
            rng=self._rng,
            runtime=self.runtime,
            names=self.names,
        )

    def streams(self, collection: str) -> bool:
        """Is it followed by the stream? What the source makes for itself is not."""
        passing = self._passing is not None and self._passing(collection)
        return not passing and self.schema.streams(collection)

    def batches(self, collection: str) -> bool:
        """Is it read pass by pass? What the source makes for itself is not."""
        passing = self._passing is not None and self._passing(collection)
        return not passing and self.schema.batches(collection)

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

    def check(self) -> None:
        """Raises ``fatal``."""
        if self.fatal is not None:
            raise self.fatal

    def trouble(self, error: WarpError) -> None:
        """Something failed and will be tried again."""
        self.progress.retrying(error)
        extra = {"hint": error.hint} if error.hint else {}
        log.warning("trying again: %s", error, extra=extra)

    def backoff(self) -> Backoff:
        """The waits of one series of attempts."""
        return Backoff(
            self._rng,
            factor=self._errors.backoff_factor,
            maximum=self._errors.max_backoff_seconds,
        )

    def start(self, work: Callable[[], None], name: str) -> Task:
        """Start a task whose log lines carry the schema's name."""

        def run() -> None:
            with logs.context(schema=self.schema.name):
                work()

        return self.runtime.start(run, f"{self.schema.name}-{name}")
