"""What somebody asks of a schema's owner, and how far that is."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import Cursor
from psycopg.rows import TupleRow

from .store import query

#: The verb of a resync.
RESYNC = "resync"


def ask(
    cur: Cursor[TupleRow], meta: str, schema: str, tables: Sequence[str] | None = None
) -> None:
    """Ask for a resync of these tables, or of every table of the schema.

    Those of batch mode are left out; their passes are what compares them. One that is
    asked for already, and not accepted, is not asked for twice.
    """
    cur.execute(
        query(
            """
            INSERT INTO {meta}.signals (schema_name, verb, table_name)
            SELECT t.schema_name, %(verb)s, t.table_name FROM {meta}.table_state t
            WHERE t.schema_name = %(schema)s
              AND (%(tables)s::text[] IS NULL OR t.table_name = ANY(%(tables)s))
              AND NOT EXISTS (
                SELECT FROM {meta}.batch_markers b
                WHERE b.schema_name = t.schema_name AND b.table_name = t.table_name)
              AND NOT EXISTS (
                SELECT FROM {meta}.signals s
                WHERE s.schema_name = t.schema_name AND s.table_name = t.table_name
                  AND s.verb = %(verb)s AND s.accepted_at IS NULL)
            ORDER BY t.table_name
            """,
            meta,
        ),
        {
            "verb": RESYNC,
            "schema": schema,
            "tables": None if tables is None else list(tables),
        },
    )


def asked(cur: Cursor[TupleRow], meta: str, schema: str) -> set[str]:
    """The tables whose resync is asked for and not accepted."""
    cur.execute(
        query(
            "SELECT DISTINCT table_name FROM {meta}.signals"
            " WHERE schema_name = %s AND verb = %s AND accepted_at IS NULL",
            meta,
        ),
        (schema, RESYNC),
    )
    return {row[0] for row in cur.fetchall()}


def accept(cur: Cursor[TupleRow], meta: str, schema: str, table: str) -> None:
    """The resync of a table begins with this transaction."""
    cur.execute(
        query(
            "UPDATE {meta}.signals SET accepted_at = now()"
            " WHERE schema_name = %s AND table_name = %s AND verb = %s"
            " AND accepted_at IS NULL",
            meta,
        ),
        (schema, table, RESYNC),
    )


def done(cur: Cursor[TupleRow], meta: str, schema: str, table: str) -> None:
    """What was accepted for a table is done with this transaction."""
    cur.execute(
        query(
            "UPDATE {meta}.signals SET done_at = now()"
            " WHERE schema_name = %s AND table_name = %s AND verb = %s"
            " AND accepted_at IS NOT NULL AND done_at IS NULL",
            meta,
        ),
        (schema, table, RESYNC),
    )
