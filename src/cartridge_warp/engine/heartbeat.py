"""Signs of life of the owner, so that whoever waits to take over knows to wait."""

from __future__ import annotations

import logging

from ..errors import Fenced, WarpError
from .beside import Beside

log = logging.getLogger(__name__)

#: A third of the time after which the owner is taken for dead.
BEAT_SECONDS = 2.0


class Heartbeat(Beside):
    """Beats while the block runs.

    A destination that cannot be reached is the others' trouble; another owner ends the
    line, even where it has nothing to commit.
    """

    name = "heartbeat"

    def work(self) -> None:
        while not self.over.wait(BEAT_SECONDS):
            try:
                self.line.destination.beat()
            except Fenced as error:
                self.line.fatal = error
                return
            except WarpError as error:
                log.debug("no sign of life could be given: %s", error)
