"""Lets other processes help with the copies, and takes up what they leave."""

from __future__ import annotations

import logging

from ..errors import WarpError
from .beside import Beside
from .copy import Copy
from .line import Line

log = logging.getLogger(__name__)

#: Whoever wants to help a copy waits about so long, in seconds; so does the end of one
#: that another process has ended. Where nothing is copied there is no haste.
LOOK_SECONDS = 0.5
IDLE_SECONDS = 2.0


class Helpers(Beside):
    """Looks while the block runs. A destination that is away is the others' trouble."""

    name = "helpers"

    def __init__(self, line: Line, copy: Copy) -> None:
        super().__init__(line)
        self._copy = copy

    def work(self) -> None:
        # Who was there before the copy helps from its beginning.
        copy, pause = self._copy, 0.0
        while copy.sharing is not None and not self.over.wait(pause):
            copying = copy.working or copy.waiting
            pause = LOOK_SECONDS if copying else IDLE_SECONDS
            try:
                self._look()
            except WarpError as error:
                log.debug("no look at the workers could be had: %s", error)

    def _look(self) -> None:
        copy, sharing = self._copy, self._copy.sharing
        assert sharing is not None
        if asking := sharing.asking():
            # First: from its admission on it may claim what is taken for pending here.
            copy.share()
            sharing.admit()
            log.info("a worker has joined", extra={"workers": asking})
        for label in sharing.release():
            log.warning(
                "a worker has fallen silent; what it was copying is copied again",
                extra={"worker": label},
            )
        copy.look()
