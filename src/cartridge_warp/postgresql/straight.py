"""A chunk of a first copy: no row is there yet, so all go straight into the table."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from msgspec import Struct
from psycopg import Cursor
from psycopg.rows import TupleRow

from cwarp_core import EncodedBatch

from ..metadata.letters import Letter
from ..model import ChunkRange, Table
from . import deletes, merge
from .careful import Part, bring_in, check_at_once
from .copyin import CopyIn, copy_in


class Outcome(Struct, frozen=True):
    """What a chunk's rows did to its table.

    refused: rows that PostgreSQL did not take, and that ``write`` did not return.
    """

    written: int
    removed: int = 0
    refused: tuple[Letter, ...] = ()


class Way(Protocol):
    """How the rows of one chunk come into its table, in one transaction.

    Its methods raise psycopg.Error. refuses: a row that PostgreSQL does not take ends
    the transaction.
    """

    refuses: bool

    def write(self, batch: EncodedBatch) -> list[Letter]:
        """Take rows. Returns those that PostgreSQL has refused already."""

    def finish(self, within: ChunkRange | None) -> Outcome:
        """There are no more rows.

        within: the chunk; what is there and was not written is of no document.  None:
        nobody knows, and it stays.
        """

    def cancel(self) -> None:
        """The transaction will be rolled back; leave it so that it can be."""


class Straight:
    """All of them in one COPY. See ``Way``."""

    refuses = True

    def __init__(self, cur: Cursor[TupleRow], table: Table) -> None:
        self._copy = CopyIn(cur, merge.copy_into(table))
        self._rows = 0

    def write(self, batch: EncodedBatch) -> list[Letter]:
        self._copy.send(batch.payload)
        self._rows += batch.rows
        return []

    def finish(self, within: ChunkRange | None) -> Outcome:  # noqa: ARG002  no rows
        self._copy.finish()
        return Outcome(self._rows)

    def cancel(self) -> None:
        self._copy.cancel()


class CarefulStraight:
    """Around the rows that PostgreSQL refuses. See ``Way``."""

    refuses = False

    def __init__(self, cur: Cursor[TupleRow], table: Table) -> None:
        check_at_once(cur)
        self._cur = cur
        self._table = table
        self._rows = 0

    def write(self, batch: EncodedBatch) -> list[Letter]:
        part = Part(self._cur, self._table, batch, self._bring)
        [refused] = bring_in(self._cur, [part], [], partial(deletes.outdate, self._cur))
        self._rows += batch.rows - len(refused)
        return refused

    def _bring(self, rows: EncodedBatch) -> None:
        copy_in(self._cur, merge.copy_into(self._table), rows.payload)

    def finish(self, within: ChunkRange | None) -> Outcome:  # noqa: ARG002  no rows
        return Outcome(self._rows)

    def cancel(self) -> None:
        """Nothing is open."""
