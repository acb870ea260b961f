"""A copy that several processes share, in the ledger of a destination."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..config.agreed import differing
from ..errors import ConfigError, Fenced, PreconditionError, Unowned, WarpError
from ..model import Chunk, SourceIdentity, Table
from .book import Ledger
from .copier import LedgerCopier
from .destination import LedgerDestination


class LedgerSharing:
    """See ``powers.Sharing``."""

    def __init__(self, destination: LedgerDestination[Any]) -> None:
        self._there = destination

    def asking(self) -> Sequence[str]:
        return self._there.look().asking()

    def admit(self) -> None:
        with self._there.transaction() as (_, ledger):
            ledger.admit(self._there.epoch)

    def release(self) -> Sequence[str]:
        there = self._there
        if not there.look().silent(there.clock()):
            return ()
        with there.transaction() as (_, ledger):
            ledger.check(there.epoch)
            silent = ledger.silent(there.clock())
            for name in silent:
                ledger.dismiss(name)
        return silent

    def standing(
        self,
        table: Table,
        chunks: Sequence[int],  # noqa: ARG002  the ledger is read whole
    ) -> Sequence[Chunk]:
        """All of the table's: that what was split off is among them."""
        entry = self._there.look().entry(table)
        return [each.chunk for each in entry.chunks]


class LedgerMember:
    """See ``protocols.Membership``."""

    def __init__(
        self,
        destination: LedgerDestination[Any],
        identity: SourceIdentity,
        terms: str,
        connections: int,
    ) -> None:
        self._there = destination
        self._name = uuid.uuid4().hex
        with destination.transaction() as (_, ledger):
            if not ledger.owned(destination.clock()):
                raise Unowned(f"no process owns schema {destination.schema} now")
            if ledger.source != identity.replica_set_id:
                raise PreconditionError(
                    f"schema {destination.schema} is copied from {ledger.source}, this "
                    f"source is {identity.replica_set_id}",
                    hint="connect the source that the owner copies",
                )
            if ledger.terms != terms:
                found = "; ".join(differing(terms, ledger.terms))
                raise ConfigError(
                    f"the owner of schema {destination.schema} has other settings: "
                    f"{found}",
                    hint="give cwarp worker what cwarp sync was given",
                )
            ledger.join(self._name, destination.clock())
            self._epoch = ledger.epoch
        self._copiers = [
            SharedLedgerCopier(destination, self._epoch, self._name)
            for _ in range(connections)
        ]

    def beat(self) -> None:
        with self._there.transaction() as (_, ledger):
            _check(ledger, self._epoch, self._name)
            ledger.workers[self._name].alive = self._there.clock()

    def admitted(self) -> bool:
        ledger = self._there.look()
        _check(ledger, self._epoch, self._name)
        return ledger.workers[self._name].admitted

    def copiers(self) -> Sequence[SharedLedgerCopier]:
        return self._copiers

    def left(self) -> int:
        return sum(
            each.chunk.state != "done"
            for entry in self._there.look().tables.values()
            if not entry.left
            for each in entry.chunks
        )

    def close(self) -> None:
        with suppress(WarpError), self._there.transaction() as (_, ledger):
            ledger.dismiss(self._name)


class SharedLedgerCopier(LedgerCopier[Any]):
    """See ``protocols.SharedCopier``. worker: its process."""

    def __init__(
        self, destination: LedgerDestination[Any], epoch: int, worker: str
    ) -> None:
        super().__init__(destination, epoch=epoch, worker=worker)
        self._worker = worker

    def take(self) -> tuple[Table, Chunk] | None:
        with self._there.transaction() as (_, ledger):
            _check(ledger, self._epoch, self._worker)
            if not ledger.workers[self._worker].admitted:
                raise Fenced("this worker is not admitted")
            return ledger.take_chunk(self._epoch, self._name)


def _check(ledger: Ledger, epoch: int, name: str) -> None:
    ledger.check(epoch)
    if name not in ledger.workers:
        raise Fenced("the owner has taken this worker for dead")
