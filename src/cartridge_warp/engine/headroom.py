"""Whether a pause of the sync may cost the history that it needs. Pure."""

from __future__ import annotations

import math

from ..model import ClusterTime
from .views import Phase, SchemaView

#: The same warning is given again after so many seconds.
_AGAIN_SECONDS = 600.0

#: With less of the source's history than this before it, a position is near the end.
_LEAST_PART = 0.1

_COPYING = (Phase.COPYING, Phase.RESYNCING)


class Headroom:
    """Judges one view of a schema after the other."""

    def __init__(self) -> None:
        self._first: ClusterTime | None = None
        self._copied: tuple[float, int] | None = None
        self._told = -math.inf

    def judge(self, view: SchemaView, now: float) -> str:
        """What to warn of, or "". now: seconds, as of the view.

        A history that has lost nothing yet has room left, nobody knows how much.
        """
        left = self._left(view, now)
        oldest, newest = view.oldest_time, view.source_time
        if oldest is None or newest is None or view.position_time is None:
            return ""
        if self._first is None:
            self._first = oldest
        if oldest <= self._first or now - self._told < _AGAIN_SECONDS:
            return ""
        reach = (newest >> 32) - (oldest >> 32)
        ahead = (view.position_time >> 32) - (oldest >> 32)
        if ahead < reach * _LEAST_PART:
            warning = (
                f"the source will soon forget what comes next: its history reaches "
                f"back {reach} s, and the position is only {ahead} s from its end"
            )
        elif left is not None and left > reach:
            warning = (
                f"the copy takes about {left:.0f} s more, and the source's history "
                f"reaches back {reach} s: a pause of the sync that is longer loses it"
            )
        else:
            return ""
        self._told = now
        return warning

    def _left(self, view: SchemaView, now: float) -> float | None:
        """For how many seconds more something is copied, as fast as of late."""
        copying = [each for each in view.tables if each.phase in _COPYING]
        copied = sum(each.counts.copied for each in view.tables)
        before, self._copied = self._copied, (now, copied)
        if before is None or not copying or copied <= before[1]:
            return None
        rate = (copied - before[1]) / (now - before[0])
        return sum(max(each.expected - each.copied, 0) for each in copying) / rate
