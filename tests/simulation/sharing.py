"""``powers.Sharing`` and ``protocols.Membership`` over the store."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from cartridge_warp.errors import Fenced
from cartridge_warp.model import Chunk, Table

from .chunkcopy import SimulatedCopier, public
from .store import StoredChunk

if TYPE_CHECKING:
    from .destination import SimulatedDestination

#: Seconds without a sign of life after which a worker is taken for dead.
SILENT = 6.0


class StoredWorker(Struct, eq=False):
    """A connection that helps the owner of an epoch."""

    number: int
    epoch: int
    destination: SimulatedDestination
    alive_at: float
    admitted: bool = False

    def __deepcopy__(self, _: object) -> StoredWorker:
        """Its process is not the store's."""
        return copy.copy(self)


class SimulatedSharing:
    """The owner's side. It may be that it cannot end a dead worker's transactions."""

    def __init__(self, destination: SimulatedDestination) -> None:
        self._there = destination

    def _workers(self) -> list[StoredWorker]:
        there = self._there
        found = there.store.workers.values()
        return [each for each in found if each.epoch == there.epoch]

    def asking(self) -> Sequence[str]:
        self._there.gate.before("asking")
        self._there.check_history()
        found = [each for each in self._workers() if not each.admitted]
        return sorted({each.destination.name for each in found})

    def admit(self) -> None:
        there = self._there
        there.gate.before("admit")
        there.check_owner()
        for each in self._workers():
            each.admitted = True
        there.gate.after("admit")

    def release(self) -> Sequence[str]:
        there = self._there
        there.gate.before("release")
        there.check_history()
        now = there.gate.scheduler.now
        silent = [each for each in self._workers() if now - each.alive_at >= SILENT]
        if silent:
            there.check_owner()
        for each in silent:
            if there.gate.chance(0.5):
                there.store.disconnect(each.destination)
            remove(there, [each.number])
        there.gate.after("release")
        return sorted({each.destination.name for each in silent})

    def standing(self, table: Table, chunks: Sequence[int]) -> Sequence[Chunk]:
        there = self._there
        there.gate.before("standing")
        there.check_history()
        stored = there.store.tables.get(table.name)
        known = {} if stored is None else stored.chunks
        groups = {known[each].ordinal for each in chunks if each in known}
        found = [public(each) for each in known.values() if each.ordinal in groups]
        there.gate.after("standing")
        return found


def remove(there: SimulatedDestination, numbers: Sequence[int]) -> None:
    for number in numbers:
        there.store.workers.pop(number, None)
        for stored in there.store.tables.values():
            for chunk in stored.chunks.values():
                if chunk.worker == number and chunk.state == "copying":
                    give_up(chunk)


def give_up(chunk: StoredChunk) -> None:
    """Nobody has it, and the owner will."""
    chunk.state, chunk.claim, chunk.worker, chunk.kept = "pending", None, 0, True


class SimulatedMember:
    """A process that helps."""

    def __init__(self, destination: SimulatedDestination, connections: int) -> None:
        self._there = destination
        store, now = destination.store, destination.gate.scheduler.now
        self._numbers: list[int] = []
        for _ in range(connections):
            number = next(store.worker_ids)
            self._numbers.append(number)
            store.workers[number] = StoredWorker(
                number, destination.epoch, destination, now
            )
        self._copiers = [SharedCopier(destination, each) for each in self._numbers]

    def beat(self) -> None:
        there = self._there
        there.gate.before("beat of a worker")
        there.check_history()
        for number in self._numbers:
            found = there.store.workers.get(number)
            if found is None:
                raise Fenced("taken for dead")
            found.alive_at = there.gate.scheduler.now
        there.gate.after("beat of a worker")

    def admitted(self) -> bool:
        there = self._there
        there.gate.before("admitted")
        there.check_owner()
        found = [there.store.workers.get(each) for each in self._numbers]
        return all(each is not None and each.admitted for each in found)

    def copiers(self) -> Sequence[SharedCopier]:
        return self._copiers

    def left(self) -> int:
        there = self._there
        there.gate.before("left")
        there.check_history()
        return sum(
            chunk.state != "done" and not chunk.resync
            for stored in there.store.tables.values()
            if stored.planned and not (stored.left or stored.gone)
            for chunk in stored.chunks.values()
        )

    def close(self) -> None:
        there = self._there
        there.gate.touch("member.close")
        for each in self._copiers:
            each.close()
        if there.history == there.store.history:
            remove(there, self._numbers)


class SharedCopier(SimulatedCopier):
    """See ``protocols.SharedCopier``."""

    def __init__(self, destination: SimulatedDestination, number: int) -> None:
        super().__init__(destination)
        self._number = number

    def take(self) -> tuple[Table, Chunk] | None:
        there = self._destination
        there.gate.before("take")
        self._check_member()
        if not self._unanswered:
            self._hand_back()
        if self._claimed is None:
            found = [
                (stored, chunk)
                for stored in there.store.tables.values()
                if stored.planned and not (stored.left or stored.gone)
                for chunk in stored.chunks.values()
                if chunk.state == "pending"
                and not (chunk.resync or chunk.kept or chunk.range.whole)
            ]
            if not found:
                return None
            stored, chunk = found[0]
            self._claims(stored, chunk)
            chunk.worker = self._number
        self._unanswered = True
        claimed, kept = self._claimed, self._stored
        assert claimed is not None
        assert kept is not None
        table = kept.table
        there.gate.after(f"take of chunk {claimed.chunk_id}")
        self._unanswered = False
        return table, public(claimed)

    def _check_member(self) -> None:
        self._destination.check_owner()
        found = self._destination.store.workers.get(self._number)
        if found is None or not found.admitted:
            raise Fenced("taken for dead")

    def _give_back(self, chunk: StoredChunk) -> None:
        give_up(chunk)
