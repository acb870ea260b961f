"""Which rows of a table have no document any more, found by comparing keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from ..metadata import letters
from ..model import Absent, Keys, Table
from . import merge

#: Rows told of at once, so that they fit in memory whatever was deleted.
MAX_ROWS: Final = 100_000


def find(
    cur: Cursor[TupleRow],
    meta: str,
    table: Table,
    present: Iterable[Keys],
    *,
    pending: bool,
) -> Absent:
    """What the table has, and is not among ``present``. One transaction.

    The keys go into a temporary table: no order of theirs is trusted, since a
    collection may sort its ids by a collation. pending: the table may have dead
    letters.
    """
    cur.execute(merge.create_present(table))
    unheld: set[str] = set()
    for some in present:
        cur.execute(merge.add_present(table), (list(some.texts),))
        unheld.update(some.unheld)
    cur.execute(merge.absent_keys(table), (MAX_ROWS + 1,))
    rows = [text for (text,) in cur.fetchall()]
    gone: list[str] = []
    if pending:
        gone = letters.absent(cur, meta, table, merge.present_keys(table))
    return Absent(
        tuple(rows[:MAX_ROWS]),
        tuple(key for key in gone if key not in unheld),
        more=len(rows) > MAX_ROWS,
    )
