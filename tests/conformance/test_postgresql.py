"""Our destination passes the suite that is shipped, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from cartridge_warp import embedded
from cartridge_warp.config import DestinationSettings, SchemaSettings
from cartridge_warp.conformance.destination import (
    AuditedDeletes,
    BatchMode,
    Connections,
    CountedLetters,
    DestinationSuite,
    Locks,
    RefusedRows,
    ResyncsInPlace,
    RewrittenKeys,
    SharedCopies,
    SoftDeletes,
    WorksAhead,
)
from cartridge_warp.conformance.destination.hooks import Rows
from cartridge_warp.model import Table
from cartridge_warp.postgresql import requests
from cartridge_warp.postgresql.destination import PostgresDestination
from fix_servers import fresh_database


class TestPostgresDestination(
    DestinationSuite,
    RefusedRows,
    RewrittenKeys,
    SoftDeletes,
    AuditedDeletes,
    BatchMode,
    WorksAhead,
    ResyncsInPlace,
    Locks,
    Connections,
    CountedLetters,
    SharedCopies,
):
    @pytest.fixture
    def place(self, postgres_uri: str) -> None:
        self.uri = postgres_uri

    def connect(self) -> PostgresDestination:
        return PostgresDestination(
            DestinationSettings(connection_string=self.uri),
            SchemaSettings(name="shop", database="shop"),
        )

    def rows(self, table: Table) -> Rows:
        query = sql.SQL("SELECT _id::text AS the_key, * FROM {}").format(_name(table))
        with psycopg.connect(self.uri, row_factory=dict_row) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            return {row["the_key"]: row for row in connection.execute(query)}

    def silence(self) -> None:
        self.execute(
            "UPDATE cartridge_warp_metadata.schema_leases"
            " SET heartbeat_at = now() - '6s'::interval"
        )

    def silence_workers(self) -> None:
        self.execute(
            "UPDATE cartridge_warp_metadata.copy_workers"
            " SET heartbeat_at = now() - '6s'::interval"
        )

    def forbid(self, table: Table, note: str) -> None:
        query = sql.SQL("ALTER TABLE {} ADD CHECK (note <> {})")
        self.execute(query.format(_name(table), sql.Literal(note)))

    def ask(self, table: Table) -> None:
        requests.ask_resync(
            DestinationSettings(connection_string=self.uri), table.schema, [table.name]
        )

    def audited(self, table: Table) -> Sequence[Mapping[str, Any]]:
        with psycopg.connect(self.uri) as connection:
            rows = connection.execute(
                "SELECT last_row FROM cartridge_warp_metadata.deletion_audit"
                " WHERE table_name = %s",
                (table.name,),
            ).fetchall()
        return [row for (row,) in rows]

    @contextmanager
    def locked(self, table: Table) -> Iterator[None]:
        query = sql.SQL("SELECT count(*) FROM {}").format(_name(table))
        with psycopg.connect(self.uri) as connection:
            connection.execute(query)
            yield

    def disconnect(self) -> None:
        self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'cartridge-warp %'"
            " AND datname = current_database()"
        )

    def execute(self, query: sql.Composed | LiteralString) -> None:
        with psycopg.connect(self.uri) as connection:
            connection.execute(query)


@pytest.mark.slow
class TestEachPostgresDestination(TestPostgresDestination):
    """The same on every PostgreSQL that this machine has."""

    @pytest.fixture
    def place(self, each_postgres: embedded.PostgresServer) -> Iterator[None]:
        with fresh_database(each_postgres) as self.uri:
            yield


def _name(table: Table) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)
