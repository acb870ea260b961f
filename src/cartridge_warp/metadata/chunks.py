"""Chunks of copies and resyncs: stored, claimed, done, split, handed back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from psycopg import Cursor
from psycopg.rows import TupleRow

from ..model import Chunk, ChunkRange, ClusterTime
from .store import query, unsigned

#: What ``chunk_of`` makes a chunk of.
COLUMNS: Final = (
    "chunk_id, lower, upper, whole, state, documents, resync, read_time, read_until"
)


def add(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    table: str,
    ranges: Sequence[ChunkRange],
    *,
    resync: bool = False,
) -> None:
    """Store pending chunks; this is their order."""
    cur.executemany(
        query(
            "INSERT INTO {meta}.snapshot_chunks"
            " (schema_name, table_name, ordinal, lower, upper, whole, resync)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            meta,
        ),
        [
            (schema, table, number, each.lower, each.upper, each.whole, resync)
            for number, each in enumerate(ranges, 1)
        ],
    )


def remove(cur: Cursor[TupleRow], meta: str, schema: str, table: str) -> None:
    """Forget every chunk of a table. One that is being copied cannot be done then."""
    cur.execute(
        query(
            "DELETE FROM {meta}.snapshot_chunks"
            " WHERE schema_name = %s AND table_name = %s",
            meta,
        ),
        (schema, table),
    )


def all_done(cur: Cursor[TupleRow], meta: str, schema: str, table: str) -> bool:
    """No chunk of the table is left to copy."""
    row = cur.execute(
        query(
            "SELECT NOT EXISTS (SELECT FROM {meta}.snapshot_chunks"
            " WHERE schema_name = %s AND table_name = %s AND state <> 'done')",
            meta,
        ),
        (schema, table),
    ).fetchone()
    return bool(row and row[0])


def by_table(
    cur: Cursor[TupleRow], meta: str, schema: str
) -> dict[str, tuple[Chunk, ...]]:
    """All chunks of a schema by the table's name, in the order of their bounds.

    That order is the planned one: BSON's is not known to SQL. What is split off a
    chunk follows it, having its ordinal and a greater number, and nothing but the last
    of such a group is ever split.
    """
    cur.execute(
        query(
            "SELECT table_name, " + COLUMNS + " FROM {meta}.snapshot_chunks"
            " WHERE schema_name = %s ORDER BY table_name, ordinal, chunk_id",
            meta,
        ),
        (schema,),
    )
    rows = cur.fetchall()
    return {
        name: tuple(chunk_of(row[1:]) for row in group)
        for name, group in groupby(rows, key=itemgetter(0))
    }


def standing(
    cur: Cursor[TupleRow], meta: str, schema: str, table: str, chunks: Sequence[int]
) -> list[tuple[Chunk, bool]]:
    """These chunks, and what was split off them, as they are now.

    With each: has it dead letters? All are of one moment.
    """
    cur.execute(
        query(
            "SELECT documents > rows, " + COLUMNS + " FROM {meta}.snapshot_chunks"
            " WHERE schema_name = %(schema)s AND table_name = %(table)s"
            " AND ordinal IN (SELECT ordinal FROM {meta}.snapshot_chunks"
            " WHERE chunk_id = ANY(%(chunks)s)) ORDER BY ordinal, chunk_id",
            meta,
        ),
        {"schema": schema, "table": table, "chunks": list(chunks)},
    )
    return [(chunk_of(row[1:]), row[0]) for row in cur.fetchall()]


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
                claimed_at = now()
            WHERE c.chunk_id = (
                SELECT chunk_id FROM {meta}.snapshot_chunks
                WHERE schema_name = %(schema)s AND table_name = %(table)s
                  AND (state = 'pending' OR (state = 'copying'
                       AND epoch = %(epoch)s AND worker = %(worker)s))
                ORDER BY state, ordinal, chunk_id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING """
            + COLUMNS,
            meta,
        ),
        {"schema": schema, "table": table, "epoch": epoch, "worker": worker},
    ).fetchone()
    return None if row is None else chunk_of(row)


def chunk_of(row: TupleRow) -> Chunk:
    """A chunk of ``COLUMNS``."""
    number, lower, upper, whole, state, documents, resync, *times = row
    read_time, read_until = (unsigned(time) or 0 for time in times)
    where = ChunkRange(lower, upper, whole)
    return Chunk(number, where, state, documents, read_time, read_until, resync)


def finish(
    cur: Cursor[TupleRow],
    meta: str,
    chunk: Chunk,
    epoch: int,
    worker: int,
    *,
    documents: int,
    rows: int,
    read_time: ClusterTime,
    read_until: ClusterTime,
    upper: bytes | None,
    written: int,
    removed: int,
) -> bool:
    """Make a claimed chunk ``done``; False when the claim is another's by now.

    upper: where it ends, which is before its own end when it is split.
    """
    cur.execute(
        query(
            """
            UPDATE {meta}.snapshot_chunks
            SET state = 'done', upper = %s, documents = %s, rows = %s, read_time = %s,
                read_until = %s, written = %s, removed = %s, done_at = now()
            WHERE chunk_id = %s AND state = 'copying' AND epoch = %s AND worker = %s
            """,
            meta,
        ),
        (
            *(upper, documents, rows, read_time, read_until, written, removed),
            *(chunk.chunk_id, epoch, worker),
        ),
    )
    return cur.rowcount == 1


def split_off(
    cur: Cursor[TupleRow], meta: str, chunk: Chunk, lower: bytes
) -> Chunk | None:
    """Make the rest of a chunk, from ``lower`` on, a pending chunk that follows it.

    chunk: with the bounds it had when it was claimed.
    """
    row = cur.execute(
        query(
            """
            INSERT INTO {meta}.snapshot_chunks
                (schema_name, table_name, ordinal, lower, upper, resync)
            SELECT schema_name, table_name, ordinal, %s, %s, resync
            FROM {meta}.snapshot_chunks WHERE chunk_id = %s
            RETURNING """
            + COLUMNS,
            meta,
        ),
        (lower, chunk.range.upper, chunk.chunk_id),
    ).fetchone()
    return None if row is None else chunk_of(row)


def hand_back(
    cur: Cursor[TupleRow], meta: str, chunk: Chunk, epoch: int, worker: int
) -> None:
    """Make a claimed chunk ``pending`` again; another's claim is left alone.

    What a worker of another process gives up, the owner copies: see ``shared``.
    """
    cur.execute(
        query(
            "UPDATE {meta}.snapshot_chunks"
            " SET state = 'pending', kept = kept OR worker < 0"
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


def reset(cur: Cursor[TupleRow], meta: str, schema: str) -> int:
    """Make every ``copying`` chunk of a schema ``pending``. Returns their number."""
    cur.execute(
        query(
            "UPDATE {meta}.snapshot_chunks SET state = 'pending'"
            " WHERE schema_name = %s AND state = 'copying'",
            meta,
        ),
        (schema,),
    )
    return cur.rowcount
