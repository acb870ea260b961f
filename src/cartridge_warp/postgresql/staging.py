"""The temporary tables that many rows pass through on their way into a table."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from cwarp_core import EncodedBatch

from ..killpoint import reached
from ..model import Table
from . import merge
from .copyin import CopyIn


class Staging:
    """The staging tables of one connection.

    Each is made where it is needed, in the transaction that needs it: after a
    rollback, a new connection, or behind a pooler it is made again, and nothing has to
    be remembered for that to be right.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], sql.Identifier] = {}

    def open(self, cur: Cursor[TupleRow], table: Table) -> CopyIn:
        """A COPY into the table's staging table."""
        name = merge.staging_name(table)
        former = self._last.get((table.schema, table.name), name)
        if former != name:
            cur.execute(merge.drop_staging(former))
        cur.execute(merge.create_staging(table))
        self._last[table.schema, table.name] = name
        return CopyIn(cur, merge.copy_into_staging(table))

    def load(
        self, cur: Cursor[TupleRow], table: Table, batches: Sequence[EncodedBatch]
    ) -> None:
        """COPY the rows into the table's staging table."""
        copy = self.open(cur, table)
        try:
            for batch in batches:
                copy.send(batch.payload)
                reached("mid_copy")
            copy.finish()
        except BaseException:
            copy.cancel()
            raise
        reached("copy_done")
