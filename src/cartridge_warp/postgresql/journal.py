"""Which rescued values are worth a line in the error log now."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from cwarp_core import Drift

#: The first of each kind a run, then one a minute.
_PAUSE_SECONDS = 60.0

#: Paths come from documents: a bound on the lines of one batch, and on what is known.
_MAX_LINES = 20
_MAX_KNOWN = 10_000

_MESSAGE_CHARACTERS = 500


class Line(Struct, frozen=True):
    """One line: values of a kind that were kept in ``_cwarp_extra`` at a path."""

    table: str
    path: tuple[str, ...]
    kind: str
    count: int

    @property
    def message(self) -> str:
        text = (
            f"{self.count} value(s) of type {self.kind} at {'.'.join(self.path)} "
            "were kept in _cwarp_extra"
        )
        return text[:_MESSAGE_CHARACTERS]


class Journal:
    """Remembers what was logged when. Any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[tuple[str, tuple[str, ...], str], float] = {}

    def due(self, table: str, drift: Iterable[Drift]) -> list[Line]:
        """The lines to write with this batch; ``noted`` once they are committed."""
        counts: dict[tuple[tuple[str, ...], str], int] = {}
        for seen in drift:
            where = seen.path, seen.kind
            counts[where] = counts.get(where, 0) + seen.count
        now = self._clock()
        with self._lock:
            lines = [
                Line(table, path, kind, count)
                for (path, kind), count in counts.items()
                if now >= self._due.get((table, path, kind), -math.inf)
            ]
        return lines[:_MAX_LINES]

    def noted(self, lines: Iterable[Line]) -> None:
        """These lines were committed."""
        due = self._clock() + _PAUSE_SECONDS
        with self._lock:
            if len(self._due) > _MAX_KNOWN:
                self._due.clear()
            for line in lines:
                self._due[line.table, line.path, line.kind] = due
