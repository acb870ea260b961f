"""What becomes of the rows of documents that are gone, by the table's strategy."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import Cursor
from psycopg.rows import TupleRow

from ..model import ClusterTime, Table
from . import merge


def delete(
    cur: Cursor[TupleRow],
    meta: str,
    table: Table,
    keys: Sequence[str],
    times: Sequence[ClusterTime],
) -> None:
    """These documents were deleted, each at its time. Raises psycopg.Error.

    keys: key texts.  times: as many, or none where they are not known.
    """
    if table.options.deletion_strategy == "both":
        cur.execute(
            merge.delete_audited(table, meta),
            {
                "keys": list(keys),
                "times": list(times),
                "schema": table.schema,
                "table": table.name,
            },
        )
    else:
        outdate(cur, table, keys)


def outdate(cur: Cursor[TupleRow], table: Table, keys: Sequence[str]) -> None:
    """What is stored under these key texts is no document's state any more.

    A mark can be taken back, and says no more than that. An entry of the audit says
    that the document was deleted, which is not known here. Raises psycopg.Error.
    """
    soft = table.options.deletion_strategy == "soft"
    statement = merge.mark_deleted(table) if soft else merge.delete(table)
    cur.execute(statement, (list(keys),))
