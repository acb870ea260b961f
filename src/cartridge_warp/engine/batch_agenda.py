"""When the passes of batch mode begin. Pure: the caller tells the time.

Times are seconds since 1970.
"""

from __future__ import annotations

import math
from datetime import datetime

from cronsim import CronSim
from msgspec import Struct

from ..config import TableSettings, zone


class Timetable(Struct, frozen=True):
    """The passes of one table: by a cron text in a time zone, or ``interval`` seconds
    after each other where that is empty."""

    cron: str = ""
    timezone: str = "UTC"
    interval: float = 5.0

    @classmethod
    def of(cls, settings: TableSettings, timezone: str) -> Timetable:
        return cls(settings.schedule, timezone, settings.polling_interval_seconds)

    def due(self, ended: float) -> float:
        """When the pass after one that ended then begins; at once where none did.

        Times that came while that one ran, or while nobody was there, are one.
        """
        if not ended:
            return 0.0
        if not self.cron:
            return ended + self.interval
        local = datetime.fromtimestamp(ended, zone(self.timezone))
        return next(CronSim(self.cron, local)).timestamp()


class Agenda:
    """What is due when, by name. The caller guards it."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def set(self, name: str, due: float) -> None:
        self._due[name] = due

    def take(self, now: float) -> str | None:
        """The name that has been due for longest, and is not on the agenda any more."""
        name = min(self._due, key=lambda each: self._due[each], default=None)
        if name is None or self._due[name] > now:
            return None
        del self._due[name]
        return name

    def wait(self, now: float) -> float:
        """Seconds until something is due; infinite when nothing ever is."""
        return max(min(self._due.values(), default=math.inf) - now, 0.0)
