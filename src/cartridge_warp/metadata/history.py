"""The server's history: what no row of it can tell, because rows are what may be lost.

A standby that takes its primary's place may lack what was committed last, and so does a
backup. Rows, chunks and markers that are stored there belong together, so a process
that begins there is right. One that goes on there is not: it knows of chunks, columns
and positions that are not stored any more. PostgreSQL begins a new timeline with each
promotion and each restore, and its number is in the name of the file that is written.
"""

from __future__ import annotations

import psycopg
from psycopg import Cursor
from psycopg.rows import TupleRow

#: An expression; NULL on a standby, which takes no commit anyway.
TIMELINE = """
CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.left(
    pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8) END
"""

#: How a server says that it does not tell. Amazon Aurora is one: its replicas share
#: one storage, so the one that takes over lacks nothing.
_UNTOLD = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.UndefinedFunction,
)


def timeline(cur: Cursor[TupleRow]) -> str | None:
    """The present one, inside a transaction; None where the server does not tell."""
    cur.execute("SAVEPOINT timeline")
    try:
        row = cur.execute(f"SELECT {TIMELINE}".encode()).fetchone()
    except _UNTOLD:
        cur.execute("ROLLBACK TO SAVEPOINT timeline")
        return None
    return None if row is None else row[0]
