"""Rows on their way into a table that may hold their keys already."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import psycopg
from psycopg import Cursor, generators
from psycopg.pq import ExecStatus, Format
from psycopg.rows import TupleRow

from cwarp_core import EncodedBatch

from ..killpoint import reached
from ..metadata import letters
from ..model import Table
from . import ddl, merge
from .staging import Staging

#: Up to so many cells, rows are sent as parameters of one INSERT, which saves making a
#: staging table and two round trips; with more, the parameters cost more than these.
_DIRECT_CELLS = 1_000

_COUNT = struct.Struct("!h")
_SIZE = struct.Struct("!i")


class Upserter:
    """Inserts rows, or replaces those that have their keys. One connection.

    meta: the metadata schema's name.  staging: the connection's, if there is one.
    """

    def __init__(self, meta: str, staging: Staging | None = None) -> None:
        self._meta = meta
        self._staging = staging or Staging()

    def bring(
        self,
        cur: Cursor[TupleRow],
        table: Table,
        batches: Sequence[EncodedBatch],
        *,
        guarded: bool = False,
        pending: bool = False,
        staged: bool = False,
        last: bool = True,
    ) -> int:
        """Bring the batches' rows into the table; no key is in them twice.

        guarded: equal rows are left untouched.  pending: the table may have dead
        letters; those of the rows' keys are resolved.  staged: ``stage`` took these
        very batches in this transaction.  last: the transaction's end empties the
        staging table, and until then it is not needed. Returns how many rows were
        written. Raises psycopg.Error.
        """
        rows = sum(batch.rows for batch in batches)
        if not rows:
            return 0
        if not (staged or pending or self.stages(table, batches)):
            payload = b"".join(batch.payload for batch in batches)
            # The points of a COPY, which this stands for.
            reached("mid_copy")
            written = _execute(
                cur,
                merge.insert(table, rows, guarded=guarded),
                cells_of(payload),
                ddl.cell_oids(table) * rows,
            )
            reached("copy_done")
            return written
        if not staged:
            self._staging.load(cur, table, batches)
        written = cur.execute(merge.merge(table, guarded=guarded)).rowcount
        if pending:
            letters.resolve(cur, self._meta, table, merge.staged_keys(table))
        if not last:
            cur.execute(merge.clear_staging(table))
        return written

    def stage(
        self, cur: Cursor[TupleRow], table: Table, batches: Sequence[EncodedBatch]
    ) -> None:
        """Take rows into the staging table, for a ``bring`` of this transaction."""
        self._staging.load(cur, table, batches)

    @staticmethod
    def stages(table: Table, batches: Sequence[EncodedBatch]) -> bool:
        """Are these rows so many that they go through staging?"""
        rows = sum(batch.rows for batch in batches)
        return rows * len(ddl.cells(table)) > _DIRECT_CELLS


def cells_of(payload: bytes) -> list[bytes | None]:
    """All cells of a payload's rows, one after the other."""
    cells: list[bytes | None] = []
    at = 0
    while at < len(payload):
        (count,) = _COUNT.unpack_from(payload, at)
        at += _COUNT.size
        for _ in range(count):
            (size,) = _SIZE.unpack_from(payload, at)
            at += _SIZE.size
            if size < 0:
                cells.append(None)
            else:
                cells.append(payload[at : at + size])
                at += size
    return cells


def _execute(
    cur: Cursor[TupleRow],
    statement: bytes,
    cells: list[bytes | None],
    oids: Sequence[int],
) -> int:
    """Run a statement whose parameters are binary cells, without a prepared one.

    The driver's own way adapts Python objects; these are in PostgreSQL's form. Returns
    the number of rows that it wrote.
    """
    connection = cur.connection
    pgconn = connection.pgconn
    pgconn.send_query_params(
        statement, cells, oids, [Format.BINARY] * len(cells), Format.BINARY
    )
    [result] = connection.wait(generators.execute(pgconn))
    if result.status != ExecStatus.COMMAND_OK:
        encoding = connection.info.encoding
        raise psycopg.errors.error_from_result(result, encoding=encoding)
    return result.command_tuples or 0
