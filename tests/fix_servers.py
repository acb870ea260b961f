"""One mongod and one PostgreSQL a session, a fresh database a test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pymongo
import pytest
from psycopg import sql
from pymongo.database import Database

from cartridge_warp import embedded


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[embedded.MongoServer]:
    """A single-node replica set that obeys ``failCommand``."""
    with embedded.mongod(test_commands=True) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[embedded.PostgresServer]:
    with embedded.postgres(fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def mongo_client(
    mongo_server: embedded.MongoServer,
) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    """Dates aware, UUIDs as ``uuid.UUID``."""
    with pymongo.MongoClient[dict[str, Any]](
        mongo_server.uri, tz_aware=True, uuidRepresentation="standard"
    ) as client:
        yield client


@pytest.fixture
def mongo_uri(mongo_server: embedded.MongoServer) -> str:
    """The server's URI, without a database."""
    return mongo_server.uri


@pytest.fixture
def mongo_db(
    mongo_client: pymongo.MongoClient[dict[str, Any]],
) -> Iterator[Database[dict[str, Any]]]:
    """A database of its own name, dropped afterwards."""
    database = mongo_client[f"test_{secrets.token_hex(6)}"]
    yield database
    mongo_client.drop_database(database)


@pytest.fixture
def postgres_uri(postgres_server: embedded.PostgresServer) -> Iterator[str]:
    """The URI of an empty database, dropped afterwards whoever is connected."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server.uri, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield embedded.with_database(postgres_server.uri, name)
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                sql.Identifier(name)
            )
        )
