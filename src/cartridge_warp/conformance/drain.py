"""A destination that throws every row away: what the rest of a sync can do at most.

It keeps the whole contract but for the rows: positions, chunks, structure and dead
letters are in a ledger, one small file for each schema, which several processes share.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cwarp_core import EncodedBatch

from ..config import DestinationSettings, SchemaSettings
from ..config.agreed import agreed
from ..errors import ConfigError, DestinationError, PreconditionError
from ..ledger import Ledger, LedgerDestination
from ..ledger.sharing import LedgerMember, LedgerSharing
from ..model import SourceIdentity, Table
from ..rows import Row

_SCHEME: Final = "drain://"


class Drain(LedgerDestination[None]):
    """``connection_string: drain:///DIRECTORY``; the directory has to exist."""

    def __init__(self, settings: DestinationSettings, schema: SchemaSettings) -> None:
        super().__init__(schema.name)
        self._terms = agreed(schema)
        uri = settings.connection_string
        self._directory = Path(uri.removeprefix(_SCHEME))
        if not uri.startswith(_SCHEME) or not self._directory.is_absolute():
            raise ConfigError(
                "must be drain:// and the absolute path of a directory",
                hint="write drain:///tmp/DIRECTORY",
                setting="destination.connection_string",
            )
        self._file = self._directory / f"{schema.name.replace('/', '_')}.ledger"

    def look(self) -> Ledger:
        if not self._directory.is_dir():
            raise PreconditionError(
                f"the drain's directory {self._directory} is not there",
                hint="make it, or name another one",
            )
        try:
            return Ledger.of(self._file.read_bytes() if self._file.exists() else None)
        except OSError as error:
            raise _translated(error) from error

    @contextmanager
    def transaction(self) -> Iterator[tuple[None, Ledger]]:
        """Alone by a lock on a file beside the ledger, which is replaced whole."""
        try:
            lock = os.open(
                self._file.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600
            )
        except OSError as error:
            raise _translated(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ledger = self.look()
            yield None, ledger
            new = self._file.with_suffix(".new")
            new.write_bytes(ledger.stored)
            new.replace(self._file)
        finally:
            os.close(lock)

    # --- workers of other processes ---------------------------------------------

    def sharing(self) -> LedgerSharing:
        with self.transaction() as (_, ledger):
            ledger.check(self.epoch)
            ledger.terms = self._terms
        return LedgerSharing(self)

    def join(self, identity: SourceIdentity, connections: int) -> LedgerMember:
        return LedgerMember(self, identity, self._terms, connections)

    # --- rows, which nobody keeps -----------------------------------------------

    def create(self, store: None, table: Table) -> None:
        """There is nothing to make."""

    def alter(self, store: None, table: Table, after: Table) -> None:
        """There is nothing to change."""

    def upsert(self, store: None, table: Table, batch: EncodedBatch) -> Sequence[Row]:
        return ()

    def delete(self, store: None, table: Table, keys: Sequence[str]) -> None:
        """There is nothing to delete."""


def _translated(error: OSError) -> DestinationError:
    return DestinationError(f"the drain's ledger: {error}")
