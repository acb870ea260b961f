"""Batches of the stream, in the transaction of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from cwarp_core import Reject

from ..model import Batch, TableChanges

if TYPE_CHECKING:
    from .book import Ledger
    from .destination import LedgerDestination

H = TypeVar("H")


class LedgerApplier(Generic[H]):
    """See ``protocols.Applier``."""

    def __init__(self, destination: LedgerDestination[H]) -> None:
        self._destination = destination
        self._epoch = destination.epoch

    def commit(self, batch: Batch) -> Mapping[str, Sequence[Reject]]:
        refused: dict[str, list[Reject]] = {}
        with self._destination.transaction() as (store, ledger):
            ledger.check(self._epoch)
            for changes in batch.tables:
                found = self._apply(store, ledger, changes, careful=batch.careful)
                if found:
                    refused[changes.table.name] = found
            ledger.move(batch.lanes, batch.position)
        return refused

    def _apply(
        self, store: H, ledger: Ledger, changes: TableChanges, *, careful: bool
    ) -> list[Reject]:
        """One table's part. Deletes come first: a row may take what another had."""
        there, table = self._destination, changes.table
        entry = ledger.hold(self._epoch, table)
        there.delete(store, table, changes.deletes)
        entry.resolve(changes.deletes, changes.unheld)
        refused: list[Reject] = []
        for part in changes.upserts:
            refused += there.bring(store, entry, table, part, careful=careful)
        there.delete(store, table, changes.stale)
        return refused

    def close(self) -> None:
        """There is no connection to end."""
