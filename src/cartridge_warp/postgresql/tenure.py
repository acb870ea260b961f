"""What an owner knows about its schema for as long as it owns it."""

from __future__ import annotations

import threading

from .journal import Journal


class Tenure:
    """One epoch of one schema, shared by the stream and its copiers. Any thread.

    meta: the metadata schema's name.  letters: tables that may have pending dead
    letters; a table is added before its first one can be seen, and never removed.
    """

    def __init__(self, meta: str, schema: str, epoch: int, letters: set[str]) -> None:
        self.meta = meta
        self.schema = schema
        self.epoch = epoch
        self.letters = letters
        self.journal = Journal()
        self._lock = threading.Lock()
        self._slots: set[int] = set()

    def take_slot(self) -> int:
        """The lowest free copier number.

        A chunk that a copier could not hand back waits under its number, and the next
        copier that takes it claims that chunk first.
        """
        with self._lock:
            slot = next(n for n in range(len(self._slots) + 1) if n not in self._slots)
            self._slots.add(slot)
            return slot

    def free_slot(self, slot: int) -> None:
        """Give a number back. Safe to call twice."""
        with self._lock:
            self._slots.discard(slot)
