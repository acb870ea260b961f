"""Is PostgreSQL able to do what the work needs? Each failure in one line, with its fix.

Reads alone: a check that fails has made nothing.
"""

from __future__ import annotations

from psycopg import Cursor, sql
from psycopg.rows import TupleRow

from ..errors import DestinationUnavailable, PreconditionError
from ..metadata import batches, layout, store
from .connection import Link
from .ddl import MAX_NAME_BYTES

#: Infinity in ``numeric`` came with 14.
_MIN_VERSION = 140000

#: What is done with the metadata's tables.
_NEEDED = ["SELECT", "INSERT", "UPDATE", "DELETE"]


def check(link: Link, schema: str, meta: str) -> bool:
    """Raise PreconditionError for the first thing that is missing.

    True when the schema has a position already, or a table of batch mode.
    """
    for what, name in (("schema", schema), ("metadata schema", meta)):
        if not 0 < len(name.encode()) <= MAX_NAME_BYTES or "\0" in name:
            raise PreconditionError(
                f"the {what} name {name!a} is not 1 to {MAX_NAME_BYTES} bytes long",
                hint="give it another name",
            )
    try:
        with link.transaction(read_only=True) as cur:
            _check_server(cur)
            _check_temporary(cur)
            _check_schema(cur, schema)
            _check_schema(cur, meta, layout.TABLES)
            found = layout.check(cur, meta)
            if found is None:
                return False
            return store.has_position(cur, meta, schema) or (
                found >= batches.SINCE_LAYOUT and batches.exist(cur, meta, schema)
            )
    except DestinationUnavailable as error:
        raise PreconditionError(str(error), hint=error.hint) from error


def _check_server(cur: Cursor[TupleRow]) -> None:
    version = cur.connection.info.server_version
    if version < _MIN_VERSION:
        raise PreconditionError(
            f"the server is PostgreSQL {version // 10000}; 14 or newer is needed",
            hint="upgrade the server, or name another in the connection string",
        )
    row = cur.execute(
        "SELECT pg_catalog.pg_is_in_recovery(),"
        " pg_catalog.current_setting('server_encoding')"
    ).fetchone()
    standby, encoding = row if row else (False, "")
    if standby:
        raise PreconditionError(
            "the server is a standby, which cannot be written to",
            hint="name the primary, or several hosts with "
            "target_session_attrs=read-write, in the connection string",
        )
    if encoding != "UTF8":
        raise PreconditionError(
            f"the database is encoded in {encoding}; only UTF8 holds every document",
            hint="CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0;",
        )


def _check_temporary(cur: Cursor[TupleRow]) -> None:
    row = cur.execute(
        "SELECT pg_catalog.has_database_privilege(current_database(), 'TEMPORARY'),"
        " current_database(), current_user"
    ).fetchone()
    if row and not row[0]:
        raise PreconditionError(
            f"role {row[2]} may not make temporary tables in database {row[1]}",
            hint=f"GRANT TEMPORARY ON DATABASE {_quoted(row[1])} TO {_quoted(row[2])};",
        )


def _check_schema(
    cur: Cursor[TupleRow], name: str, tables: tuple[str, ...] = ()
) -> None:
    """tables: which of the schema's have to be read and written, where they exist."""
    row = cur.execute(
        """
        SELECT n.oid IS NOT NULL,
            pg_catalog.has_schema_privilege(n.oid, 'CREATE')
                AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
            pg_catalog.has_database_privilege(current_database(), 'CREATE'),
            current_database(), current_user,
            EXISTS (
                SELECT 1 FROM pg_catalog.pg_class c
                CROSS JOIN unnest(%s::text[]) AS needed
                WHERE c.relnamespace = n.oid AND c.relname = ANY (%s)
                    AND NOT pg_catalog.has_table_privilege(c.oid, needed)
            )
        FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = %s
        """,
        (_NEEDED, list(tables), name),
    ).fetchone()
    if row is None:
        return
    exists, usable, creatable, database, role, closed = row
    if exists and (not usable or closed):
        of, to = f"SCHEMA {_quoted(name)}", f"TO {_quoted(role)};"
        grants = [] if usable else [f"GRANT USAGE, CREATE ON {of} {to}"]
        if closed:
            grants.append(f"GRANT {', '.join(_NEEDED)} ON ALL TABLES IN {of} {to}")
            grants.append(f"GRANT USAGE ON ALL SEQUENCES IN {of} {to}")
        what = "use the tables" if usable else "create tables"
        raise PreconditionError(
            f"role {role} may not {what} in schema {name}", hint=" ".join(grants)
        )
    if not exists and not creatable:
        raise PreconditionError(
            f"schema {name} does not exist and role {role} may not create it",
            hint=f"GRANT CREATE ON DATABASE {_quoted(database)} TO {_quoted(role)};",
        )


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)
