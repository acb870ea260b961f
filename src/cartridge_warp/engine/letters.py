"""Documents that became dead letters are never silent: the log says so."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable

from cwarp_core import Reject

log = logging.getLogger(__name__)

#: At once for the first of each table and reason, then one line a minute.
_PAUSE_SECONDS = 60.0


class LetterLog:
    """Any thread. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[tuple[str, str], float] = {}
        self._unsaid: Counter[tuple[str, str]] = Counter()

    def committed(self, table: str, rejects: Iterable[Reject]) -> None:
        """These rejects of a table are dead letters now."""
        now = self._clock()
        said: list[tuple[str, int]] = []
        with self._lock:
            for reason, number in Counter(each.code for each in rejects).items():
                place = table, reason
                self._unsaid[place] += number
                if now >= self._due.get(place, -math.inf):
                    self._due[place] = now + _PAUSE_SECONDS
                    said.append((reason, self._unsaid.pop(place)))
        for reason, number in said:
            log.warning(
                "documents became dead letters, not rows",
                extra={
                    "table": table,
                    "reason": reason,
                    "documents": number,
                    "hint": "they are kept whole in dead_letter_queue, in the metadata "
                    "schema",
                },
            )
