"""A destination: SQLite. Rows, dead letters, chunks and position in one transaction.

The table ``orders`` of the schema ``shop`` is ``"shop.orders"`` in SQLite. Booleans and
whole numbers are INTEGER, doubles REAL, binary BLOB, and all else is TEXT, so that no
digit is lost. What has to be remembered besides rows is in ``cwarp_ledger``.

    destination: {type: sqlite, connection_string: /var/data/warehouse.db}
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from msgspec import Struct

from cartridge_warp import errors
from cartridge_warp.config import DestinationSettings, SchemaSettings, options
from cartridge_warp.ledger import Ledger, LedgerDestination
from cartridge_warp.model import Table
from cartridge_warp.rows import KEY, Row, Value, cells_of, rows_of
from cwarp_core import EncodedBatch

TYPES = dict.fromkeys(("boolean", "integer", "bigint"), "INTEGER")
TYPES |= {"double precision": "REAL", "bytea": "BLOB"}


class Options(Struct):
    busy_seconds: float = 30.0  # to wait while somebody else writes


class SqliteDestination(LedgerDestination[Connection]):
    def __init__(self, settings: DestinationSettings, schema: SchemaSettings) -> None:
        super().__init__(schema.name)
        self._file = Path(settings.connection_string)
        self._wait = options(settings, Options).busy_seconds

    # --- the ledger -------------------------------------------------------------

    def look(self) -> Ledger:
        if not self._file.parent.is_dir():
            raise errors.PreconditionError(f"{self._file.parent} is not a directory")
        if not self._file.exists():
            return Ledger()
        with self._connected() as store:
            return self._ledger(store)

    @contextmanager
    def transaction(self) -> Iterator[tuple[Connection, Ledger]]:
        with self._connected() as store:  # closed without COMMIT, it rolls back
            store.execute("BEGIN IMMEDIATE")
            ledger = self._ledger(store)
            yield store, ledger
            store.execute(
                "CREATE TABLE IF NOT EXISTS cwarp_ledger (schema PRIMARY KEY, ledger)"
            )
            new = self.schema, ledger.stored
            store.execute("INSERT OR REPLACE INTO cwarp_ledger VALUES (?, ?)", new)
            store.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            store = sqlite3.connect(self._file, self._wait, isolation_level=None)
            with closing(store):
                yield store
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
                raise errors.DestinationUnavailable(f"SQLite: {error}") from error
            raise errors.DestinationError(f"SQLite: {error}") from error

    def _ledger(self, store: Connection) -> Ledger:
        if store.execute("PRAGMA table_info(cwarp_ledger)").fetchone() is None:
            return Ledger()
        query = "SELECT ledger FROM cwarp_ledger WHERE schema = ?"
        row = store.execute(query, (self.schema,)).fetchone()
        return Ledger.of(row[0] if row else None)

    # --- tables and rows --------------------------------------------------------

    def create(self, store: Connection, table: Table) -> None:
        cells = ", ".join(definitions(table))
        try:
            store.execute(f"CREATE TABLE {name_of(table)} ({cells})")
        except sqlite3.OperationalError as error:
            raise errors.PreconditionError(f"{table.name}: {error}") from error

    def alter(self, store: Connection, table: Table, after: Table) -> None:
        if after.key != table.key:
            raise errors.StructureRefused("SQLite does not rewrite the keys of a table")
        for cell in definitions(after):
            if cell not in definitions(table):
                store.execute(f"ALTER TABLE {name_of(table)} ADD COLUMN {cell}")

    def upsert(
        self, store: Connection, table: Table, batch: EncodedBatch
    ) -> Sequence[Row]:
        names = columns_of(table)
        marks = ", ".join("?" * len(names))
        insert = f"INSERT INTO {name_of(table)} ({', '.join(names)}) VALUES ({marks})"
        refused = []
        for row in rows_of(batch, table):
            self.delete(store, table, [row.key])
            _, *cells = row.cells.values()
            try:
                store.execute(insert, [row.key, *map(stored, cells)])
            except (sqlite3.IntegrityError, sqlite3.DataError):
                refused.append(row)
        return refused

    def delete(self, store: Connection, table: Table, keys: Sequence[str]) -> None:
        statement = f'DELETE FROM {name_of(table)} WHERE "{KEY}" = ?'
        store.executemany(statement, [(key,) for key in keys])


def stored(value: Value) -> Any:
    """What SQLite holds as it is; of all else, and of NaN, the text."""
    plain = isinstance(value, str | bytes | int | float | None) and value == value
    return value if plain else str(value)


def name_of(table: Table) -> str:
    return quoted(f"{table.schema}.{table.name}")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def columns_of(table: Table) -> list[str]:
    """SQLite takes ``Name`` and ``name`` for one: the later one gets an underscore."""
    found: dict[str, str] = {}
    for name, _ in cells_of(table):
        while name.lower() in found:
            name += "_"
        found[name.lower()] = quoted(name)
    return [*found.values()]


def definitions(table: Table) -> list[str]:
    types = [TYPES.get(kind, "TEXT") for _, kind in cells_of(table)]
    types[0] += " PRIMARY KEY NOT NULL"
    return [" ".join(each) for each in zip(columns_of(table), types, strict=True)]
