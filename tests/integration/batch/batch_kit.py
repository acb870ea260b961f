"""What the tests of batch mode share: dates, and a shop that is read in passes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from cartridge_warp.engine.views import SchemaView, TableView
from engine_kit import SCHEMA, Shop, table_of

META = "cartridge_warp_metadata"

#: The day of every document that has no other; long before any clock of a server.
T0 = datetime(2024, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class BatchShop(Shop):
    """A shop whose tables are all of batch mode, unless a setting says otherwise."""

    def settings(self, **schema: object) -> Any:
        return super().settings(**{"mode": "batch", **schema})

    def orders(self, **schema: object) -> TableView:
        """One pass; what became of ``orders``."""
        return table_of(self.once(**schema), "orders")

    def marker(self, table: str = "orders") -> Mapping[str, Any]:
        names = "seq column_name value last_key value_time passes unread".split()
        (row,) = self.rows(
            f"SELECT {', '.join(names)} FROM {META}.batch_markers"
            f" WHERE table_name = '{table}'"
        )
        return dict(zip(names, row, strict=True))

    def errors(self) -> list[tuple[Any, ...]]:
        return self.rows(
            f"SELECT table_name, kind, count FROM {META}.error_log ORDER BY error_id"
        )

    @contextlib.contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Nobody else reads or writes the table."""
        with psycopg.connect(self.postgres_uri) as connection:
            connection.execute(f"LOCK TABLE {SCHEMA}.{table}".encode())
            yield

    def sees(self, **schema: object) -> SchemaView:
        """One pass, after which ``orders`` is its collection."""
        view = self.once(**schema)
        assert self.differences("orders") == []
        return view
