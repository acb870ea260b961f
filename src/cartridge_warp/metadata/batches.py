"""The markers of batch mode: how far the passes over each table are."""

from __future__ import annotations

from typing import Final

from msgspec import structs
from psycopg import Cursor
from psycopg.rows import TupleRow

from ..errors import DestinationError
from ..model import BatchMarker, BatchState, BatchStep
from .store import fenced, query

#: The layout that has these markers.
SINCE_LAYOUT: Final = 3


def exist(cur: Cursor[TupleRow], meta: str, schema: str) -> bool:
    """Does the schema have a table of batch mode?"""
    row = cur.execute(
        query(
            "SELECT 1 FROM {meta}.batch_markers WHERE schema_name = %s LIMIT 1",
            meta,
        ),
        (schema,),
    ).fetchone()
    return row is not None


def by_table(
    cur: Cursor[TupleRow], meta: str, schema: str
) -> dict[str, tuple[int, BatchState]]:
    """``seq`` and state of each table of batch mode, by its name."""
    cur.execute(
        query(
            """
            SELECT table_name, seq, column_name, value, last_key, value_time, passes,
                coalesce(extract(epoch FROM began_at), 0)::float8,
                coalesce(extract(epoch FROM ended_at), 0)::float8, unread
            FROM {meta}.batch_markers WHERE schema_name = %s
            """,
            meta,
        ),
        (schema,),
    )
    return {row[0]: (row[1], _state(row[2:])) for row in cur.fetchall()}


def _state(row: TupleRow) -> BatchState:
    column, value, key, time, passes, began, ended, unread = row
    marker = None if value is None else BatchMarker(value, key, time)
    return BatchState(column, marker, passes, began, ended, unread)


def enroll(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    table: str,
    column: str,
    marker: BatchMarker | None,
) -> None:
    """Make the table one of batch mode, beginning at ``marker``.

    One that is keeps what it has, unless that is the marker of another column. The
    caller has checked the ownership in the same transaction.
    """
    cur.execute(
        query(
            """
            INSERT INTO {meta}.batch_markers AS m (schema_name, table_name,
                column_name, value, last_key, value_time)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (schema_name, table_name) DO UPDATE
            SET column_name = excluded.column_name, value = NULL, last_key = NULL,
                value_time = NULL, seq = m.seq + 1, updated_at = now()
            WHERE m.column_name <> excluded.column_name
            """,
            meta,
        ),
        (
            *(schema, table, column),
            *((None,) * 3 if marker is None else structs.astuple(marker)),
        ),
    )


def advance(
    cur: Cursor[TupleRow], meta: str, schema: str, seq: int, step: BatchStep
) -> None:
    """Move a table's marker by a step of a pass. Nothing else does.

    The caller has checked the ownership in the same transaction. Raises Fenced when
    the marker is not at ``seq`` any more, DestinationError when it would go back.
    """
    marker, end = step.marker, step.end
    cur.execute(
        query(
            """
            UPDATE {meta}.batch_markers
            SET seq = seq + 1, updated_at = now(),
                value = coalesce(%(value)s, value),
                last_key = coalesce(%(key)s, last_key),
                value_time = coalesce(%(time)s, value_time),
                passes = passes + %(passes)s,
                began_at = coalesce(to_timestamp(%(began)s), began_at),
                ended_at = coalesce(to_timestamp(%(ended)s), ended_at),
                due_at = coalesce(to_timestamp(%(due)s), due_at),
                unread = coalesce(%(unread)s, unread)
            WHERE schema_name = %(schema)s AND table_name = %(table)s
              AND seq = %(seq)s AND (value_time > %(time)s) IS NOT TRUE
            """,
            meta,
        ),
        {
            "value": None if marker is None else marker.value,
            "key": None if marker is None else marker.key,
            "time": None if marker is None else marker.time,
            "passes": 0 if end is None else 1,
            "began": None if end is None else end.began,
            "ended": None if end is None else end.ended,
            "due": None if end is None else end.due,
            "unread": None if end is None else end.unread,
            "schema": schema,
            "table": step.table,
            "seq": seq,
        },
    )
    if cur.rowcount == 1:
        return
    if settled_seq(cur, meta, schema, step.table) == seq:
        raise DestinationError(
            f"the marker of {schema}.{step.table} would go back in time",
            hint="nothing was written; the marker was edited: let the table be copied "
            'again ("Copy one table again" in docs/troubleshooting.md)',
        )
    raise fenced(schema)


def settled_seq(
    cur: Cursor[TupleRow], meta: str, schema: str, table: str
) -> int | None:
    """The marker's ``seq``, once no transaction is writing it any more."""
    row = cur.execute(
        query(
            "SELECT seq FROM {meta}.batch_markers"
            " WHERE schema_name = %s AND table_name = %s FOR SHARE",
            meta,
        ),
        (schema, table),
    ).fetchone()
    return None if row is None else int(row[0])
