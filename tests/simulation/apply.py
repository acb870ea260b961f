"""``protocols.Applier`` over the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cartridge_warp.errors import RowsRefused
from cartridge_warp.model import Batch
from cwarp_core import Reject

from .store import StoredTable
from .tablerows import Broken, Row, sifted

if TYPE_CHECKING:
    from .destination import SimulatedDestination

Refused = dict[str, list[Reject]]


class SimulatedApplier:
    """One connection. doubt: the batch whose COMMIT got no answer, and what it did."""

    def __init__(self, destination: SimulatedDestination) -> None:
        self.cut = False
        self.process = self._destination = destination
        self._doubt: tuple[Batch, Refused | None] | None = None

    def prepare(self, batch: Batch) -> None:
        """Whatever it does may take time."""
        self._destination.gate.touch("applier.prepare")

    def commit(self, batch: Batch) -> Mapping[str, Sequence[Reject]]:
        there = self._destination
        there.transaction("applier.commit")
        there.check_owner()
        if self._doubt is not None:
            former, outcome = self._doubt
            self._doubt = None
            if outcome is not None:
                if former is not batch:
                    raise Broken("another batch follows one whose outcome is unknown")
                return outcome
        try:
            for changes in batch.tables:
                there.hold(self, changes.table)
            there.gate.before(f"applier.commit of {len(batch.tables)} tables")
            if self.cut:
                self.cut = False
                raise there.unreachable("applier.commit")
            there.check_owner()
            there.check_seqs(batch.lanes)
            return self._commit(batch)
        finally:
            there.release(self)

    def _commit(self, batch: Batch) -> Refused:
        there = self._destination
        work: list[tuple[StoredTable, list[tuple[str, Row]], list[Reject]]] = []
        refused: Refused = {}
        for changes in batch.tables:
            stored = there.store.tables[changes.table.name]
            rows: list[tuple[str, Row]] = []
            rejects: list[Reject] = []
            for upsert in changes.upserts:
                good, bad = sifted(upsert, changes.table)
                rows += good
                rejects += [*upsert.rejects, *bad]
                if bad:
                    refused.setdefault(changes.table.name, []).extend(bad)
            both = {text for text, _ in rows} & set(changes.deletes)
            if both or len({text for text, _ in rows}) != len(rows):
                raise Broken(f"a key comes twice in one batch: {both}")
            work.append((stored, rows, rejects))
        if refused and not batch.careful:
            raise RowsRefused("a row is refused")
        lost = there.lost("the batch's COMMIT")
        if lost and there.gate.chance(0.5):
            self._doubt = batch, None
            raise there.unreachable("applier.commit")
        self._apply(batch, work)
        if lost:
            self._doubt = batch, refused
            raise there.unreachable("applier.commit")
        return refused

    def _apply(
        self,
        batch: Batch,
        work: list[tuple[StoredTable, list[tuple[str, Row]], list[Reject]]],
    ) -> None:
        there = self._destination
        store = there.store
        for changes, (stored, rows, rejects) in zip(batch.tables, work, strict=True):
            strategy = there.strategy(stored.table)
            if changes.table.options.deletion_strategy != strategy:
                raise Broken(f"{changes.table.name} is not set to {strategy} deletes")
            for text, time in zip(changes.deletes, changes.delete_times, strict=True):
                store.check_deleted(stored.table, text, time)
                store.delete(stored, text, strategy)
            for canonical in changes.unheld:
                stored.resolve(canonical)
            for text, row in rows:
                store.upsert(stored, text, row, "stream")
            for text in changes.stale:
                store.delete(stored, text, strategy)
            stored.reject(rejects)
            stored.counters.events += changes.events
            store.counted += changes.events
        lane_of = there.lane_of(len(store.markers))
        store.move(batch.lanes, batch.position, lane_of, there.selects)
        there.moved(batch.lanes)
        store.commits += 1
        there.gate.scheduler.note(
            f"COMMIT lanes {batch.lanes} to "
            f"{'-' if batch.position is None else store.told(batch.position)}: "
            + ", ".join(
                f"{stored.table.name} +{[(t, r.version) for t, r in rows]} "
                f"-{list(changes.deletes)} !{len(rejects)}"
                for changes, (stored, rows, rejects) in zip(
                    batch.tables, work, strict=True
                )
            )
        )

    def close(self) -> None:
        self._destination.gate.touch("applier.close")
