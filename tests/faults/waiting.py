"""Waiting for what a test needs to be so."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

#: For what has no promise of its own. Long, because machines are slow at times.
PATIENCE = 90.0


def wait_until(
    done: Callable[[], bool],
    what: str | Callable[[], str],
    seconds: float = PATIENCE,
    pause: float = 0.1,
) -> None:
    """Ask until it is so; fail the test when it never is.

    what: a call of it tells what was there at the end of the patience.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            pytest.fail(f"not within {seconds:.0f} s: {told}")
        time.sleep(pause)
