"""The history of runs, and the error log."""

from __future__ import annotations

from psycopg import Cursor
from psycopg.rows import TupleRow

from ..errors import DestinationError
from .store import query


def start_run(
    cur: Cursor[TupleRow], meta: str, schema: str, instance: str, epoch: int
) -> int:
    """Record a run; runs that were left open are marked ``lost``. Returns its id."""
    cur.execute(
        query(
            "UPDATE {meta}.sync_runs SET status = 'lost', ended_at = now()"
            " WHERE schema_name = %s AND status = 'running'",
            meta,
        ),
        (schema,),
    )
    row = cur.execute(
        query(
            "INSERT INTO {meta}.sync_runs (schema_name, instance, epoch)"
            " VALUES (%s, %s, %s) RETURNING run_id",
            meta,
        ),
        (schema, instance, epoch),
    ).fetchone()
    if row is None:
        raise DestinationError(f"the run of schema {schema} could not be recorded")
    return int(row[0])


def end_run(cur: Cursor[TupleRow], meta: str, run_id: int, status: str) -> None:
    """Close a run, unless a later owner marked it lost."""
    cur.execute(
        query(
            "UPDATE {meta}.sync_runs SET status = %s, ended_at = now()"
            " WHERE run_id = %s AND status = 'running'",
            meta,
        ),
        (status, run_id),
    )


def log_error(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    kind: str,
    message: str,
    *,
    table: str | None = None,
    sqlstate: str | None = None,
    count: int = 1,
) -> None:
    """Add to the error log. ``message`` must hold no value of a document."""
    cur.execute(
        query(
            "INSERT INTO {meta}.error_log"
            " (schema_name, table_name, kind, sqlstate, message, count)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            meta,
        ),
        (schema, table, kind, sqlstate, message, count),
    )
