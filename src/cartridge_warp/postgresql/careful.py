"""Brings rows in around those that PostgreSQL refuses, and makes letters of these."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import psycopg
from psycopg import Cursor
from psycopg.rows import TupleRow

from cwarp_core import EncodedBatch, Reject, Reply, key_text, row_offsets

from ..errors import DestinationError
from ..metadata.letters import Letter
from ..model import Table
from .sift import sift
from .sqlstate import Verdict, classify

#: What another row may have stood in the way of, and what a deleted one may have.
_FOR_ANOTHER = frozenset({"23000", "23001", "23503", "23505", "23P01"})
_TAKEN = frozenset({"23505", "23P01"})

_LENGTH = struct.Struct("<i")

Bring = Callable[[EncodedBatch], None]
Work = Callable[[], None]
Outdate = Callable[[Table, Sequence[str]], None]


def attempt(cur: Cursor[TupleRow], work: Work) -> psycopg.Error | None:
    """Do some work, or nothing of it and return why, when that is about a row."""
    cur.execute("SAVEPOINT cwarp_attempt")
    try:
        work()
    except psycopg.Error as error:
        if classify(error.sqlstate) is not Verdict.ROW:
            raise
        cur.execute(
            "ROLLBACK TO SAVEPOINT cwarp_attempt; RELEASE SAVEPOINT cwarp_attempt"
        )
        return error
    cur.execute("RELEASE SAVEPOINT cwarp_attempt")
    return None


def check_at_once(cur: Cursor[TupleRow]) -> None:
    """Let deferred constraints speak with the row, not with COMMIT."""
    cur.execute("SET CONSTRAINTS ALL IMMEDIATE")


class Part:
    """The rows of one encoded batch, brought in one way.

    bring: brings rows in, all of them. Raises psycopg.Error.
    """

    def __init__(
        self, cur: Cursor[TupleRow], table: Table, batch: EncodedBatch, bring: Bring
    ) -> None:
        if batch.rows and not batch.raw:
            raise DestinationError(
                f"the rows of {table.schema}.{table.name} came without their documents"
            )
        self.table = table
        self._cur = cur
        self._batch = batch
        self._bring = bring
        self._offsets = row_offsets(batch.payload)
        self._refused: dict[int, psycopg.Error] = {}

    def bring_in(self) -> None:
        """Bring in every row that PostgreSQL takes."""
        self._refused = sift(self._batch.rows, self._attempt)

    def try_again(self, codes: frozenset[str]) -> None:
        """The same, one by one, for the rows that were refused with these SQLSTATEs."""
        for row, error in list(self._refused.items()):
            if error.sqlstate not in codes:
                continue
            found = self._attempt(row, row + 1)
            if found is None:
                del self._refused[row]
            else:
                self._refused[row] = found

    @property
    def refused_keys(self) -> list[str]:
        """The key texts of the rows that are refused by now."""
        return [key_text(each, self.table.key) for each, _, _ in self._found()]

    @property
    def letters(self) -> list[Letter]:
        """The refused documents, and what PostgreSQL said of their rows."""
        return [
            Letter(
                Reject(document, "refused", -1, key_text(element, "canonical"), -1),
                sqlstate=error.sqlstate,
                constraint=error.diag.constraint_name,
                column=error.diag.column_name,
            )
            for element, document, error in self._found()
        ]

    def _attempt(self, start: int, stop: int) -> psycopg.Error | None:
        first, end = self._offsets[start], self._offsets[stop]
        rows = self._batch._replace(
            payload=self._batch.payload[first:end], rows=stop - start
        )
        return attempt(self._cur, partial(self._bring, rows))

    def _found(self) -> Iterator[tuple[bytes, bytes, psycopg.Error]]:
        """``_id`` element, document and error of each refused row."""
        if not self._refused:
            return
        documents = documents_of(self._batch)
        for row, error in self._refused.items():
            element = Reply.of_documents([documents[row]]).key(0)
            if element is None:
                raise DestinationError("a row's document has no _id")
            yield element, documents[row], error


def bring_in(
    cur: Cursor[TupleRow],
    parts: Sequence[Part],
    deletes: Sequence[tuple[Table, Work]],
    outdate: Outdate,
) -> list[list[Letter]]:
    """All that PostgreSQL takes of a transaction. Returns each part's letters.

    Rows that failed for another row's sake are tried again, at most twice. Where a
    document stays refused, the row that its key had before is outdated, since it is not
    what the document is any more; one that others refer to has to stay. Raises
    DestinationError when a row of ``deletes`` may not go: no letter stands for that.
    """
    waiting = _delete(cur, deletes)
    for part in parts:
        part.bring_in()
    while waiting:
        # A parent goes after its children, in whatever order they were named.
        before = waiting
        waiting = _delete(cur, [each for each, _ in before])
        if len(waiting) == len(before):
            (table, _), error = waiting[0]
            raise DestinationError(
                f"a document of {table.schema}.{table.name} was deleted, but its row "
                f"may not be ({error.sqlstate})",
                hint="let the foreign key cascade, or drop the constraint or trigger "
                f"{error.diag.constraint_name or ''}".rstrip(),
            ) from error
    for part in parts:
        part.try_again(_FOR_ANOTHER)
        stale = part.refused_keys
        if stale and attempt(cur, partial(outdate, part.table, stale)) is not None:
            for key in stale:
                attempt(cur, partial(outdate, part.table, [key]))
    for part in parts:
        part.try_again(_TAKEN)
    return [part.letters for part in parts]


def _delete(
    cur: Cursor[TupleRow], deletes: Sequence[tuple[Table, Work]]
) -> list[tuple[tuple[Table, Work], psycopg.Error]]:
    """Those that may not be deleted now, and why."""
    left = []
    for table, work in deletes:
        if (error := attempt(cur, work)) is not None:
            left.append(((table, work), error))
    return left


def documents_of(batch: EncodedBatch) -> list[bytes]:
    """The documents of a batch's rows, which its encoder has kept."""
    raw = batch.raw
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        found.append(raw[at : at + length])
        at += length
    return found
