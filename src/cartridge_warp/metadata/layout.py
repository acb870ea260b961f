"""Creates the metadata's tables, brings up older ones, refuses newer ones."""

from __future__ import annotations

from importlib import resources

from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from ..errors import PreconditionError

#: The layout of ``schema.sql``, and the last of the steps.
VERSION = 3

#: Its tables.
TABLES = (
    *("layout", "schema_leases", "copy_workers", "sync_markers", "batch_markers"),
    *("snapshot_chunks", "table_state", "signals", "schema_registry", "sync_runs"),
    *("error_log", "dead_letter_queue", "deletion_audit"),
)

#: Serializes creation among processes; any fixed number that is ours will do.
_LOCK = 0x63776172

_EXISTS = """
SELECT 1 FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = 'layout'
"""


def ensure(cur: Cursor[TupleRow], meta: str) -> None:
    """Bring the metadata schema to our layout. Raises PreconditionError."""
    if version(cur, meta) == VERSION:
        return
    cur.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (_LOCK,))
    found = version(cur, meta)
    if found is None:
        create_schema(cur, meta)
        _run(cur, meta, "schema.sql")
        return
    check(cur, meta)
    for step in range(found + 1, VERSION + 1):
        _run(cur, meta, f"step_{step}.sql")


def _run(cur: Cursor[TupleRow], meta: str, file: str) -> None:
    """A script of this package. Each records the layout it makes."""
    text = resources.files(__package__).joinpath(file).read_text("utf-8")
    cur.execute(sql.SQL(text).format(meta=sql.Identifier(meta)))


def check(cur: Cursor[TupleRow], meta: str, *, older: bool = True) -> int | None:
    """The stored layout, None where there is none yet. Raises PreconditionError.

    One newer than ours is refused, and so is an older one unless ``older`` passes.
    """
    found = version(cur, meta)
    if found is None:
        return None
    if found > VERSION:
        raise PreconditionError(
            f"the metadata schema {meta} has layout {found}; this version knows "
            f"{VERSION} and no newer one",
            hint="upgrade cartridge-warp to the version that wrote it, or newer",
        )
    if found < VERSION and not older:
        raise PreconditionError(
            f"the metadata schema {meta} has layout {found}; this version reads "
            f"layout {VERSION}",
            hint="start cwarp sync with this version: it brings the metadata up",
        )
    return found


def version(cur: Cursor[TupleRow], meta: str) -> int | None:
    """The stored layout version; None where there is no metadata yet."""
    if cur.execute(_EXISTS, (meta,)).fetchone() is None:
        return None
    query = sql.SQL("SELECT max(version) FROM {}").format(
        sql.Identifier(meta, "layout")
    )
    row = cur.execute(query).fetchone()
    return row[0] if row else None


def create_schema(cur: Cursor[TupleRow], name: str) -> None:
    """Create a schema that does not exist.

    Looks first: CREATE SCHEMA IF NOT EXISTS asks for the CREATE right on the database
    even when there is nothing to create.
    """
    found = cur.execute(
        "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (name,)
    ).fetchone()
    if found is None:
        query = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name))
        cur.execute(query)
