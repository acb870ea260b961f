"""Chunks of first copies: stored, claimed, done, split, handed back."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import Cursor
from psycopg.rows import TupleRow

from ..model import Chunk, ChunkRange
from .store import query


def add(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    table: str,
    ranges: Sequence[ChunkRange],
) -> None:
    """Store pending chunks; they are claimed in this order."""
    cur.executemany(
        query(
            "INSERT INTO {meta}.snapshot_chunks"
            " (schema_name, table_name, lower, upper) VALUES (%s, %s, %s, %s)",
            meta,
        ),
        [(schema, table, each.lower, each.upper) for each in ranges],
    )


def claim(
    cur: Cursor[TupleRow], meta: str, schema: str, table: str, epoch: int, worker: int
) -> Chunk | None:
    """Make one chunk ``copying``; None when none is left to claim.

    A chunk that this worker left ``copying``, because its connection broke, comes
    first. The caller has checked the ownership in the same transaction.
    """
    row = cur.execute(
        query(
            """
            UPDATE {meta}.snapshot_chunks AS c
            SET state = 'copying', epoch = %(epoch)s, worker = %(worker)s,
                claimed_at = now(), backend_pid = a.pid,
                backend_start = a.backend_start
            FROM (SELECT pid, backend_start FROM pg_catalog.pg_stat_activity
                  WHERE pid = pg_catalog.pg_backend_pid()) AS a
            WHERE c.chunk_id = (
                SELECT chunk_id FROM {meta}.snapshot_chunks
                WHERE schema_name = %(schema)s AND table_name = %(table)s
                  AND (state = 'pending' OR (state = 'copying'
                       AND epoch = %(epoch)s AND worker = %(worker)s))
                ORDER BY state, chunk_id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING c.chunk_id, c.lower, c.upper, c.state, c.documents
            """,
            meta,
        ),
        {"schema": schema, "table": table, "epoch": epoch, "worker": worker},
    ).fetchone()
    if row is None:
        return None
    return Chunk(row[0], ChunkRange(row[1], row[2]), row[3], row[4])


def finish(
    cur: Cursor[TupleRow],
    meta: str,
    chunk: Chunk,
    epoch: int,
    worker: int,
    *,
    documents: int,
    rows: int,
    split_at: bytes | None,
) -> bool:
    """Make a claimed chunk ``done``; False when the claim is another's by now."""
    upper = chunk.range.upper if split_at is None else split_at
    cur.execute(
        query(
            """
            UPDATE {meta}.snapshot_chunks
            SET state = 'done', upper = %s, documents = %s, rows = %s, done_at = now()
            WHERE chunk_id = %s AND state = 'copying' AND epoch = %s AND worker = %s
            """,
            meta,
        ),
        (upper, documents, rows, chunk.chunk_id, epoch, worker),
    )
    if cur.rowcount != 1:
        return False
    if split_at is not None:
        cur.execute(
            query(
                """
                INSERT INTO {meta}.snapshot_chunks
                    (schema_name, table_name, lower, upper)
                SELECT schema_name, table_name, %s, %s
                FROM {meta}.snapshot_chunks WHERE chunk_id = %s
                """,
                meta,
            ),
            (split_at, chunk.range.upper, chunk.chunk_id),
        )
    return True


def hand_back(
    cur: Cursor[TupleRow], meta: str, chunk: Chunk, epoch: int, worker: int
) -> None:
    """Make a claimed chunk ``pending`` again; another's claim is left alone."""
    cur.execute(
        query(
            "UPDATE {meta}.snapshot_chunks SET state = 'pending'"
            " WHERE chunk_id = %s AND state = 'copying' AND epoch = %s AND worker = %s",
            meta,
        ),
        (chunk.chunk_id, epoch, worker),
    )


def settled_state(
    cur: Cursor[TupleRow], meta: str, chunk: Chunk
) -> tuple[str, int | None, int | None] | None:
    """State, epoch and worker, once no transaction is writing them any more."""
    return cur.execute(
        query(
            "SELECT state, epoch, worker FROM {meta}.snapshot_chunks"
            " WHERE chunk_id = %s FOR SHARE",
            meta,
        ),
        (chunk.chunk_id,),
    ).fetchone()


def reset(cur: Cursor[TupleRow], meta: str, schema: str, application: str) -> int:
    """Make every ``copying`` chunk of a schema ``pending``. Returns their number.

    A frozen copier of the former owner may still hold uncommitted rows, on which the
    next copier of the chunk would wait without end: its backend is told to stop. It is
    known by number, start time, role and application name together.
    """
    cur.execute(
        query(
            """
            SELECT pg_catalog.pg_terminate_backend(a.pid)
            FROM {meta}.snapshot_chunks c
            JOIN pg_catalog.pg_stat_activity a
              ON a.pid = c.backend_pid AND a.backend_start = c.backend_start
            WHERE c.schema_name = %s AND c.state = 'copying'
              AND a.application_name = %s AND a.usename = current_user
              AND a.pid <> pg_catalog.pg_backend_pid()
            """,
            meta,
        ),
        (schema, application),
    )
    cur.execute(
        query(
            "UPDATE {meta}.snapshot_chunks SET state = 'pending'"
            " WHERE schema_name = %s AND state = 'copying'",
            meta,
        ),
        (schema,),
    )
    return cur.rowcount
