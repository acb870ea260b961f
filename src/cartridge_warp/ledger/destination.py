"""A destination that keeps a ledger in the transactions of its rows."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from cwarp_core import BatchEncoder, EncodedBatch, Reject, key_text

from ..documents import key_of
from ..errors import DestinationError, RowsRefused, WarpError
from ..model import (
    Chunk,
    ChunkRange,
    Position,
    SchemaChange,
    SourceIdentity,
    Table,
    TableState,
)
from ..protocols import Applier, Copier
from ..rows import Row, encoder_of, rows_of
from .applier import LedgerApplier
from .book import Entry, Ledger
from .copier import LedgerCopier

#: Whatever a transaction works with: a connection, a cursor, a directory.
H = TypeVar("H")


class LedgerDestination(ABC, Generic[H]):
    """All of ``protocols.Destination`` but what depends on the store.

    A store's author gives ``look``, ``transaction``, ``create``, ``alter``, ``upsert``
    and ``delete``, which any thread may call, and which raise DestinationUnavailable
    where the same may succeed later, else DestinationError.

    schema: the name of the schema, for errors.
    """

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self._owner = uuid.uuid4().hex
        self._epoch = 0
        self._told: list[Exception] = []

    # --- the store's part -------------------------------------------------------

    @abstractmethod
    def look(self) -> Ledger:
        """The stored ledger; a new one where nothing is stored. Writes nothing."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[tuple[H, Ledger]]:
        """One transaction of the store, and the ledger in it.

        It is alone: another one waits for its end. At the end of the block the ledger
        is stored and all of it committed; an exception rolls all of it back.
        """

    @abstractmethod
    def create(self, store: H, table: Table) -> None:
        """Make the table. Raises PreconditionError where there is one already."""

    @abstractmethod
    def alter(self, store: H, table: Table, after: Table) -> None:
        """Make the table what ``after`` is: with columns that are new, and with another
        encoding of its keys if that is another. Raises LockTimeout, StructureRefused.
        """

    @abstractmethod
    def upsert(self, store: H, table: Table, batch: EncodedBatch) -> Sequence[Row]:
        """Write the rows, each in place of the one of its key, if there is one.

        Returns those that the store refuses: they are not there, and the transaction
        can go on.
        """

    @abstractmethod
    def delete(self, store: H, table: Table, keys: Sequence[str]) -> None:
        """Delete the rows with these key texts; one may be missing."""

    def clock(self) -> float:
        """Seconds, the same for every process that may own the schema."""
        return time.time()

    # --- life -------------------------------------------------------------------

    def validate(self) -> bool:
        return bool(self.look().positions)

    def open(self, identity: SourceIdentity) -> list[Position]:
        with self.transaction() as (_, ledger):
            epoch = ledger.take(identity, self._owner, self.clock())
        self._epoch = epoch
        return list(ledger.positions)

    def begin(self, position: Position, lanes: int) -> None:
        with self.transaction() as (_, ledger):
            ledger.begin(self.epoch, position, lanes)

    def beat(self) -> None:
        with self.transaction() as (_, ledger):
            ledger.beat(self.epoch, self.clock())

    def failed(self, error: Exception, table: Table | None = None) -> None:
        """Words that are not ours may hold a value of a document."""
        if not self._epoch or error in self._told or not isinstance(error, WarpError):
            return
        self._told.append(error)
        place = "" if table is None else f"{table.name}: "
        try:
            with self.transaction() as (_, ledger):
                ledger.fail(self.epoch, f"{place}{error}")
        except WarpError:
            return

    def close(self) -> None:
        epoch, self._epoch = self._epoch, 0
        if epoch:
            try:
                with self.transaction() as (_, ledger):
                    ledger.release(epoch)
            except WarpError:
                return

    @property
    def epoch(self) -> int:
        """That of this owner. Raises DestinationError before ``open``."""
        if not self._epoch:
            raise DestinationError(f"schema {self.schema} is not open")
        return self._epoch

    # --- structure --------------------------------------------------------------

    def tables(self) -> list[TableState]:
        return self.look().states()

    def ensure(self, table: Table) -> None:
        with self.transaction() as (store, ledger):
            if ledger.ensure(self.epoch, table):
                self.create(store, table)

    def evolve(self, table: Table, changes: Sequence[SchemaChange]) -> Table:
        if not changes:
            return table
        with self.transaction() as (store, ledger):
            after, new = ledger.evolve(self.epoch, table, changes)
            if new:
                self.alter(store, table, after)
                self._readmit(store, ledger.entry(after))
        return after

    def _readmit(self, store: H, entry: Entry) -> None:
        """Make rows of the letters whose ids the key holds now."""
        if not entry.waiting:
            return
        encoder = encoder_of(entry.table, keep=True)
        for letter in entry.waiting:
            encoder.add_document(letter.document, 0)
        entry.letters = [each for each in entry.letters if each.code != "key_kind"]
        self.bring(store, entry, entry.table, encoder.take(), careful=True)

    def leave(self, tables: Sequence[Table]) -> None:
        with self.transaction() as (_, ledger):
            ledger.leave(self.epoch, tables)

    def waiting_keys(self, table: Table) -> set[str]:
        return self.look().waiting_keys(table)

    def pending_letters(self) -> Mapping[str, int]:
        """See ``protocols.KnowsLetters``."""
        return self.look().letters()

    def plan(self, table: Table, ranges: Sequence[ChunkRange]) -> list[Chunk]:
        with self.transaction() as (_, ledger):
            return ledger.plan(self.epoch, table, ranges)

    # --- data -------------------------------------------------------------------

    def encoder(self, table: Table, *, keep: bool = False) -> BatchEncoder:
        return encoder_of(table, keep=keep)

    def copier(self) -> Copier:
        return LedgerCopier(self)

    def applier(self) -> Applier:
        return LedgerApplier(self)

    def bring(
        self,
        store: H,
        entry: Entry,
        table: Table,
        batch: EncodedBatch,
        *,
        careful: bool,
    ) -> list[Reject]:
        """Rows and dead letters of an encoded batch. Returns the rows that are refused.

        table: the version that the batch was encoded for. Under the key of a refused
        document there is no row afterwards: it would be an older state.
        """
        rows = self.upsert(store, table, batch)
        if rows and not careful:
            raise RowsRefused(f"{table.name}: {len(rows)} rows are refused")
        if entry.letters:
            entry.resolve({row.key for row in rows_of(batch, table)})
        self.delete(store, table, [row.key for row in rows])
        refused = [_refused(row) for row in rows]
        entry.reject([*batch.rejects, *refused])
        return refused


def _refused(row: Row) -> Reject:
    if row.document is None:
        raise DestinationError("a row came without its document")
    key = key_text(key_of(row.document), "canonical")
    return Reject(row.document, "refused", -1, key, -1)
