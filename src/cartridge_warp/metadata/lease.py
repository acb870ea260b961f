"""Who works on a schema while others wait. It keeps nobody from writing: epochs do."""

from __future__ import annotations

from msgspec import Struct
from psycopg import Cursor
from psycopg.rows import TupleRow

from .store import query

#: A holder that is silent for longer is taken for dead, by PostgreSQL's clock.
SILENT_SECONDS = 6.0


class Terms(Struct, frozen=True):
    """What the owner of a schema and whoever helps it have to have alike.

    settings: as JSON, so that a difference can be named.
    """

    version: str
    settings: str


class Holder(Struct, frozen=True):
    """Who has a lease that is alive. silent: seconds since its last sign of life."""

    instance: str
    silent: float


def holder(cur: Cursor[TupleRow], meta: str, schema: str) -> Holder | None:
    """Who has the lease; None when it is free, given up, or its holder silent.

    The lease stays as it is until the caller's transaction ends.
    """
    cur.execute(
        query(
            "INSERT INTO {meta}.schema_leases (schema_name) VALUES (%s)"
            " ON CONFLICT DO NOTHING",
            meta,
        ),
        (schema,),
    )
    row = cur.execute(
        query(
            """
            SELECT instance,
                extract(epoch FROM clock_timestamp() - heartbeat_at)::float8
            FROM {meta}.schema_leases WHERE schema_name = %s FOR UPDATE
            """,
            meta,
        ),
        (schema,),
    ).fetchone()
    # A clock that was set back makes a sign of life one of the future; whoever lives
    # gives a new one soon.
    if row is None or row[1] is None or abs(row[1]) >= SILENT_SECONDS:
        return None
    return Holder(row[0], row[1])


def take(
    cur: Cursor[TupleRow],
    meta: str,
    schema: str,
    instance: str,
    epoch: int,
    terms: Terms,
) -> None:
    """Give the lease to ``instance``, which owns the schema at ``epoch``."""
    cur.execute(
        query(
            "UPDATE {meta}.schema_leases SET instance = %s, epoch = %s, version = %s,"
            " settings = %s, heartbeat_at = clock_timestamp() WHERE schema_name = %s",
            meta,
        ),
        (instance, epoch, terms.version, terms.settings, schema),
    )


def renew(cur: Cursor[TupleRow], meta: str, schema: str, epoch: int) -> bool:
    """Give a sign of life; False when the lease is another's, or was given up."""
    cur.execute(
        query(
            "UPDATE {meta}.schema_leases SET heartbeat_at = clock_timestamp()"
            " WHERE schema_name = %s AND epoch = %s AND heartbeat_at IS NOT NULL",
            meta,
        ),
        (schema, epoch),
    )
    return cur.rowcount == 1


def release(cur: Cursor[TupleRow], meta: str, schema: str, epoch: int) -> None:
    """Give the lease up; another owner's is left alone."""
    cur.execute(
        query(
            "UPDATE {meta}.schema_leases SET heartbeat_at = NULL"
            " WHERE schema_name = %s AND epoch = %s",
            meta,
        ),
        (schema, epoch),
    )


def end_former(cur: Cursor[TupleRow], applications: list[str]) -> None:
    """End the open transactions of a former owner's connections.

    A frozen process may have locked rows that the next owner would wait for without
    end. Its connections are known by role, database and application name together.
    """
    cur.execute(
        """
        SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
        WHERE application_name = ANY(%s) AND usename = current_user
          AND datname = current_database() AND xact_start IS NOT NULL
          AND pid <> pg_catalog.pg_backend_pid()
        """,
        (applications,),
    )
