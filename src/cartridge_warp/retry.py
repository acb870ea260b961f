"""When to try again: exponential waits with jitter, and the loop that takes them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from .errors import WarpError

T = TypeVar("T")


class Backoff:
    """The waits between attempts, in seconds. Pure: its chance comes from ``rng``.

    The n-th wait lies between half of ``initial * factor ** n`` and all of it, and is
    never longer than ``maximum``. Half is kept so that many processes that lost one
    server spread out without any of them hammering it.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        initial: float = 0.1,
        factor: float = 2.0,
        maximum: float = 30.0,
    ) -> None:
        if initial <= 0 or factor < 1 or maximum < initial:
            raise ValueError("a backoff needs 0 < initial <= maximum and factor >= 1")
        self._rng = rng
        self._initial = initial
        self._factor = factor
        self._maximum = maximum
        self._next = initial

    def delay(self) -> float:
        """The next wait; each call makes the one after it longer."""
        full = self._next
        self._next = min(full * self._factor, self._maximum)
        return full * (0.5 + 0.5 * self._rng.random())

    def reset(self) -> None:
        """An attempt succeeded: begin again with the shortest wait."""
        self._next = self._initial


class Stopped(Exception):
    """The stop was asked for while waiting to try again."""


def retrying(
    call: Callable[[], T],
    *,
    backoff: Backoff,
    wait: Callable[[float], bool],
    failed: Callable[[WarpError], None],
) -> T:
    """Call until it succeeds, as long as its errors are ``retryable``.

    wait: sleeps so many seconds, True when the stop was asked for.  failed: told of
    every error that will be tried again.  There is no limit: what is retryable mends
    itself or needs a person, and giving up helps neither. Raises any other error of
    the call as it is, and Stopped from the last retryable one.
    """
    while True:
        try:
            result = call()
        except WarpError as error:
            if not error.retryable:
                raise
            failed(error)
            if wait(backoff.delay()):
                raise Stopped from error
        else:
            backoff.reset()
            return result
