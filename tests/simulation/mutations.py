"""Engines with one rule left out, each of which some seed must find.

A simulation that cannot fail proves nothing. Every mutation is the smallest change of
the one place where the rule is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from msgspec import Struct

from cartridge_warp.engine import part
from cartridge_warp.engine.batcher import Batcher
from cartridge_warp.engine.chunks import ChunkMap, ChunkState
from cartridge_warp.engine.copy import Copy
from cartridge_warp.engine.copyworker import CopyWorker
from cartridge_warp.engine.feed import Feed
from cartridge_warp.engine.lanes import Lanes, _Lane
from cartridge_warp.engine.part import Slice
from cartridge_warp.engine.shape import Shape
from cartridge_warp.engine.stream import Stream
from cartridge_warp.engine.tables import Tables
from cartridge_warp.model import Chunk
from cwarp_core import ChangeEvent

from .chunkcopy import SimulatedCopier
from .destination import SimulatedDestination
from .plan import Fault

Patch = pytest.MonkeyPatch

Make = Callable[[Patch], None]


class Mutation(Struct, frozen=True):
    """make: leaves the rule out.  focus: settings under which it is needed often."""

    make: Make
    focus: dict[str, Any] = {}


MUTATIONS: dict[str, Mutation] = {}

#: Rules that are kept twice: leaving out one of the two is not missed.
SECOND_LOCKS: dict[str, Mutation] = {}

#: Owners of two processes that freeze in the middle of a copy, and wake up when another
#: has taken it over.
FROZEN: dict[str, Any] = {
    "processes": 2,
    "helpers": 0,
    "initial": 30,
    "slow": 0.1,
    "faults": (Fault(0.2, "freeze", 0, 8.0), Fault(10.0, "freeze", 1, 8.0)),
}

#: A standby is promoted that lacks what was committed in the end of a copy.
PROMOTED: dict[str, Any] = {
    "initial": 30,
    "pause": 0.5,
    "slow": 0.1,
    "faults": (Fault(1.5, "promote", seconds=1.0),),
}

#: The destination is away when a copy ends, and the stream has nothing to commit.
AWAY_AT_THE_END: dict[str, Any] = {
    **{"initial": 20, "operations": 1, "pause": 8.0, "slow": 0.0, "once": False},
    **{"source_noise": 0.0, "destination_noise": 0.0, "unknown": 0.0, "locks": 0.0},
    "faults": (Fault(0.4, "destination", seconds=0.5),),
}


def mutation(
    *, among: dict[str, Mutation] = MUTATIONS, **focus: Any
) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        among[make.__name__] = Mutation(make, focus)
        return make

    return keep


# --- the hand-over between copy and stream ------------------------------------------


@mutation()
def no_wait_for_a_chunk_being_copied(patch: Patch) -> None:
    def wanted(self: Copy, chunks: ChunkMap, event: ChangeEvent) -> bool:
        return chunks.at(event.key or b"").state != ChunkState.PENDING

    patch.setattr(Copy, "_wanted", wanted)


@mutation(among=SECOND_LOCKS, **FROZEN)
def no_check_of_a_chunks_owner(patch: Patch) -> None:
    patch.setattr(SimulatedCopier, "_check_owner", lambda *_: None)


@mutation(among=SECOND_LOCKS, **FROZEN)
def no_check_of_a_chunks_claim(patch: Patch) -> None:
    """One process hands a chunk on only when it has ended its own work on it."""
    patch.setattr(SimulatedCopier, "_check_claim", lambda *_: None)


@mutation(**FROZEN)
def no_check_of_a_chunks_owner_and_claim(patch: Patch) -> None:
    no_check_of_a_chunks_owner(patch)
    no_check_of_a_chunks_claim(patch)


@mutation(**PROMOTED)
def no_check_of_the_history(patch: Patch) -> None:
    """Epoch and ``seq`` are what is left of the fence."""
    patch.setattr(SimulatedDestination, "check_history", lambda _: None)


@mutation(**AWAY_AT_THE_END)
def a_copy_ends_without_a_look_at_both_ends(patch: Patch) -> None:
    """What it failed at last stays the last that is known of an end."""
    patch.setattr(CopyWorker, "confirm", lambda _: None)


@mutation(operations=120, pause=0.1, initial=30, lag=0.0, faults=())
def copying_is_told_after_the_read_began(patch: Patch) -> None:
    chunk_of = CopyWorker._chunk

    def late(self: CopyWorker, shape: Shape, chunk: Chunk) -> None:
        source: Any = self._line.source
        began = type(source).newest_time(source)
        source._gate.scheduler.sleep(0.5)
        source.newest_time = lambda: began
        chunk_of(self, shape, chunk)

    patch.setattr(CopyWorker, "_chunk", late)


@mutation()
def state_is_read_before_the_event_came(patch: Patch) -> None:
    sift = Copy.sift

    def stale(
        self: Any, collection: str, events: Iterable[ChangeEvent]
    ) -> list[ChangeEvent]:
        seen = self.__dict__.setdefault("stale", {})
        before: ChunkMap | None = seen.get(collection)
        now = self._maps.get(collection)
        seen[collection] = now and ChunkMap(list(now._by_id.values()))
        return [
            event
            for event in sift(self, collection, events)
            if before is None
            or event.key is None
            or before.at(event.key).state != ChunkState.PENDING
        ]

    patch.setattr(Copy, "sift", stale)


@mutation()
def no_dropping_of_a_pending_chunks_events(patch: Patch) -> None:
    wanted = Copy._wanted

    def kept(self: Copy, chunks: ChunkMap, event: ChangeEvent) -> bool:
        pending = chunks.at(event.key or b"").state == ChunkState.PENDING
        return pending or wanted(self, chunks, event)

    patch.setattr(Copy, "_wanted", kept)


@mutation()
def a_copied_table_is_forgotten_at_once(patch: Patch) -> None:
    """Its rows may be newer than the events that still come."""
    patch.setattr(Copy, "concerns", lambda *_: False)
    patch.setattr(Shape, "read", lambda *_: None)


# --- rows never go back -------------------------------------------------------------


@mutation()
def a_replace_is_taken_as_it_came(patch: Patch) -> None:
    patch.setattr(Slice, "_is_newest", lambda self, _: not self.overlaps)


@mutation()
def a_look_up_may_be_older_than_the_last(patch: Patch) -> None:
    lookup = part._lookup

    def careless(line: Any, shape: Any, *rest: Any) -> Any:
        until, shape.read_until = shape.read_until, 0
        try:
            yield from lookup(line, shape, *rest)
        finally:
            shape.read_until = until

    patch.setattr(part, "_lookup", careless)


@mutation()
def rows_are_marked_before_there_are_columns(patch: Patch) -> None:
    patch.setattr(Tables, "_able_to_delete", lambda _, table: table)


@mutation()
def a_strategy_is_that_of_the_first_start(patch: Patch) -> None:
    patch.setattr(Tables, "_as_set", lambda _, table: table)


@mutation(once=True, structure=True, expanded=True, initial=0, pause=0.3)
def the_end_is_asked_for_before_the_last_is_taken(patch: Patch) -> None:
    """What is taken may begin a copy, which `once` has to wait for."""
    turn = Stream._turn

    def early(self: Any) -> Any:
        asked = self._until
        end = asked()
        self._until = lambda: end
        try:
            return turn(self)
        finally:
            self._until = asked

    patch.setattr(Stream, "_turn", early)


# --- positions, lanes, transactions -------------------------------------------------


@mutation()
def a_batch_passes_one_of_all_lanes(patch: Patch) -> None:
    patch.setattr(
        Lanes, "free", property(lambda self: all(lane.free for lane in self._lanes))
    )


@mutation()
def an_event_belongs_to_any_lane(patch: Patch) -> None:
    split_one = Lanes._split_one

    def anywhere(self: Any, changes: Any) -> Any:
        self.turn = getattr(self, "turn", 0) + 1
        number = len(self._lanes)
        return {
            (lane + self.turn) % number: mine
            for lane, mine in split_one(self, changes).items()
        }

    patch.setattr(Lanes, "_split_one", anywhere)


@mutation()
def what_lanes_did_apart_is_not_done_again(patch: Patch) -> None:
    made = Stream.__init__

    def init(self: Any, *given: Any) -> None:
        made(self, *given)
        self._again = b""

    patch.setattr(Stream, "__init__", init)


@mutation(transactions=0.0, source_noise=0.0)
def what_is_done_again_is_taken_as_it_came(patch: Patch) -> None:
    together = Lanes.together

    def once(self: Any, *given: Any, again: bool, moves: bool) -> None:
        together(self, *given, again=False, moves=moves)

    patch.setattr(Lanes, "together", once)


@mutation()
def a_restart_begins_at_the_newest_marker(patch: Patch) -> None:
    opened = SimulatedDestination.open

    def newest(self: Any, identity: Any) -> Any:
        positions = opened(self, identity)
        last = max(positions, key=lambda each: each.cluster_time, default=None)
        return [last] * len(positions)

    patch.setattr(SimulatedDestination, "open", newest)


@mutation(by_time=1.0, transactions=0.6, source_noise=0.05)
def repeated_events_move_the_position(patch: Patch) -> None:
    patch.setattr(Feed, "_repeats", lambda *_: False)


@mutation()
def a_transaction_may_be_cut(patch: Patch) -> None:
    patch.setattr(Batcher, "inside_transaction", property(lambda _: False))


@mutation()
def a_transaction_of_several_lanes_is_not_joint(patch: Patch) -> None:
    transact = Batcher._transact

    def apart(self: Any, event: ChangeEvent, *, begins: bool) -> None:
        transact(self, event, begins=True)

    patch.setattr(Batcher, "_transact", apart)


@mutation()
def the_first_event_of_a_key_wins(patch: Patch) -> None:
    split = Lanes._split

    def first(self: Any, collections: Any) -> Any:
        for changes in collections.values():
            changes.last = dict(reversed(changes.last.items()))
            for identity, event in list(changes.last.items()):
                if event.operation == "delete":
                    del changes.last[identity]
        return split(self, collections)

    patch.setattr(Lanes, "_split", first)


# --- waiting ------------------------------------------------------------------------


@mutation()
def a_lane_never_settles(patch: Patch) -> None:
    """No wrong row: the run must be found to stand still."""
    patch.setattr(_Lane, "settled", property(lambda _: False))
