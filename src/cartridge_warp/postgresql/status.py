"""``cwarp status``: from any machine, with the PostgreSQL connection string alone."""

from __future__ import annotations

import psycopg
from psycopg import sql

from ..config import DestinationSettings
from ..errors import PreconditionError
from ..metadata import status
from .connection import Link, application_name


def read(settings: DestinationSettings) -> tuple[status.SchemaStatus, ...]:
    """The state of every schema in this metadata; nobody's ownership is touched.

    Needs no right but USAGE on the metadata schema and SELECT on its tables. Raises
    ConfigError, DestinationUnavailable, PreconditionError (a right is missing, or the
    layout is newer).
    """
    link = Link(settings, application_name("status", ""))
    try:
        with link.transaction(read_only=True) as cur:
            try:
                return status.read(cur, settings.metadata_schema)
            except psycopg.errors.InsufficientPrivilege as error:
                raise _forbidden(settings.metadata_schema, cur) from error
    finally:
        link.drop()


def _forbidden(meta: str, cur: psycopg.Cursor) -> PreconditionError:
    role = cur.connection.info.user
    schema, to = (sql.Identifier(name).as_string(None) for name in (meta, role))
    return PreconditionError(
        f"role {role} may not read the metadata schema {meta}",
        hint=f"GRANT USAGE ON SCHEMA {schema} TO {to}; "
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {to};",
    )
