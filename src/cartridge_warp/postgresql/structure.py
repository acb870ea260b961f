"""A table's structure against the rows that were encoded for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from cwarp_core import EncodedBatch, Reply, key_encoding

from ..errors import StructureChanged
from ..metadata import letters, registry
from ..model import ClusterTime, Table
from ..rows import encoder_of
from . import catalog, merge
from .careful import Part, check_at_once
from .sqlstate import refusal
from .tenure import Tenure
from .upsert import Upserter

#: Dead letters are read back so many at a time, so that large ones fit in memory.
_LETTERS = 100


def hold(cur: Cursor[TupleRow], own: Tenure, tables: Sequence[Table]) -> None:
    """Keep the structure of a schema's tables as it is until the transaction ends.

    Raises StructureChanged when the key of one is in another encoding by now: a row
    with the former one could be stored without an error, under a key that no delete
    would ever find. A column that was added since does no harm. Raises
    PreconditionError where somebody else has given one another type, see
    ``catalog.check``.
    """
    if not tables:
        return
    schema = own.schema
    cur.execute(_holding(own.meta, schema, *tables))
    cur.nextset()
    standing = {name: (key, file) for name, key, file in cur.fetchall()}
    unsure = []
    for table in tables:
        key, file = standing.get(table.name, (table.key, None))
        if key != table.key:
            raise StructureChanged(f"the key of {schema}.{table.name} became {key}")
        # A type that may alter values is never had without writing all rows anew.
        if file is None or own.files.get(table.name) != file:
            unsure.append((table, file))
    if unsure:
        catalog.check(cur, schema, [table for table, _ in unsure])
        own.files.update((table.name, file) for table, file in unsure)


@merge.kept
def _holding(meta: str, schema: str, *tables: Table) -> sql.Composed:
    """Lock the tables, and then look at them; one exchange with the server."""
    names = [table.name for table in tables]
    statements = merge.lock(*tables), registry.standing(meta, schema, names)
    return sql.SQL("; ").join(statements)


def alter(cur: Cursor[TupleRow], statement: sql.Composed) -> None:
    """Run DDL. Raises StructureRefused when PostgreSQL will never do it as it is."""
    try:
        cur.execute(statement)
    except psycopg.Error as error:
        if (refused := refusal(error)) is not None:
            raise refused from error
        raise


def waiting_keys(cur: Cursor[TupleRow], meta: str, table: Table) -> set[str]:
    """The encodings of the ids that are dead letters for want of a key."""
    keys: set[str] = set()
    for found in _waiting(cur, meta, table):
        documents = Reply.of_documents([document for document, _ in found])
        elements = map(documents.key, range(len(documents)))
        keys.update(key_encoding(each) for each in elements if each is not None)
    return keys


def readmit(cur: Cursor[TupleRow], meta: str, table: Table) -> None:
    """Make rows of the documents whose ids the table's key could not hold before.

    A pending letter of that reason is the newest state of its document up to the
    stored position, since every later event of the same id replaced or resolved it.
    One that is no row for another reason now, or that PostgreSQL refuses, stays
    pending.
    """
    upserter = Upserter(meta)
    check_at_once(cur)

    def bring(rows: EncodedBatch) -> None:
        upserter.bring(cur, table, [rows], pending=True, last=False)

    encoder = encoder_of(table, keep=True)
    for found in _waiting(cur, meta, table):
        for document, cluster_time in found:
            encoder.add_document(document, cluster_time or 0)
        Part(cur, table, encoder.take(), bring).bring_in()


def _waiting(
    cur: Cursor[TupleRow], meta: str, table: Table
) -> Iterator[list[tuple[bytes, ClusterTime | None]]]:
    """Documents that are dead letters for want of a key, and their times, in parts."""
    last = 0
    while found := letters.without_key(cur, meta, table, last, _LETTERS):
        last = found[-1][0]
        yield [(document, cluster_time) for _, document, cluster_time in found]
