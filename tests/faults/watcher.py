"""Looks at every sync of a scene, once a second: is it green, how large is it?"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from syncing import Sync

_PAUSE = 1.0
_PATIENCE = 30.0

#: From when to when, in seconds since 1970.
Interval = tuple[float, float]


class Watcher:
    """Runs from ``start`` to ``stop`` in a thread of its own; again, too.

    syncs: the scene's list, to which others are added meanwhile.
    """

    def __init__(self, syncs: Sequence[Sync]) -> None:
        self._syncs = syncs
        self._lock = threading.Lock()
        self._green: dict[Sync, Interval] = {}
        self._former: list[Interval] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Does nothing when it watches already."""
        if self._thread is None:
            self._over.clear()
            self._thread = threading.Thread(target=self._watch, name="watcher")
            self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join(_PATIENCE)
            assert not self._thread.is_alive()
            self._thread = None

    def green(self) -> list[Interval]:
        """Every time in which a sync was ready whenever it was asked."""
        with self._lock:
            return [*self._former, *self._green.values()]

    def _watch(self) -> None:
        while not self._over.wait(_PAUSE):
            for sync in list(self._syncs):
                sync.look()
                self._note(sync, green=sync.runs() and sync.ready(seconds=2.0))

    def _note(self, sync: Sync, *, green: bool) -> None:
        now = time.time()
        with self._lock:
            before = self._green.pop(sync, None)
            if green:
                self._green[sync] = (before[0] if before else now, now)
            elif before:
                self._former.append(before)
