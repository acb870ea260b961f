"""The engine between two real servers, in this process, and the judge beside it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import psycopg
import pytest
from pymongo.database import Database

from cartridge_warp import config, embedded
from cartridge_warp.engine import runner
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal
from cartridge_warp.engine.views import Counts, SchemaView, TableView
from tests.comparer import Difference, compare

SCHEMA = "shop"

#: Long enough for a slow machine; a test that needs it all has failed.
PATIENCE = 40.0


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Ask until it is so; fail the test when it never is."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(f"never happened: {what}")
        time.sleep(0.05)


class Running(NamedTuple):
    """A sync that follows the stream in a thread of its own."""

    progress: Progress
    stop: StopSignal

    def schema(self) -> SchemaView:
        return self.progress.snapshot().schemas[0]

    def table(self, collection: str) -> TableView:
        return table_of(self.schema(), collection)


class Shop:
    """A MongoDB database and the PostgreSQL schema it is synced into."""

    def __init__(
        self, database: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str
    ) -> None:
        self.db = database
        self.source_uri = embedded.with_database(mongo_uri, database.name)
        self.postgres_uri = postgres_uri
        #: More settings of the source.
        self.source: dict[str, object] = {}

    def settings(self, **schema: object) -> config.Settings:
        """``schema``: settings of the one schema, besides its name."""
        settings: Mapping[str, object] = {
            "mode": "single",
            "source.connection_string": self.source_uri,
            **{f"source.{name}": value for name, value in self.source.items()},
            "destination.connection_string": self.postgres_uri,
            "schemas": [{"name": SCHEMA, "database": self.db.name, **schema}],
        }
        return config.load(None, settings, {})

    def once(self, *, full_resync: bool = False, **schema: object) -> SchemaView:
        """Copy, catch up, end."""
        progress = Progress()
        code = runner.run(
            self.settings(**schema),
            once=True,
            progress=progress,
            stop=StopSignal(),
            full_resync=full_resync,
        )
        assert code == 0
        (view,) = progress.snapshot().schemas
        check_conservation(view)
        return view

    @contextlib.contextmanager
    def running(self, **schema: object) -> Iterator[Running]:
        """Sync until the end of the block; an error of the sync fails the test."""
        run = Running(Progress(), StopSignal())
        errors: list[BaseException] = []

        def work() -> None:
            try:
                runner.run(
                    self.settings(**schema),
                    once=False,
                    progress=run.progress,
                    stop=run.stop,
                )
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, name="sync")
        thread.start()
        try:
            wait_until(
                lambda: (
                    bool(errors)
                    or any(
                        each.phase in ("streaming", "reading", "waiting")
                        for each in run.progress.snapshot().schemas
                    )
                ),
                "the stream, or batch mode, starts",
            )
            yield run
        finally:
            run.stop.request()
            thread.join(PATIENCE)
            if errors:  # rather than whatever it made the test see
                raise errors[0]
        assert not thread.is_alive()
        check_conservation(run.schema())

    def differences(
        self, collection: str, table: str | None = None
    ) -> list[Difference]:
        with psycopg.connect(self.postgres_uri) as connection:
            # One moment for the structure and the rows.
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            return compare(self.db[collection], connection, SCHEMA, table or collection)

    def becomes_equal(self, collection: str, table: str | None = None) -> None:
        """Wait until the table is its collection."""

        def equal() -> bool:
            try:
                return not self.differences(collection, table)
            except (LookupError, psycopg.errors.UndefinedTable):
                return False  # nobody made it yet

        wait_until(equal, f"{collection} equals its table")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres_uri) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload]

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.postgres_uri) as connection:
            connection.execute(statement.encode())

    def columns(self, table: str) -> set[str]:
        """The columns that documents feed."""
        return {
            name
            for (name,) in self.rows(
                "SELECT column_name FROM information_schema.columns"
                f" WHERE table_schema = '{SCHEMA}' AND table_name = '{table}'"
            )
            if not name.startswith("_cwarp_")
        }


def table_of(view: SchemaView, collection: str) -> TableView:
    return next(each for each in view.tables if each.collection == collection)


def check_conservation(view: SchemaView) -> None:
    """Every document and event that came in went somewhere."""
    for table in view.tables:
        counts: Counts = table.counts
        assert counts.read == (
            counts.copied
            + counts.applied
            + counts.superseded
            + counts.dead_letters
            + counts.ignored
        ), table
