"""The way of every call to an end: it takes time, and it may fail."""

from __future__ import annotations

import random
from collections.abc import Callable

from cartridge_warp.errors import WarpError

from .scheduler import Killed, Owner, Scheduler


class Weather:
    """How things are for all processes. calm: no more faults by chance.

    away: until when an end cannot be reached.
    """

    def __init__(self) -> None:
        self.calm = False
        self.away: dict[str, float] = {"source": 0.0, "destination": 0.0}


class Gate:
    """One process's calls to one end. A switch point before and after each effect.

    noise: the chance that a call fails, before its effect or behind it.  slow: the
    chance that it takes up to three seconds.
    """

    def __init__(
        self,
        end: str,
        scheduler: Scheduler,
        owner: Owner,
        weather: Weather,
        rng: random.Random,
        error: Callable[[str], WarpError],
        *,
        noise: float,
        slow: float,
    ) -> None:
        self.rng = rng
        self.scheduler = scheduler
        self._end = end
        self._owner = owner
        self._weather = weather
        self._error = error
        self._noise = noise
        self._slow = slow

    def before(self, call: str) -> None:
        """Raises the end's "cannot be reached", or Killed."""
        self._pass(f"{call} ...", self._noise / 2)

    def after(self, call: str) -> None:
        """As ``before``; what the call was to do is done."""
        self._pass(f"... {call}", self._noise / 2)

    def chance(self, probability: float) -> bool:
        """Does a fault of this probability happen now?"""
        return not self._weather.calm and self.rng.random() < probability

    def touch(self, place: str) -> None:
        """A switch point, nothing else."""
        if self._owner.dead:
            raise Killed
        self.scheduler.switch(place)

    def _pass(self, place: str, noise: float) -> None:
        if self._owner.dead:
            raise Killed
        scheduler = self.scheduler
        scheduler.note(place)
        chance = self.rng.random()
        if chance < self._slow and not self._weather.calm:
            scheduler.sleep(3 * self.rng.random(), place)
        elif chance < 0.2:
            scheduler.sleep(0.05 * self.rng.random(), place)
        else:
            scheduler.switch(place)
        if scheduler.now < self._weather.away[self._end]:
            scheduler.sleep(0.2 * self.rng.random(), place)
            raise self._error(f"{place}: away")
        if self.chance(noise):
            scheduler.note(f"{place} fails")
            raise self._error(f"{place}: noise")
