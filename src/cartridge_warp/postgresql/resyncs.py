"""The transactions that begin a table's resync, or give its collection up."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import Cursor
from psycopg.rows import TupleRow

from ..metadata import chunks, letters, registry, runs, signals, store
from ..model import Chunk, ChunkRange, Origin, Table
from . import catalog, ddl, structure
from .tenure import Tenure

#: What the error log says of a table whose collection is gone, by policy.
_RETIRED = {
    "keep": "its collection is gone; the rows are kept",
    "truncate": "its collection is gone; the rows were removed (on_drop: truncate)",
    "drop": "its collection is gone; the table was dropped (on_drop: drop)",
}


def replan(
    cur: Cursor[TupleRow],
    own: Tenure,
    table: Table,
    ranges: Sequence[ChunkRange],
    origin: Origin,
) -> list[Chunk]:
    """See ``powers.Resyncs.replan``. In the metadata's order of locks."""
    where = own.meta, table.schema, table.name
    catalog.check(cur, table.schema, [table], exact=True)
    letters.suspect(cur, *where)
    registry.set_origin(cur, *where, origin, gone=False)
    store.check_owner(cur, own.meta, own.schema, own.epoch)
    signals.accept(cur, *where)
    chunks.remove(cur, *where)
    chunks.add(cur, *where, ranges, resync=True)
    return list(chunks.by_table(cur, own.meta, own.schema).get(table.name, ()))


def retire(
    cur: Cursor[TupleRow], own: Tenure, table: Table, policy: str, origin: Origin
) -> None:
    """See ``powers.Resyncs.retire``."""
    where = own.meta, table.schema, table.name
    if policy != "keep":
        structure.alter(cur, ddl.remove(table, whole=policy == "drop"))
    if policy == "truncate":
        letters.suspect(cur, *where)
        letters.resolve_unseen(cur, *where)
    registry.set_origin(cur, *where, origin, gone=policy == "keep")
    store.check_owner(cur, own.meta, own.schema, own.epoch)
    signals.accept(cur, *where)
    signals.done(cur, *where)
    chunks.remove(cur, *where)
    runs.log_error(
        *(cur, own.meta, table.schema, "gone", _RETIRED[policy]), table=table.name
    )
    if policy == "drop":
        registry.forget(cur, *where)
