"""Tables that are to be resynced as soon as the stream stands still."""

from __future__ import annotations

import threading

#: Why, where somebody asked the destination for it.
BY_SIGNAL = "asked for"


class Asked:
    """Collections, each with the reason. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def ask(self, collection: str, reason: str) -> None:
        """Resync the table of this collection.

        The first reason is kept; but a signal may have been obeyed already.
        """
        with self._lock:
            if self._reasons.get(collection, BY_SIGNAL) == BY_SIGNAL:
                self._reasons[collection] = reason

    def take(self) -> dict[str, str]:
        """All of them; none is left."""
        with self._lock:
            reasons, self._reasons = self._reasons, {}
            return reasons
