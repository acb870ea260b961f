"""What ``cwarp status`` shows, read without taking ownership of anything."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from psycopg import Cursor
from psycopg.rows import TupleRow

from ..model import ClusterTime
from . import layout, letters
from .store import query, unsigned


class TableStatus(Struct, frozen=True):
    """A table: its structure's version, its copy, its counters (see schema.sql).

    copied: rows of the copy, or of the last resync; written, removed: those that it
    found to differ, and those of no document.  resync: it was one.  asked: another is
    asked for.  gone: its rows are those of a collection that is there no more.
    left: a run did not follow it, and none has since.  rejected: dead letters ever
    made.  dead_letters: those that are pending now.
    complete_through: once the copy is finished, the source's time up to which its rows
    have every change; None where that was not recorded.  consistent: the stream is past
    that time.  Of a table of batch mode, both are its last complete pass's; passes: how
    many there were, None for a table that is streamed.  last_pass, next_pass: when the
    last one began, and the next one is due.  unread: documents in which passes see no
    change.
    """

    name: str
    collection: str
    version: int
    planned: bool
    chunks: int
    chunks_done: int
    documents: int
    copied: int
    events: int
    applied: int
    deleted: int
    superseded: int
    rejected: int
    rescued: int
    complete_through: datetime | None
    consistent: bool
    passes: int | None
    last_pass: datetime | None
    next_pass: datetime | None
    unread: int | None
    resync: bool
    written: int
    removed: int
    asked: bool
    gone: bool
    left: bool
    dead_letters: int

    @property
    def complete(self) -> bool:
        """Its first copy is finished."""
        return self.planned and self.chunks == self.chunks_done


class ErrorEntry(Struct, frozen=True):
    """A line of the error log."""

    logged_at: datetime
    kind: str
    message: str
    table: str | None = None
    sqlstate: str | None = None
    count: int = 1


class CopyingStatus(Struct, frozen=True):
    """A chunk that is being copied. instance: the process that does it.

    owner: which owns the schema; else it is a worker.  seconds: since it was claimed.
    """

    table: str
    chunk: int
    instance: str | None
    owner: bool
    seconds: float


class SchemaStatus(Struct, frozen=True):
    """A schema: its markers, its newest run, its tables, its newest errors.

    seq: commits of all lanes.  cluster_time, wall_time: the slowest lane's.
    cluster_time, wall_time: None until the first position is stored.
    run_status: "running", "silent" (no sign of life for six seconds), "stopped",
    "failed" or "lost" (ended without saying so).
    """

    schema: str
    database: str
    replica_set_id: str
    epoch: int
    seq: int
    cluster_time: ClusterTime | None
    wall_time: datetime | None
    updated_at: datetime
    run_status: str | None
    instance: str | None
    tables: tuple[TableStatus, ...]
    copying: tuple[CopyingStatus, ...]
    errors: tuple[ErrorEntry, ...]


def read(
    cur: Cursor[TupleRow], meta: str, *, errors: int = 10
) -> tuple[SchemaStatus, ...]:
    """Every schema the metadata knows, by name; empty where there is no metadata.

    errors: how many of each schema's newest errors. Raises PreconditionError when the
    layout is not ours.
    """
    if layout.check(cur, meta, older=False) is None:
        return ()
    cur.execute(
        query(
            """
            SELECT m.schema_name, m.database, m.replica_set_id, m.epoch, l.seq,
                l.cluster_time, l.wall_time, l.updated_at,
                CASE WHEN r.status = 'running' AND coalesce(h.heartbeat_at, now())
                        < now() - interval '6 seconds'
                    THEN 'silent' ELSE r.status END, r.instance
            FROM {meta}.sync_markers m
            JOIN LATERAL (
                SELECT sum(seq)::bigint AS seq, min(cluster_time) AS cluster_time,
                    min(wall_time) AS wall_time, max(updated_at) AS updated_at
                FROM {meta}.sync_markers WHERE schema_name = m.schema_name
            ) AS l ON true
            LEFT JOIN LATERAL (
                SELECT status, instance FROM {meta}.sync_runs
                WHERE schema_name = m.schema_name ORDER BY run_id DESC LIMIT 1
            ) AS r ON true
            LEFT JOIN {meta}.schema_leases h ON h.schema_name = m.schema_name
            WHERE m.lane = 0 ORDER BY m.schema_name
            """,
            meta,
        ),
        (),
    )
    return tuple(_schema(cur, meta, row, errors) for row in cur.fetchall())


def _schema(
    cur: Cursor[TupleRow], meta: str, row: TupleRow, errors: int
) -> SchemaStatus:
    schema, database, identity, epoch, seq, time, wall, updated, run, instance = row
    return SchemaStatus(
        schema=schema,
        database=database,
        replica_set_id=identity,
        epoch=epoch,
        seq=seq,
        cluster_time=unsigned(time),
        wall_time=wall,
        updated_at=updated,
        run_status=run,
        instance=instance,
        tables=_tables(cur, meta, schema),
        copying=_copying(cur, meta, schema, epoch, instance),
        errors=_errors(cur, meta, schema, errors),
    )


def _tables(cur: Cursor[TupleRow], meta: str, schema: str) -> tuple[TableStatus, ...]:
    cur.execute(
        query(
            """
            SELECT s.table_name, r.definition ->> 'collection', r.version, s.planned,
                c.chunks, c.done, c.documents, c.rows, s.events, s.applied,
                s.deleted, s.superseded, s.rejected, s.rescued,
                CASE WHEN b.table_name IS NOT NULL THEN b.began_at
                    WHEN s.planned AND c.chunks = c.done
                    THEN to_timestamp(div(c.read_until, 4294967296)::float8) END,
                CASE WHEN b.table_name IS NOT NULL THEN b.passes > 0
                    ELSE s.planned AND c.chunks = c.done
                    AND coalesce(c.read_until <= m.cluster_time, c.chunks = 0) END,
                b.passes, b.began_at, b.due_at, b.unread,
                c.resync, c.written, c.removed, EXISTS (
                    SELECT FROM {meta}.signals AS g
                    WHERE g.schema_name = s.schema_name AND g.accepted_at IS NULL
                      AND g.table_name = s.table_name AND g.verb = 'resync'),
                s.gone_at IS NOT NULL, s.left_at IS NOT NULL
            FROM {meta}.table_state s
            JOIN LATERAL (
                SELECT definition, version FROM {meta}.schema_registry
                WHERE schema_name = s.schema_name AND table_name = s.table_name
                  AND status = 'applied'
                ORDER BY version DESC LIMIT 1) AS r ON true
            JOIN LATERAL (
                SELECT count(*) AS chunks,
                    count(*) FILTER (WHERE state = 'done') AS done,
                    coalesce(sum(documents), 0)::bigint AS documents,
                    coalesce(sum(rows), 0)::bigint AS rows,
                    coalesce(bool_or(resync), false) AS resync,
                    coalesce(sum(written), 0)::bigint AS written,
                    coalesce(sum(removed), 0)::bigint AS removed,
                    CASE WHEN count(*) = count(read_until)
                        THEN max(read_until) END AS read_until
                FROM {meta}.snapshot_chunks
                WHERE schema_name = s.schema_name AND table_name = s.table_name
            ) AS c ON true
            LEFT JOIN LATERAL (
                SELECT min(cluster_time) AS cluster_time
                FROM {meta}.sync_markers WHERE schema_name = s.schema_name
            ) AS m ON true
            LEFT JOIN {meta}.batch_markers b
              ON b.schema_name = s.schema_name AND b.table_name = s.table_name
            WHERE s.schema_name = %s ORDER BY s.table_name
            """,
            meta,
        ),
        (schema,),
    )
    rows = cur.fetchall()
    pending = letters.count_pending(cur, meta, schema)
    return tuple(TableStatus(*(*row, pending.get(row[0], 0))) for row in rows)


def _copying(
    cur: Cursor[TupleRow], meta: str, schema: str, epoch: int, owner: str | None
) -> tuple[CopyingStatus, ...]:
    """Who copies which chunk; what a former owner left open is nobody's."""
    cur.execute(
        query(
            """
            SELECT c.table_name, c.chunk_id, split_part(w.instance, ' ', 1),
                c.worker >= 0, extract(epoch FROM now() - c.claimed_at)::float8
            FROM {meta}.snapshot_chunks c
            LEFT JOIN {meta}.copy_workers w ON w.worker_id = -c.worker
            WHERE c.schema_name = %s AND c.state = 'copying' AND c.epoch = %s
            ORDER BY c.table_name, c.ordinal, c.chunk_id
            """,
            meta,
        ),
        (schema, epoch),
    )
    return tuple(
        CopyingStatus(table, chunk, owner if owns else worker, owns, seconds)
        for table, chunk, worker, owns, seconds in cur.fetchall()
    )


def _errors(
    cur: Cursor[TupleRow], meta: str, schema: str, limit: int
) -> tuple[ErrorEntry, ...]:
    cur.execute(
        query(
            "SELECT logged_at, kind, message, table_name, sqlstate, count"
            " FROM {meta}.error_log WHERE schema_name = %s"
            " ORDER BY error_id DESC LIMIT %s",
            meta,
        ),
        (schema, limit),
    )
    return tuple(ErrorEntry(*row) for row in cur.fetchall())
