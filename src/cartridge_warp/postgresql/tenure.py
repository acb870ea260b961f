"""What an owner knows about its schema for as long as it owns it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from msgspec import Struct

from cwarp_core import Reject

from ..model import Batch
from .journal import Journal

#: What has a marker: a lane by its number, a table of batch mode by its name.
Marked = int | str


class Doubt(Struct, frozen=True, eq=False):
    """A batch whose COMMIT had no answer, and the rows it had refused."""

    batch: Batch
    refused: Mapping[str, Sequence[Reject]]


class Tenure:
    """One epoch of one schema, shared by its appliers and copiers. Any thread.

    meta: the metadata schema's name.  letters: tables that may have pending dead
    letters; a table is added before its first one can be seen, and never removed.
    timeline: of the server, see ``metadata.history``.  files: see ``structure.hold``;
    of each table the one whose columns were found to be as they should.
    """

    def __init__(
        self,
        meta: str,
        schema: str,
        epoch: int,
        letters: set[str],
        timeline: str | None = None,
    ) -> None:
        self.meta = meta
        self.schema = schema
        self.epoch = epoch
        self.letters = letters
        self.timeline = timeline
        self.journal = Journal()
        self.files: dict[str, int | None] = {}
        self._lock = threading.Lock()
        self._slots: set[int] = set()
        self._seqs: dict[Marked, int] = {}
        self._doubts: list[Doubt] = []

    # --- markers ----------------------------------------------------------------

    def set_lanes(self, seqs: Mapping[int, int]) -> None:
        """These are the lanes, each with the ``seq`` its marker has."""
        with self._lock:
            for lane in [each for each in self._seqs if isinstance(each, int)]:
                del self._seqs[lane]
            for lane, seq in seqs.items():
                self._seqs[lane] = seq
            self._doubts = [each for each in self._doubts if not each.batch.lanes]

    def set_table(self, table: str, seq: int) -> None:
        """This table is of batch mode, with the ``seq`` that its marker has."""
        with self._lock:
            self._seqs[table] = seq

    def seq(self, marked: Marked) -> int | None:
        """What its marker must stand at; None when there is no such one."""
        with self._lock:
            return self._seqs.get(marked)

    def moved(self, marked: Sequence[Marked]) -> None:
        """A batch of these was committed."""
        with self._lock:
            self._move(marked)

    def doubt(self, doubt: Doubt) -> None:
        """Was this committed? It has to be known before its markers move again."""
        with self._lock:
            self._doubts.append(doubt)

    def doubts(self, marked: Sequence[Marked]) -> list[Doubt]:
        """What is open about any of these."""
        with self._lock:
            return [
                each
                for each in self._doubts
                if not set(marked).isdisjoint(each.batch.markers)
            ]

    def settled(self, doubt: Doubt, *, committed: bool) -> None:
        """Its outcome is known now."""
        with self._lock:
            self._doubts.remove(doubt)
            if committed:
                self._move(doubt.batch.markers)

    def _move(self, marked: Sequence[Marked]) -> None:
        for each in marked:
            self._seqs[each] += 1

    # --- copiers ----------------------------------------------------------------

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
