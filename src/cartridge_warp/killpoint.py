"""Named places where a test may kill the process, as ``kill -9`` would.

``CWARP_TEST_KILL=point:nth`` with ``CWARP_TEST=1`` kills at the nth time the point is
reached, counting from 1. Without the first variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping

from .errors import ConfigError

#: Every point there is, in the order a document meets them.
POINTS = frozenset(
    """
    marker_read stream_open batch_received mid_decode tx_begin mid_copy copy_done
    merge_done marker_updated commit_sent commit_ok dlq_row dlq_done ddl_before
    ddl_after chunk_commit handover resync_sweep sigterm_drain
    """.split()
)


class KillSwitch:
    """Counts how often its point is reached. ``environ`` is read once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.point: str | None = None
        self.remaining = 0
        self._lock = threading.Lock()
        if wish := environ.get("CWARP_TEST_KILL"):
            self.point, self.remaining = _parse(wish, environ)

    def due(self, point: str) -> bool:
        """Is this the moment? True once, at the nth time the point is reached."""
        if point not in POINTS:
            raise ValueError(f"no kill point is called {point!r}")
        if point != self.point:
            return False
        with self._lock:
            self.remaining -= 1
            return self.remaining == 0


def _parse(wish: str, environ: Mapping[str, str]) -> tuple[str, int]:
    if environ.get("CWARP_TEST") != "1":
        raise ConfigError(
            "CWARP_TEST_KILL is set outside a test",
            hint="unset CWARP_TEST_KILL; only tests set it, together with CWARP_TEST=1",
        )
    point, _, nth = wish.partition(":")
    if point not in POINTS or not nth.isdecimal() or int(nth) < 1:
        raise ConfigError(
            f"CWARP_TEST_KILL={wish}: not a point and a number from 1",
            hint=f"points: {', '.join(sorted(POINTS))}",
        )
    return point, int(nth)


_armed: KillSwitch | None = None
_arming = threading.Lock()


def reached(point: str) -> None:
    """Die here if a test asked for it.

    Raises ConfigError when the request is wrong or was not made by a test.
    """
    global _armed
    if _armed is None:
        with _arming:
            _armed = _armed or KillSwitch(os.environ)
    if _armed.due(point):
        os.kill(os.getpid(), signal.SIGKILL)
