"""``cwarp resync``: asks a schema's owner, whoever and wherever that is."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import DestinationSettings
from ..metadata import registry, signals
from . import catalog
from .connection import Link, application_name


def ask_resync(
    settings: DestinationSettings, schema: str, tables: Sequence[str]
) -> None:
    """Store the wish that these tables, by their names, be resynced.

    Nobody's ownership is touched. Raises PreconditionError when one was changed
    outside, DestinationError.
    """
    meta = settings.metadata_schema
    link = Link(settings, application_name("requests", schema))
    try:
        with link.transaction() as cur:
            known = [state.table for state in registry.tables(cur, meta, schema)]
            asked = [table for table in known if table.name in tables]
            catalog.check(cur, schema, asked, exact=True)
            signals.ask(cur, meta, schema, [table.name for table in asked])
    finally:
        link.drop()
