"""The drain passes the suite; the rows that it throws away are caught beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cartridge_warp import ledger
from cartridge_warp.config import DestinationSettings, SchemaSettings
from cartridge_warp.conformance.destination import (
    CountedLetters,
    DestinationSuite,
    RefusedRows,
    RewrittenKeys,
    SharedCopies,
)
from cartridge_warp.conformance.destination.hooks import IDENTITY, Rows
from cartridge_warp.conformance.drain import Drain
from cartridge_warp.documents import key_of
from cartridge_warp.errors import ConfigError, PreconditionError
from cartridge_warp.ledger import Ledger
from cartridge_warp.model import Table
from cartridge_warp.rows import Row, rows_of
from cwarp_core import EncodedBatch, key_text

SCHEMA = SchemaSettings(name="shop", database="shop")

#: Table -> key -> (cells, document).
Kept = dict[str, dict[str, tuple[dict[str, Any], bytes]]]


def settings(directory: Path) -> DestinationSettings:
    return DestinationSettings(type="drain", connection_string=f"drain://{directory}")


class Bucket(Drain):
    """Stands under the drain. ``kept``: the rows of what is committed."""

    def __init__(self, directory: Path, kept: Kept, forbidden: set[str]) -> None:
        super().__init__(settings(directory), SCHEMA)
        self._kept, self._forbidden = kept, forbidden
        self._now: Kept = {}

    @contextmanager
    def transaction(self) -> Iterator[tuple[None, Ledger]]:
        with super().transaction() as opened:
            self._now = {name: dict(rows) for name, rows in self._kept.items()}
            yield opened
            self._kept.clear()
            self._kept.update(self._now)

    def encoder(self, table: Table, *, keep: bool = False) -> Any:
        return super().encoder(table, keep=True)

    def alter(self, store: None, table: Table, after: Table) -> None:
        rows = self._now.get(table.name, {})
        self._now[table.name] = {
            key_text(key_of(raw), after.key): (cells, raw)
            for cells, raw in rows.values()
        }

    def upsert(self, store: None, table: Table, batch: EncodedBatch) -> Sequence[Row]:
        refused = []
        for row in rows_of(batch, table):
            assert row.document is not None
            if row.cells.get("note") in self._forbidden:
                refused.append(row)
            else:
                kept = row.cells, row.document
                self._now.setdefault(table.name, {})[row.key] = kept
        return refused

    def delete(self, store: None, table: Table, keys: Sequence[str]) -> None:
        for key in keys:
            self._now.get(table.name, {}).pop(key, None)


class TestBucket(
    DestinationSuite, RefusedRows, RewrittenKeys, CountedLetters, SharedCopies
):
    @pytest.fixture
    def place(self, tmp_path: Path) -> None:
        self.directory = tmp_path
        self.kept: Kept = {}
        self.forbidden: set[str] = set()

    def connect(self) -> Drain:
        return Bucket(self.directory, self.kept, self.forbidden)

    def rows(self, table: Table) -> Rows:
        names = [column.name for column in table.columns]
        return {
            key: {**dict.fromkeys(names), **cells}
            for key, (cells, _) in self.kept.get(table.name, {}).items()
        }

    def silence(self) -> None:
        drain = Drain(settings(self.directory), SCHEMA)
        with drain.transaction() as (_, book):
            book.alive -= ledger.SILENT_SECONDS

    def silence_workers(self) -> None:
        drain = Drain(settings(self.directory), SCHEMA)
        with drain.transaction() as (_, book):
            for each in book.workers.values():
                each.alive -= ledger.SILENT_SECONDS

    def forbid(self, table: Table, note: str) -> None:
        self.forbidden.add(note)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="is not there"):
        Drain(settings(tmp_path / "none"), SCHEMA).validate()
    for uri in ("drain://relative", "/tmp/x", "postgres://h/d"):
        given = replace(settings(tmp_path), connection_string=uri)
        with pytest.raises(ConfigError, match=r"connection_string: must be drain://"):
            Drain(given, SCHEMA)


def test_looking_leaves_no_file_behind(tmp_path: Path) -> None:
    drain = Drain(settings(tmp_path), SCHEMA)
    assert not drain.validate()
    assert drain.tables() == []
    assert list(tmp_path.iterdir()) == []
    assert drain.open(IDENTITY) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        *("shop.ledger", "shop.lock")
    ]
