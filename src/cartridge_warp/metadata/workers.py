"""Processes that help a schema's owner with its first copies, by their connections."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from psycopg import Cursor
from psycopg.rows import TupleRow

from ..errors import DestinationError
from ..model import Chunk, Table
from . import registry
from .chunks import COLUMNS, chunk_of
from .lease import SILENT_SECONDS, Terms
from .store import query


class Owner(Struct, frozen=True):
    """Who owns a schema now. silent: seconds since its last sign of life."""

    epoch: int
    instance: str
    silent: float
    terms: Terms


def owner(cur: Cursor[TupleRow], meta: str, schema: str) -> Owner | None:
    """The owner of a schema; None where nobody is, or it has fallen silent."""
    row = cur.execute(
        query(
            """
            SELECT epoch, instance, version, settings,
                extract(epoch FROM clock_timestamp() - heartbeat_at)::float8
            FROM {meta}.schema_leases WHERE schema_name = %s
            """,
            meta,
        ),
        (schema,),
    ).fetchone()
    if row is None or row[4] is None or abs(row[4]) >= SILENT_SECONDS:
        return None
    epoch, instance, version, settings, silent = row
    return Owner(epoch, instance, silent, Terms(version, settings))


# --- a worker's side ----------------------------------------------------------------


def join(
    cur: Cursor[TupleRow], meta: str, schema: str, epoch: int, instance: str
) -> int:
    """Ask for one connection to be admitted. Returns its ``worker_id``.

    The caller has checked the ownership in the same transaction.
    """
    row = cur.execute(
        query(
            "INSERT INTO {meta}.copy_workers (schema_name, epoch, instance)"
            " VALUES (%s, %s, %s) RETURNING worker_id",
            meta,
        ),
        (schema, epoch, instance),
    ).fetchone()
    if row is None:
        raise DestinationError(f"a worker of schema {schema} could not be recorded")
    return int(row[0])


def beat(cur: Cursor[TupleRow], meta: str, workers: Sequence[int]) -> bool:
    """Give a sign of life; False when one of them is given up for dead."""
    cur.execute(
        query(
            "UPDATE {meta}.copy_workers SET heartbeat_at = clock_timestamp()"
            " WHERE worker_id = ANY(%s)",
            meta,
        ),
        (list(workers),),
    )
    return cur.rowcount == len(workers)


def admitted(cur: Cursor[TupleRow], meta: str, worker: int) -> bool:
    """May it claim chunks? It is so until the transaction ends."""
    row = cur.execute(
        query(
            "SELECT admitted FROM {meta}.copy_workers WHERE worker_id = %s FOR SHARE",
            meta,
        ),
        (worker,),
    ).fetchone()
    return row is not None and bool(row[0])


def claim(
    cur: Cursor[TupleRow], meta: str, schema: str, epoch: int, worker: int
) -> tuple[Table, Chunk] | None:
    """Make one chunk of any table ``copying``; None when none is left to claim.

    Chunks that divide a first copy, of tables that the owner follows with its stream.
    One that this worker left ``copying``, because its connection broke, comes first.
    worker: minus the ``worker_id``.
    """
    row = cur.execute(
        query(
            """
            UPDATE {meta}.snapshot_chunks AS c
            SET state = 'copying', epoch = %(epoch)s, worker = %(worker)s,
                claimed_at = now()
            WHERE c.chunk_id = (
                SELECT k.chunk_id FROM {meta}.snapshot_chunks k
                JOIN {meta}.table_state t USING (schema_name, table_name)
                WHERE k.schema_name = %(schema)s
                  AND (k.state = 'pending' OR (k.state = 'copying'
                       AND k.epoch = %(epoch)s AND k.worker = %(worker)s))
                  AND NOT k.kept AND NOT k.whole AND NOT k.resync
                  AND t.planned AND t.left_at IS NULL AND t.gone_at IS NULL
                  AND NOT EXISTS (
                    SELECT FROM {meta}.batch_markers b
                    WHERE b.schema_name = k.schema_name
                      AND b.table_name = k.table_name)
                ORDER BY k.state, k.table_name, k.ordinal, k.chunk_id
                LIMIT 1 FOR UPDATE OF k SKIP LOCKED)
            RETURNING c.table_name, """
            + COLUMNS,
            meta,
        ),
        {"schema": schema, "epoch": epoch, "worker": worker},
    ).fetchone()
    if row is None:
        return None
    table = registry.newest(cur, meta, schema, row[0])
    if table is None:
        raise DestinationError(f"{schema}.{row[0]} has not been created")
    return table, chunk_of(row[1:])


def left(cur: Cursor[TupleRow], meta: str, schema: str) -> int:
    """Chunks of first copies, of tables that the owner streams, that are not done."""
    row = cur.execute(
        query(
            """
            SELECT count(*) FROM {meta}.snapshot_chunks k
            JOIN {meta}.table_state t USING (schema_name, table_name)
            WHERE k.schema_name = %s AND k.state <> 'done' AND NOT k.resync
              AND t.planned AND t.left_at IS NULL AND t.gone_at IS NULL
              AND NOT EXISTS (
                SELECT FROM {meta}.batch_markers b
                WHERE b.schema_name = k.schema_name AND b.table_name = k.table_name)
            """,
            meta,
        ),
        (schema,),
    ).fetchone()
    return 0 if row is None else int(row[0])


# --- the owner's side ---------------------------------------------------------------


def asking(cur: Cursor[TupleRow], meta: str, schema: str, epoch: int) -> list[str]:
    """The processes that wait to be admitted."""
    cur.execute(
        query(
            "SELECT DISTINCT instance FROM {meta}.copy_workers"
            " WHERE schema_name = %s AND epoch = %s AND NOT admitted ORDER BY 1",
            meta,
        ),
        (schema, epoch),
    )
    return [row[0] for row in cur.fetchall()]


def admit(cur: Cursor[TupleRow], meta: str, schema: str, epoch: int) -> None:
    """Whoever asks now may claim chunks."""
    cur.execute(
        query(
            "UPDATE {meta}.copy_workers SET admitted = true"
            " WHERE schema_name = %s AND epoch = %s AND NOT admitted",
            meta,
        ),
        (schema, epoch),
    )


def silent(
    cur: Cursor[TupleRow], meta: str, schema: str, epoch: int
) -> list[tuple[int, str]]:
    """Those without a sign of life for too long: ``worker_id`` and process."""
    cur.execute(
        query(
            """
            SELECT worker_id, instance FROM {meta}.copy_workers
            WHERE schema_name = %s AND epoch = %s
              AND abs(extract(epoch FROM clock_timestamp() - heartbeat_at)) >= %s
            ORDER BY 1
            """,
            meta,
        ),
        (schema, epoch, SILENT_SECONDS),
    )
    return cur.fetchall()


def remove(
    cur: Cursor[TupleRow], meta: str, schema: str, epoch: int, workers: Sequence[int]
) -> None:
    """These may claim nothing any more, and what they had is ``pending`` again."""
    cur.execute(
        query("DELETE FROM {meta}.copy_workers WHERE worker_id = ANY(%s)", meta),
        (list(workers),),
    )
    cur.execute(
        query(
            "UPDATE {meta}.snapshot_chunks SET state = 'pending', kept = true"
            " WHERE schema_name = %s AND epoch = %s AND state = 'copying'"
            " AND worker = ANY(%s)",
            meta,
        ),
        (schema, epoch, [-each for each in workers]),
    )


def numbers(cur: Cursor[TupleRow], meta: str, schema: str) -> list[int]:
    """Every ``worker_id`` of a schema."""
    cur.execute(
        query("SELECT worker_id FROM {meta}.copy_workers WHERE schema_name = %s", meta),
        (schema,),
    )
    return [row[0] for row in cur.fetchall()]


def forget(cur: Cursor[TupleRow], meta: str, schema: str) -> None:
    """A new owner begins: every worker has to join it anew."""
    cur.execute(
        query("DELETE FROM {meta}.copy_workers WHERE schema_name = %s", meta),
        (schema,),
    )
