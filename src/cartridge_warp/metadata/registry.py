"""Tables: every structure they have had, and the counters of what happened to them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from ..model import Origin, SchemaChange, Table, TableState
from . import batches, chunks, letters, signals
from .store import query, unsigned


class Counters(Struct, frozen=True):
    """What one transaction adds to a table's counters.

    read, copied: documents of chunks, and those that are rows.  applied: rows written
    and keys deleted by change events; deleted: those deleted.  superseded: events that
    a later event, or a later read, stands for.
    """

    read: int = 0
    copied: int = 0
    events: int = 0
    applied: int = 0
    deleted: int = 0
    superseded: int = 0
    rejected: int = 0
    rescued: int = 0


def record(
    cur: Cursor[TupleRow],
    meta: str,
    table: Table,
    changes: tuple[SchemaChange, ...],
    ddl: str,
    safety: str,
) -> None:
    """Store a version of a table; its first one opens the table's state too."""
    definition = msgspec.json.encode(table)
    cur.execute(
        query(
            """
            INSERT INTO {meta}.schema_registry (schema_name, table_name, version,
                definition, sha256, change, ddl, safety, status)
            VALUES (%s, %s, %s, %s::jsonb, %s, %s::jsonb, %s, %s, 'applied')
            """,
            meta,
        ),
        (
            table.schema,
            table.name,
            table.version,
            definition.decode(),
            hashlib.sha256(definition).hexdigest(),
            msgspec.json.encode(changes).decode(),
            ddl,
            safety,
        ),
    )
    cur.execute(
        query(
            "INSERT INTO {meta}.table_state (schema_name, table_name) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING",
            meta,
        ),
        (table.schema, table.name),
    )


def newest(cur: Cursor[TupleRow], meta: str, schema: str, name: str) -> Table | None:
    """The table's newest version; None when we never made it."""
    row = cur.execute(
        query(
            "SELECT definition::text FROM {meta}.schema_registry"
            " WHERE schema_name = %s AND table_name = %s AND status = 'applied'"
            " ORDER BY version DESC LIMIT 1",
            meta,
        ),
        (schema, name),
    ).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Table)


def standing(meta: str, schema: str, names: Sequence[str]) -> sql.Composed:
    """Query of tables' names, the key's encoding in the newest version of each, and the
    number of the file that holds its rows: another one when they were all written anew.

    To be executed without parameters, and so behind another statement.
    """
    return sql.SQL(
        """
        SELECT DISTINCT ON (table_name) table_name, definition ->> 'key',
            pg_relation_filenode(
                to_regclass(format('%I.%I', schema_name, table_name))
            )::bigint
        FROM {meta}.schema_registry
        WHERE schema_name = {schema} AND table_name = ANY({names})
            AND status = 'applied'
        ORDER BY table_name, version DESC
        """
    ).format(
        meta=sql.Identifier(meta),
        schema=sql.Literal(schema),
        names=sql.Literal(list(names)),
    )


def tables(cur: Cursor[TupleRow], meta: str, schema: str) -> list[TableState]:
    """Every table of a schema in its newest version, by name."""
    cur.execute(
        query(
            """
            SELECT DISTINCT ON (r.table_name) r.table_name, r.definition::text,
                s.planned, s.left_at IS NOT NULL, s.gone_at IS NOT NULL, s.since,
                s.identity
            FROM {meta}.schema_registry r
            JOIN {meta}.table_state s USING (schema_name, table_name)
            WHERE r.schema_name = %s AND r.status = 'applied'
            ORDER BY r.table_name, r.version DESC
            """,
            meta,
        ),
        (schema,),
    )
    rows = cur.fetchall()
    stored = chunks.by_table(cur, meta, schema)
    pending = letters.count_pending(cur, meta, schema)
    asked = signals.asked(cur, meta, schema)
    passes = batches.by_table(cur, meta, schema)
    return [
        TableState(
            msgspec.json.decode(definition, type=Table),
            planned,
            stored.get(name, ()),
            pending.get(name, 0),
            left=left,
            batch=passes[name][1] if name in passes else None,
            asked=name in asked,
            gone=gone,
            origin=Origin(unsigned(since) or 0, identity),
        )
        for name, definition, planned, left, gone, since, identity in rows
    ]


def leave(cur: Cursor[TupleRow], meta: str, schema: str, names: Sequence[str]) -> None:
    """Note that tables are not followed from now on."""
    cur.execute(
        query(
            "UPDATE {meta}.table_state SET left_at = coalesce(left_at, now())"
            " WHERE schema_name = %s AND table_name = ANY(%s)",
            meta,
        ),
        (schema, list(names)),
    )


def set_planned(cur: Cursor[TupleRow], meta: str, schema: str, table: str) -> bool:
    """Note that a table's chunks are stored; False when they were before."""
    cur.execute(
        query(
            "UPDATE {meta}.table_state SET planned = true, updated_at = now()"
            " WHERE schema_name = %s AND table_name = %s AND NOT planned",
            meta,
        ),
        (schema, table),
    )
    return cur.rowcount == 1


def set_origin(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    table: str,
    origin: Origin,
    *,
    gone: bool,
) -> None:
    """Note that a table's rows are, or will be by its chunks, of this collection.

    gone: which is there no more. Either way the table is planned, and followed.
    """
    cur.execute(
        query(
            """
            UPDATE {meta}.table_state
            SET since = %s, identity = %s, planned = true, left_at = NULL,
                gone_at = CASE WHEN %s THEN coalesce(gone_at, now()) END,
                updated_at = now()
            WHERE schema_name = %s AND table_name = %s
            """,
            meta,
        ),
        (origin.since, origin.identity, gone, schema, table),
    )


def know(
    cur: Cursor[TupleRow], meta: str, schema: str, table: str, origin: Origin
) -> None:
    """Note which collection a table's rows are of; nothing else changes."""
    cur.execute(
        query(
            "UPDATE {meta}.table_state SET since = %s, identity = %s"
            " WHERE schema_name = %s AND table_name = %s",
            meta,
        ),
        (origin.since, origin.identity, schema, table),
    )


def forget(cur: Cursor[TupleRow], meta: str, schema: str, table: str) -> None:
    """Remove all that is known of a table but its history of errors and deletes."""
    for query_ in (
        "DELETE FROM {meta}.snapshot_chunks WHERE schema_name = %s AND table_name = %s",
        "DELETE FROM {meta}.schema_registry WHERE schema_name = %s AND table_name = %s",
        "DELETE FROM {meta}.dead_letter_queue"
        " WHERE schema_name = %s AND table_name = %s",
        "DELETE FROM {meta}.table_state WHERE schema_name = %s AND table_name = %s",
    ):
        cur.execute(query(query_, meta), (schema, table))


def count(
    cur: Cursor[TupleRow], meta: str, schema: str, table: str, add: Counters
) -> None:
    """Add to the table's counters."""
    cur.execute(
        query(
            """
            UPDATE {meta}.table_state
            SET read = read + %s, copied = copied + %s, events = events + %s,
                applied = applied + %s, deleted = deleted + %s,
                superseded = superseded + %s, rejected = rejected + %s,
                rescued = rescued + %s, updated_at = now()
            WHERE schema_name = %s AND table_name = %s
            """,
            meta,
        ),
        (*msgspec.structs.astuple(add), schema, table),
    )
