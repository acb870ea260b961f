"""``cwarp status``: from any machine, with the PostgreSQL connection string alone."""

from __future__ import annotations

from ..config import DestinationSettings
from ..metadata import status
from .connection import Link, application_name


def read(settings: DestinationSettings) -> tuple[status.SchemaStatus, ...]:
    """The state of every schema in this metadata; nobody's ownership is touched.

    Raises ConfigError, DestinationUnavailable, PreconditionError (newer layout).
    """
    link = Link(settings, application_name("status", ""))
    try:
        with link.transaction() as cur:
            return status.read(cur, settings.metadata_schema)
    finally:
        link.drop()
