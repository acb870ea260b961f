"""Rules of a copy that several processes share, each left out. See ``mutations``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cartridge_warp.engine.copy import Copy
from cartridge_warp.engine.helpers import Helpers
from cartridge_warp.engine.worker import _Help
from cartridge_warp.model import Chunk, Table

from .chunkcopy import SimulatedCopier
from .mutations import SECOND_LOCKS, Patch, mutation
from .plan import Fault, Launch
from .sharing import SharedCopier, SimulatedMember, SimulatedSharing

LAUNCH = Launch(
    workers=1, lanes=1, first=1, batch_size=3, batch_bytes=1 << 24, deletion="hard"
)
#: A long copy with many writes, most of it done by others.
SHARED: dict[str, Any] = {
    "helpers": 3,
    "initial": 60,
    "slow": 0.1,
    "writers": 2,
    "pause": 0.1,
    "operations": 120,
    "anew": 0.0,
    "structure": False,
    "launches": (LAUNCH,) * 3,
    "faults": (),
    "source_noise": 0.0,
    "destination_noise": 0.0,
}

#: Those that help freeze in the middle of it, for longer than they may be silent.
FROZEN: dict[str, Any] = {
    **SHARED,
    "faults": (
        Fault(1.5, "freeze", 0, 12.0, helper=True),
        Fault(2.5, "freeze", 1, 12.0, helper=True),
    ),
}

#: They are killed, one after the other, and never started again.
KILLED: dict[str, Any] = {
    **SHARED,
    "faults": tuple(
        Fault(1.0 + number, "kill", number, 1e6, helper=True) for number in range(3)
    ),
}


def slowly(patch: Patch, among: type[SimulatedCopier] = SharedCopier) -> None:
    """No rule: between a read and its commit there is time for events."""
    begin = SimulatedCopier.begin

    def late(self: Any, *given: Any, **more: Any) -> None:
        self._destination.gate.scheduler.sleep(1.0)
        begin(self, *given, **more)

    patch.setattr(among, "begin", late)


@mutation(**SHARED)
def what_is_known_of_a_chunk_is_enough(patch: Patch) -> None:
    """Another process has claimed it since."""
    patch.setattr(Copy, "share", lambda _: None)


@mutation(**SHARED)
def states_are_those_of_the_last_look(patch: Patch) -> None:
    """From before the events came, and not asked for again."""
    slowly(patch)
    init, sifted = Copy.__init__, Copy._sifted

    def made(self: Any, *given: Any, **more: Any) -> None:
        init(self, *given, **more)
        self.fresh = {}

    def stale(
        self: Any, collection: str, rest: Any, kept: Any, fresh: dict[int, Chunk]
    ) -> Any:
        pending = {
            number: chunk
            for number, chunk in self.fresh.items()
            if chunk.state == "pending"
        }
        result = sifted(self, collection, rest, kept, {**pending, **fresh})
        self.fresh |= fresh
        return result

    patch.setattr(Copy, "__init__", made)
    patch.setattr(Copy, "_sifted", stale)


@mutation(**SHARED)
def a_chunk_that_another_copies_is_not_waited_for(patch: Patch) -> None:
    slowly(patch)
    standing = SimulatedSharing.standing

    def sees(
        self: SimulatedSharing, table: Table, chunks: Sequence[int]
    ) -> Sequence[Chunk]:
        return [
            Chunk(each.chunk_id, each.range) if each.state == "copying" else each
            for each in standing(self, table, chunks)
        ]

    patch.setattr(SimulatedSharing, "standing", sees)


@mutation(**SHARED)
def a_worker_may_claim_before_the_owner_knows(patch: Patch) -> None:
    patch.setattr(SimulatedSharing, "asking", lambda _: ())
    patch.setattr(SimulatedMember, "admitted", lambda _: True)
    patch.setattr(SharedCopier, "_check_member", lambda _: None)


@mutation(**SHARED)
def whoever_asks_is_admitted_before_the_owner_asks_again(patch: Patch) -> None:
    look = Helpers._look

    def late(self: Any) -> None:
        if self._copy.sharing.asking() and not self._copy.shared:
            self._copy.sharing.admit()
            self.over.wait(3.0)
        look(self)
        self._copy.share()

    patch.setattr(Helpers, "_look", late)


@mutation(**SHARED | {"lag": 0.0, "slow": 0.0, "writers": 3, "sticky": 0.0})
def a_worker_takes_its_read_time_before_its_claim(patch: Patch) -> None:
    slowly(patch, SimulatedCopier)
    take, chunk_of = SharedCopier.take, _Help._chunk

    def late(self: Any) -> Any:
        there = self._destination
        self.began = there.store.world.newest
        there.gate.scheduler.sleep(1.5)
        return take(self)

    def early(self: Any, copier: Any, *rest: Any) -> None:
        self._line.source.newest_time = lambda: copier.began
        chunk_of(self, copier, *rest)

    patch.setattr(SharedCopier, "take", late)
    patch.setattr(_Help, "_chunk", early)


@mutation(**FROZEN)
def a_worker_taken_for_dead_may_commit(patch: Patch) -> None:
    patch.setattr(SharedCopier, "_check_claim", lambda *_: None)


@mutation(**KILLED)
def nobody_looks_for_dead_workers(patch: Patch) -> None:
    """No wrong row: a chunk is never copied."""
    patch.setattr(SimulatedSharing, "release", lambda _: ())


@mutation(**FROZEN)
def what_a_worker_gave_up_is_nobodys(patch: Patch) -> None:
    patch.setattr(Copy, "_reopen", lambda *_: None)


@mutation(**SHARED | {"once": True, "slow": 0.0, "writers": 3, "processes": 1})
def a_copy_ends_before_that_of_others(patch: Patch) -> None:
    slowly(patch)
    patch.setattr(Copy, "waiting", property(lambda _: False))


@mutation(
    among=SECOND_LOCKS,
    **SHARED
    | {
        "processes": 2,
        "faults": (Fault(1.5, "freeze", 0, 12.0), Fault(4.0, "freeze", 1, 12.0)),
    },
)
def a_workers_epoch_is_not_compared(patch: Patch) -> None:
    """Its claim is enough: a new owner takes it away."""
    patch.setattr(SharedCopier, "_check_owner", lambda *_: None)
