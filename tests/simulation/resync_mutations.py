"""Resyncs with one rule left out; see ``mutations``."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cartridge_warp.engine import chunkwork, prepare
from cartridge_warp.engine.chunkwork import _ChunkWork
from cartridge_warp.engine.stream import Stream
from cartridge_warp.engine.structure import Structure
from cartridge_warp.model import Table
from cwarp_core import KeyKindError, key_text

from . import chunkcopy
from .chunkcopy import SimulatedCopier
from .destination import SimulatedDestination
from .mutations import Patch, mutation
from .plan import Fault

# --- chunks -------------------------------------------------------------------------


@mutation()
def a_resync_removes_nothing(patch: Patch) -> None:
    patch.setattr(SimulatedCopier, "_remove", lambda *_: 0)


@mutation()
def a_resync_removes_beyond_its_chunk(patch: Patch) -> None:
    patch.setattr(chunkcopy, "_inside", lambda *_: lambda _: True)


@mutation()
def any_bound_divides_the_rows(patch: Patch) -> None:
    def divides(_: Any, table: Table, key: bytes) -> bool:
        try:
            key_text(key, table.key)
        except KeyKindError:
            return False
        return True

    patch.setattr(SimulatedDestination, "divides", divides)


@mutation()
def a_rewritten_key_still_suits_the_chunks(patch: Patch) -> None:
    patch.setattr(_ChunkWork, "_suits", lambda _: True)


@mutation()
def a_chunk_of_a_collection_that_is_gone_removes(patch: Patch) -> None:
    patch.setattr(chunkwork, "followable", lambda *_: True)


@mutation(misfits=True)
def a_resync_resolves_no_dead_letters(patch: Patch) -> None:
    replan = SimulatedDestination.replan

    def trusting(self: Any, table: Table, *given: Any) -> Any:
        chunks = replan(self, table, *given)
        self.store.tables[table.name].unseen = set()
        return chunks

    patch.setattr(SimulatedDestination, "replan", trusting)


# --- when a resync begins -----------------------------------------------------------


@mutation(
    operations=120,
    pause=0.05,
    slow=0.1,
    lag=0.0,
    faults=tuple(Fault(0.6 * number + 1.0, "resync") for number in range(8)),
)
def a_resync_does_not_wait_for_the_lanes(patch: Patch) -> None:
    def at_once(self: Any) -> None:
        asked = self._line.asked
        if asked and not self._batcher.inside_transaction:
            self._structure.resync(asked.take())

    patch.setattr(Stream, "_resync", at_once)


@mutation(
    anew=0.5,
    pause=0.3,
    operations=120,
    faults=tuple(Fault(2.0 * number + 3.0, "kill", seconds=0.5) for number in range(8)),
)
def the_new_position_is_stored_before_the_wish(patch: Patch) -> None:
    restart = SimulatedDestination.restart

    def apart(self: Any, position: Any, lanes: int) -> None:
        before = [(each, each.asked) for each in self.store.tables.values()]
        try:
            restart(self, position, lanes)
        finally:
            for stored, asked in before:
                stored.asked = asked
        self.gate.scheduler.sleep(5.0)
        for stored, _ in before:
            stored.asked = True

    patch.setattr(SimulatedDestination, "restart", apart)


@mutation(structure=True)
def a_collection_that_came_back_is_not_noticed(patch: Patch) -> None:
    patch.setattr(Structure, "noticed", lambda *_: None)


@mutation(structure=True)
def a_replaced_collection_is_not_noticed(patch: Patch) -> None:
    patch.setattr(Structure, "_renamed", lambda *_: None)


@mutation()
def what_was_left_is_followed_as_it_is(patch: Patch) -> None:
    why = prepare._resync_for

    def careless(state: Any, listed: Any) -> str:
        return why(replace(state, left=False), listed)

    patch.setattr(prepare, "_resync_for", careless)
