"""The SQLite destination passes the suite: run me, or ``pytest`` on this directory."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from cartridge_warp.config import DestinationSettings, SchemaSettings
from cartridge_warp.conformance.destination import (
    CountedLetters,
    DestinationSuite,
    RefusedRows,
)
from cartridge_warp.conformance.destination.hooks import TABLE, Rows
from cartridge_warp.errors import DestinationUnavailable, PreconditionError
from cartridge_warp.ledger import SILENT_SECONDS
from cartridge_warp.model import Column, Table
from cartridge_warp.rows import KEY, cells_of
from cwarp_sqlite import SqliteDestination, columns_of, name_of, quoted


class TestSqliteDestination(DestinationSuite, RefusedRows, CountedLetters):
    @pytest.fixture
    def place(self, tmp_path: Path) -> None:
        self.file = tmp_path / "warehouse.db"

    def connect(self) -> SqliteDestination:
        settings = DestinationSettings(
            type="sqlite", connection_string=str(self.file), options={"busy_seconds": 5}
        )
        return SqliteDestination(settings, SchemaSettings(name="shop", database="shop"))

    def rows(self, table: Table) -> Rows:
        names = [name for name, _ in cells_of(table)]
        query = f"SELECT {', '.join(columns_of(table))} FROM {name_of(table)}"
        with closing(connect(self.file)) as reader:
            found = [
                dict(zip(names, row, strict=True)) for row in reader.execute(query)
            ]
        return {str(cells[KEY]): cells for cells in found}

    def silence(self) -> None:
        with self.connect().transaction() as (_, ledger):
            ledger.alive -= SILENT_SECONDS

    def forbid(self, table: Table, note: str) -> None:
        with closing(connect(self.file)) as writer:
            writer.execute(
                f"CREATE TRIGGER {quoted(note)} BEFORE INSERT ON {name_of(table)}"
                f" WHEN NEW.note = '{note}' BEGIN SELECT RAISE(ABORT, 'no'); END"
            )

    # --- what is this destination's own -----------------------------------------

    def test_names_that_sqlite_takes_for_one(self) -> None:
        columns = [Column(n, (n,), "text", "string") for n in ("a", "A", "a_", "_ID")]
        table = Table("shop", "t", "t", "string", tuple(columns))
        assert columns_of(table)[:5] == ['"_id"', '"a"', '"A_"', '"a__"', '"_ID_"']
        self.owner(table)
        with pytest.raises(PreconditionError, match="already exists"):
            self.owner_again(Table("shop", "T", "T", "string", ()))

    def owner_again(self, table: Table) -> None:
        self.silence()
        self.owner(table)

    def test_somebody_else_writes_for_long(self) -> None:
        owner = self.owner(TABLE)
        with closing(connect(self.file, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(DestinationUnavailable, match="locked"):
                self.apply(owner, 2)
        self.apply(owner, 2)

    def test_a_directory_that_is_not_there(self) -> None:
        self.file = self.file.parent / "none" / "warehouse.db"
        with pytest.raises(PreconditionError, match="is not a directory"):
            self.connect().validate()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
