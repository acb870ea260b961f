"""What ``cwarp status`` shows, read without taking ownership of anything."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from psycopg import Cursor
from psycopg.rows import TupleRow

from ..model import ClusterTime
from . import layout
from .store import query, unsigned


class TableStatus(Struct, frozen=True):
    """A table: its structure's version, its copy, its counters (see schema.sql).

    rejected: dead letters ever made.  dead_letters: those that are pending now.
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


class SchemaStatus(Struct, frozen=True):
    """A schema: its marker, its newest run, its tables, its newest errors.

    cluster_time, wall_time: None until the first position is stored.
    run_status: "running", "stopped", "failed" or "lost" (ended without saying so).
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
    errors: tuple[ErrorEntry, ...]


def read(
    cur: Cursor[TupleRow], meta: str, *, errors: int = 10
) -> tuple[SchemaStatus, ...]:
    """Every schema the metadata knows, by name; empty where there is no metadata.

    errors: how many of each schema's newest errors. Raises PreconditionError when the
    layout is newer than ours.
    """
    layout.check(cur, meta)
    if layout.version(cur, meta) is None:
        return ()
    cur.execute(
        query(
            """
            SELECT m.schema_name, m.database, m.replica_set_id, m.epoch, m.seq,
                m.cluster_time, m.wall_time, m.updated_at, r.status, r.instance
            FROM {meta}.sync_markers m LEFT JOIN LATERAL (
                SELECT status, instance FROM {meta}.sync_runs
                WHERE schema_name = m.schema_name ORDER BY run_id DESC LIMIT 1
            ) AS r ON true
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
        errors=_errors(cur, meta, schema, errors),
    )


def _tables(cur: Cursor[TupleRow], meta: str, schema: str) -> tuple[TableStatus, ...]:
    cur.execute(
        query(
            """
            SELECT s.table_name, r.definition ->> 'collection', r.version, s.planned,
                c.chunks, c.done, c.documents, s.copied, s.events, s.applied,
                s.deleted, s.superseded, s.rejected, s.rescued
            FROM {meta}.table_state s
            JOIN LATERAL (
                SELECT definition, version FROM {meta}.schema_registry
                WHERE schema_name = s.schema_name AND table_name = s.table_name
                  AND status = 'applied'
                ORDER BY version DESC LIMIT 1) AS r ON true
            JOIN LATERAL (
                SELECT count(*) AS chunks,
                    count(*) FILTER (WHERE state = 'done') AS done,
                    coalesce(sum(documents), 0)::bigint AS documents
                FROM {meta}.snapshot_chunks
                WHERE schema_name = s.schema_name AND table_name = s.table_name
            ) AS c ON true
            WHERE s.schema_name = %s ORDER BY s.table_name
            """,
            meta,
        ),
        (schema,),
    )
    rows = cur.fetchall()
    pending = pending_letters(cur, meta, schema)
    return tuple(TableStatus(*(*row, pending.get(row[0], 0))) for row in rows)


def pending_letters(cur: Cursor[TupleRow], meta: str, schema: str) -> dict[str, int]:
    """How many dead letters of each table are pending; a table without has no entry.

    Reads no column that holds data, so that a role for monitoring needs no right to.
    """
    cur.execute(
        query(
            "SELECT table_name, count(*) FROM {meta}.dead_letter_queue"
            " WHERE schema_name = %s AND state = 'pending' GROUP BY table_name",
            meta,
        ),
        (schema,),
    )
    return dict(cur.fetchall())


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
