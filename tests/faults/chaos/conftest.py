"""The stage of a run of chaos: a PostgreSQL of its own, and a proxy before each end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymongo
import pytest

from own_postgres import OwnPostgres


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[OwnPostgres]:
    """Room for two processes of two schemas, and for those that look."""
    with OwnPostgres("-c", "max_connections=120") as server:
        yield server


@pytest.fixture
def other_db(
    mongo_client: pymongo.MongoClient[dict[str, Any]],
    mongo_db: pymongo.database.Database[dict[str, Any]],
) -> Iterator[pymongo.database.Database[dict[str, Any]]]:
    """A second database, dropped afterwards."""
    name = f"{mongo_db.name}_other"
    yield mongo_client[name]
    mongo_client.drop_database(name)
