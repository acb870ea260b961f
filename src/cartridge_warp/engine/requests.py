"""Looks now and then for what somebody asks of the owner."""

from __future__ import annotations

import logging

from ..errors import WarpError
from .asked import BY_SIGNAL
from .beside import Beside
from .line import Line
from .tables import Tables

log = logging.getLogger(__name__)

#: Whoever asks waits about so long, in seconds.
LOOK_SECONDS = 2.0


class Requests(Beside):
    """Looks while the block runs. A destination that is away is the others' trouble."""

    name = "requests"

    def __init__(self, line: Line, tables: Tables) -> None:
        super().__init__(line)
        self._tables = tables

    def work(self) -> None:
        resyncs = self.line.resyncs
        while resyncs is not None and not self.over.wait(LOOK_SECONDS):
            try:
                asked = resyncs.asked()
            except WarpError as error:
                log.debug("no request could be read: %s", error)
                continue
            for name in asked:
                # One that this run does not follow waits for a run that does.
                if (shape := self._tables.named(name)) is not None:
                    self.line.asked.ask(shape.collection, BY_SIGNAL)
