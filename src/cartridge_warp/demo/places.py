"""Where the demo happens: directories, servers and databases, its own or given ones."""

from __future__ import annotations

import fcntl
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import psycopg
import pymongo
from psycopg import sql

from .. import embedded
from ..errors import ConfigError

NAME = "demo"


class Place(NamedTuple):
    """Both ends. ``schema`` is the MongoDB database's name and the schema's.

    home: a directory for logs, which goes when the servers' data goes.
    reused: an earlier demo's data was there already.
    """

    source: str
    destination: str
    schema: str
    mongo: pymongo.MongoClient[dict[str, Any]]
    postgres: psycopg.Connection
    home: Path
    reused: bool

    def versions(self) -> str:
        info = self.postgres.info.server_version
        mongo = self.mongo.server_info()["version"]
        return f"MongoDB {mongo} and PostgreSQL {info // 10000}.{info % 10000}"


def _holds_a_demo(keep: Path) -> bool:
    """Or nothing yet? Raises ConfigError where no demo can be."""
    hint = "give --keep a new directory"
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if not any(keep.iterdir()):
            return False
        lock = keep / "mongodb" / "mongod.lock"
        if lock.exists():
            with lock.open("r+") as file:
                _let_go(file, keep)
    except OSError as error:
        raise ConfigError(f"--keep {keep}: {error.strerror}", hint=hint) from error
    if not ((keep / "mongodb").is_dir() and (keep / "postgresql").is_dir()):
        raise ConfigError(f"{keep} is not empty and not an earlier demo's", hint=hint)
    return True


def _let_go(file: IO[str], keep: Path) -> None:
    """Raises ConfigError while a mongod holds its lock file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = file.read().strip()
        raise ConfigError(
            f"{keep} is in use by another demo (its mongod has pid {pid})",
            hint="end that one, or give --keep another directory",
        ) from error


@contextmanager
def opened(keep: Path | None) -> Iterator[Place]:
    """Start both servers, or use those of the environment, and clean up after.

    keep: the directory of their data, reused when it is an earlier demo's. Raises
    ConfigError when it holds something else, PreconditionError without servers.
    """
    reused = False
    if keep is not None:
        keep = keep.absolute()
        reused = _holds_a_demo(keep)
    with ExitStack() as stack:
        mongo = stack.enter_context(embedded.mongod(keep))
        server = stack.enter_context(embedded.postgres(keep))
        home = mongo.directory or server.directory or _temporary(stack)
        # Beside other people's data, a name that nobody has.
        theirs = mongo.pid is None or server.pid is None
        name = f"{NAME}_{secrets.token_hex(4)}" if theirs else NAME
        client = stack.enter_context(
            pymongo.MongoClient[dict[str, Any]](
                mongo.uri,
                tz_aware=True,
                uuidRepresentation="standard",
                datetime_conversion="DATETIME_AUTO",
            )
        )
        if mongo.pid is None:
            stack.callback(client.drop_database, name)
        uri = _database(stack, server, name)
        connection = stack.enter_context(psycopg.connect(uri, autocommit=True))
        yield Place(
            source=embedded.with_database(mongo.uri, name),
            destination=uri,
            schema=name,
            mongo=client,
            postgres=connection,
            home=home,
            reused=reused,
        )


def _temporary(stack: ExitStack) -> Path:
    home = Path(tempfile.mkdtemp(prefix="cwarp-demo-"))
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    return home


def _database(stack: ExitStack, server: embedded.PostgresServer, name: str) -> str:
    """The URI of the demo's own database; dropped afterwards on a server not ours."""
    identifier = sql.Identifier(name)
    with psycopg.connect(server.uri, autocommit=True) as connection:
        there = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", (name,)
        ).fetchone()
        if not there:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))

    def drop() -> None:
        with psycopg.connect(server.uri, autocommit=True) as connection:
            command = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(command.format(identifier))

    if server.pid is None:
        stack.callback(drop)
    return embedded.with_database(server.uri, name)
