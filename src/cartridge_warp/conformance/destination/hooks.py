"""What a destination's author gives the suite, and how the suite works with it."""

from __future__ import annotations

import datetime
import decimal
import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bson
import pytest

from cwarp_core import EncodedBatch, Reject

from ...model import (
    Batch,
    Chunk,
    ChunkRange,
    Column,
    Position,
    SourceIdentity,
    Table,
    TableChanges,
    TableState,
)
from ...protocols import Applier, Copier, Destination
from ..documents import document, element
from ..promise import Promise

SCHEMA = "shop"
IDENTITY = SourceIdentity("the source", "1")
EVERYTHING = ChunkRange(None, None)

#: When a chunk was read.
READ = 100 << 32 | 5

TABLE = Table(
    schema=SCHEMA,
    name="orders",
    collection="orders",
    key="string",
    columns=(
        Column("n", ("n",), "bigint", "long"),
        Column("note", ("note",), "text", "string"),
    ),
)

#: Rows as a destination's author reads them: cells by column, by the key's text.
Rows = Mapping[str, Mapping[str, Any]]


class DestinationHooks(ABC):
    """The suite works in the schema ``shop``."""

    @pytest.fixture  # noqa: B027  it need not be overridden
    def place(self) -> None:
        """An empty store for one test. Override it by a fixture that makes one."""

    @abstractmethod
    def connect(self) -> Destination:
        """A new destination of the test's store, which is not open. The suite closes
        it."""

    @abstractmethod
    def rows(self, table: Table) -> Rows:
        """The committed rows, as another program sees them.

        By the text of the key, each cell by the name of its column: as a Python value,
        or as text that says the same.
        """

    def silence(self) -> None:
        """Make the owner's last sign of life an old one; without a better way, wait."""
        time.sleep(7)

    # --- for the suite ----------------------------------------------------------

    @pytest.fixture(autouse=True)
    def ends(self, place: None) -> Iterator[None]:
        """Close what a test has opened, before its store goes."""
        self._open: list[Destination | Copier | Applier] = []
        yield
        for each in reversed(self._open):
            each.close()

    def made(self) -> Destination:
        """A destination that is not open."""
        destination = self.connect()
        self._open.append(destination)
        return destination

    def owner(self, *tables: Table, lanes: int = 1) -> Destination:
        """A destination that is open, at position 1 if it is new, with these tables."""
        destination = self.made()
        if not destination.open(IDENTITY):
            destination.begin(position(1), lanes)
        for table in tables:
            destination.ensure(table)
        return destination

    def heir(self) -> Destination:
        """A new owner, after the former one fell silent."""
        self.silence()
        return self.owner()

    def copier(self, destination: Destination) -> Copier:
        copier = destination.copier()
        self._open.append(copier)
        return copier

    def applier(self, destination: Destination) -> Applier:
        applier = destination.applier()
        self._open.append(applier)
        return applier

    def apply(
        self,
        destination: Destination,
        second: int | None,
        *changes: TableChanges,
        lanes: tuple[int, ...] = (0,),
        careful: bool = False,
    ) -> Mapping[str, Sequence[Reject]]:
        """Commit a batch on an applier of its own. second: of its position."""
        place = None if second is None else position(second)
        batch = Batch(place, changes, lanes, careful=careful)
        return self.applier(destination).commit(batch)

    def copy(self, destination: Destination, table: Table, *raw: bytes) -> None:
        """Copy documents as the table's only chunk."""
        destination.plan(table, [EVERYTHING])
        copier = self.copier(destination)
        chunk = claimed(copier, table)
        copier.begin(chunk, table, READ)
        copier.write(encoded(destination, table, *raw))
        copier.commit()

    def compare(self, promise: Promise, table: Table, *raw: bytes) -> None:
        """The table has the rows of these documents of ``n`` and ``note``, no other."""
        found = self.rows(table)
        expected = {}
        for each in raw:
            fields = bson.decode(each)
            expected[str(fields["_id"])] = fields.get("n"), fields.get("note")
        promise.equal(sorted(found), sorted(expected))
        for key, (n, note) in expected.items():
            cells = found[key]
            same = alike(n, cells["n"]) and alike(note, cells["note"])
            promise.kept(same, f"the row {key!r} should have {n!r}, {note!r}: {cells}")

    def standing(self, silent: bool = True) -> list[Position]:
        """Where the lanes stand, as a new owner finds it."""
        if silent:
            self.silence()
        return self.made().open(IDENTITY)


def position(second: int) -> Position:
    """Tokens are any BSON document."""
    return Position(bson.encode({"at": second}), second << 32 | 1, "the stream")


def upserts(destination: Destination, table: Table, *raw: bytes) -> TableChanges:
    """The documents, changed."""
    return TableChanges(table, (encoded(destination, table, *raw),), events=len(raw))


def deletes(table: Table, *keys: str) -> TableChanges:
    return TableChanges(table, deletes=keys, events=len(keys))


def encoded(
    destination: Destination, table: Table, *raw: bytes, keep: bool = False
) -> EncodedBatch:
    encoder = destination.encoder(table, keep=keep)
    for each in raw:
        encoder.add_document(each, READ)
    return encoder.take()


def claimed(copier: Copier, table: Table) -> Chunk:
    chunk = copier.claim(table)
    Promise("Copier.claim", "Make a pending chunk ``copying``").kept(
        chunk is not None, "there is a pending chunk, and claim returned None"
    )
    assert chunk is not None
    return chunk


def state_of(destination: Destination, table: Table) -> TableState:
    """What the destination says of a table."""
    found = [each for each in destination.tables() if each.table.name == table.name]
    Promise(
        "Destination.tables", "Every table of the schema, in its newest version"
    ).equal(len(found), 1)
    return found[0]


def halves(cut: str) -> list[ChunkRange]:
    """Two ranges of string ids."""
    return [ChunkRange(None, key(cut)), ChunkRange(key(cut), None)]


def key(text: str) -> bytes:
    """The ``_id`` element of a string."""
    return element(document(text))


def alike(expected: Any, found: Any) -> bool:
    """Is a cell this value, or text that says the same?"""
    if expected is None or found is None:
        return expected is found
    match expected:
        case bool():
            return str(found).lower() in (str(expected).lower(), str(int(expected)))
        case dict() | list() if isinstance(found, str):
            return bool(json.loads(found) == expected)
        case datetime.datetime() if isinstance(found, str):
            return datetime.datetime.fromisoformat(found) == expected
        case float():
            return repr(float(found)) == repr(expected)
        case int() | decimal.Decimal() | uuid.UUID():
            return str(found) == str(expected)
        case _:
            return bool(found == expected)
