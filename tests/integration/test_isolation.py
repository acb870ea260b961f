"""Four schemas in one process: what one of them suffers is its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient, UpdateOne
from pymongo.database import Database

from cartridge_warp import config
from cartridge_warp.engine import runner
from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.signals import StopSignal
from cartridge_warp.engine.views import SchemaView
from engine_kit import PATIENCE, table_of, wait_until
from mongodb_kit import failing
from tests.comparer import compare

pytestmark = pytest.mark.faults

Client = MongoClient[dict[str, Any]]

SCHEMAS = ("one", "two", "three", "broken")
BROKEN = "broken"
DOCUMENTS = 50
#: Each takes a commit of its own, at least.
ROUNDS = 20


class Four:
    """As many databases, synced by one process into schemas of one PostgreSQL."""

    def __init__(self, client: Client, prefix: str, mongo: str, postgres: str) -> None:
        self.client = client
        self.postgres = postgres
        self._mongo = mongo
        self.databases = {name: client[f"{prefix}_{name}"] for name in SCHEMAS}
        self.progress = Progress()
        for database in self.databases.values():
            database["orders"].insert_many(
                [{"_id": number, "n": 0} for number in range(DOCUMENTS)]
            )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sync them all; every one of them ends well."""
        stop, codes = StopSignal(), list[int]()
        values = {
            "mode": "multi",
            "source.connection_string": self._mongo,
            "destination.connection_string": self.postgres,
            "error_handling.max_backoff_seconds": 0.2,
            "schemas": [
                {"name": name, "database": database.name}
                for name, database in self.databases.items()
            ],
        }
        settings = config.load(None, values, {})

        def work() -> None:
            codes.append(
                runner.run(settings, once=False, progress=self.progress, stop=stop)
            )

        thread = threading.Thread(target=work, name="sync")
        thread.start()
        try:
            yield
        finally:
            stop.request()
            thread.join(PATIENCE)
        assert codes == [0]

    def view(self, schema: str) -> SchemaView:
        views = self.progress.snapshot().schemas
        return next(each for each in views if each.name == schema)

    def write(self, number: int) -> None:
        """Every document of every database has this number."""
        for database in self.databases.values():
            database["orders"].bulk_write(
                [
                    UpdateOne({"_id": each}, {"$set": {"n": number}})
                    for each in range(DOCUMENTS)
                ]
            )

    def numbers(self, schema: str) -> set[int]:
        try:
            with psycopg.connect(self.postgres) as connection:
                query = f"SELECT DISTINCT n FROM {schema}.orders"
                rows = connection.execute(query.encode()).fetchall()
        except psycopg.errors.UndefinedTable:
            return set()
        return {number for (number,) in rows}

    def applied(self, schema: str) -> int:
        return table_of(self.view(schema), "orders").counts.applied

    def arrives(self, number: int, *schemas: str) -> None:
        for schema in schemas:
            wait_until(
                lambda: self.numbers(schema) == {number},  # noqa: B023  waited for now
                f"{number} arrives in {schema}",
            )

    def equal(self, schema: str) -> bool:
        with psycopg.connect(self.postgres) as connection:
            orders = self.databases[schema]["orders"]
            return compare(orders, connection, schema, "orders") == []


@pytest.fixture
def four(
    mongo_client: Client,
    mongo_db: Database[dict[str, Any]],
    mongo_uri: str,
    postgres_uri: str,
) -> Iterator[Four]:
    made = Four(mongo_client, mongo_db.name, mongo_uri, postgres_uri)
    yield made
    for database in made.databases.values():
        mongo_client.drop_database(database)


def source_fails(four: Four) -> AbstractContextManager[None]:
    """About every second attempt to read one database's stream."""
    return failing(
        four.client,
        {"activationProbability": 0.5},  # type: ignore[dict-item]
        failCommands=["aggregate", "getMore"],
        namespace=f"{four.databases[BROKEN].name}.$cmd.aggregate",
        closeConnection=True,
    )


def source_is_slow(four: Four) -> AbstractContextManager[None]:
    """Each reply of one database's stream takes longer than the test."""
    return failing(
        four.client,
        {"activationProbability": 1.0},  # type: ignore[dict-item]
        failCommands=["aggregate", "getMore"],
        namespace=f"{four.databases[BROKEN].name}.$cmd.aggregate",
        blockConnection=True,
        blockTimeMS=10_000,
    )


FAILS = """
CREATE SEQUENCE public.attempts;
CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.attempts') % 2 = 1 THEN
        RAISE 'every second time' USING ERRCODE = '40001';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fail AFTER INSERT OR UPDATE ON broken.orders
FOR EACH STATEMENT EXECUTE FUNCTION public.fail();
"""


@contextmanager
def destination_fails(four: Four) -> Iterator[None]:
    """Every second attempt to write one schema's table."""
    with psycopg.connect(four.postgres) as connection:
        connection.execute(FAILS)
    yield
    with psycopg.connect(four.postgres) as connection:
        connection.execute("DROP TRIGGER fail ON broken.orders")


@contextmanager
def destination_hangs(four: Four) -> Iterator[None]:
    """One schema's table is locked all the while."""
    with psycopg.connect(four.postgres) as connection:
        connection.execute("LOCK TABLE broken.orders IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.mark.parametrize(
    ("suffers", "retries"),
    [
        (source_fails, True),
        (destination_fails, True),
        (source_is_slow, False),
        (destination_hangs, False),
    ],
)
def test_what_one_suffers_delays_no_other(
    four: Four, suffers: Callable[[Four], AbstractContextManager[None]], retries: bool
) -> None:
    """The others' changes arrive, and they lag behind nothing, while it suffers."""
    others = [name for name in SCHEMAS if name != BROKEN]
    with four.running():
        four.arrives(0, *SCHEMAS)
        with suffers(four):
            for number in range(1, ROUNDS + 1):
                four.write(number)
                four.arrives(number, *others)
            if retries:
                wait_until(lambda: four.view(BROKEN).retries > 3, "one of them fails")
            else:
                assert four.applied(BROKEN) < min(map(four.applied, others))
            for name in others:
                wait_until(
                    lambda: four.view(name).lag_seconds == 0,  # noqa: B023
                    f"{name} has nothing left to do",
                )
                assert four.view(name).retries == 0
                assert four.view(name).connected
        four.arrives(ROUNDS, BROKEN)
        assert all(map(four.equal, SCHEMAS))
