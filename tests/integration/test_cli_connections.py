"""What a person reads when a server does not let cwarp in: why, and the way out."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pymongo.errors
import pytest
from pymongo.database import Database

from cartridge_warp import embedded
from tests.command import (
    PASSWORD,
    assert_refused,
    command,
    cwarp,
    environment,
    schemas_in,
    sync,
)
from tests.integration.test_cli_bad_input import free_port, lone_mongod


@pytest.fixture
def shop_uri(mongo_db: Database[dict[str, Any]], mongo_uri: str) -> str:
    mongo_db.orders.insert_one({"_id": 1})
    return embedded.with_database(mongo_uri, mongo_db.name)


# --- PostgreSQL ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[embedded.PostgresServer]:
    """A server with a role for every way to be refused; ``app`` needs a password."""
    with embedded.postgres(own=True, fsync=False) as server:
        assert server.directory is not None
        rules = server.directory / "postgresql" / "pg_hba.conf"
        rules.write_text(
            "host all app 127.0.0.1/32 scram-sha-256\n"
            "host all outcast 127.0.0.1/32 reject\n" + rules.read_text()
        )
        with psycopg.connect(server.uri, autocommit=True) as connection:
            for statement in (
                "SET password_encryption = 'scram-sha-256'",
                f"CREATE ROLE app LOGIN PASSWORD 'not-{PASSWORD}'",
                "CREATE ROLE outcast LOGIN",
                "CREATE ROLE sleeper",
                "CREATE ROLE crowd LOGIN CONNECTION LIMIT 0",
                "CREATE ROLE guest LOGIN",
                "CREATE DATABASE private",
                "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
                "SELECT pg_reload_conf()",
            ):
                connection.execute(statement)
        _until_refused(f"postgresql://app:wrong@127.0.0.1:{server.port}/postgres")
        yield server


def _until_refused(uri: str) -> None:
    """A reload takes effect a moment later."""
    for _ in range(100):
        try:
            psycopg.connect(uri, connect_timeout=5).close()
        except psycopg.OperationalError:
            return
        time.sleep(0.1)
    pytest.fail("the server still trusts everybody")


@pytest.mark.parametrize(
    ("login", "place", "why", "hint"),
    [
        (
            f"app:{PASSWORD}@",
            "postgres",
            "password authentication failed",
            "hint: check user and password",
        ),
        ("app@", "postgres", "no password supplied", "hint: the server asks for a"),
        ("ghost@", "postgres", 'role "ghost" does not exist', "{at} ghost)"),
        ("sleeper@", "postgres", "not permitted to log in", 'ALTER ROLE "sleeper"'),
        ("outcast@", "postgres", "rejects connection", "a line of the server's pg_hba"),
        ("postgres@", "shop", 'database "shop" does not exist', "(createdb {at} shop)"),
        ("guest@", "private", "permission denied", 'GRANT CONNECT ON DATABASE "priv'),
        ("crowd@", "postgres", "too many connections", "max_connections"),
        ("postgres@", "postgres?sslmode=require", "SSL", "take sslmode=require out"),
    ],
    ids=lambda value: value.split(":")[0].replace("?", " "),
)
def test_postgresql_refuses(
    guarded: embedded.PostgresServer,
    shop_uri: str,
    login: str,
    place: str,
    why: str,
    hint: str,
) -> None:
    uri = f"postgresql://{login}127.0.0.1:{guarded.port}/{place}"
    way_out = hint.format(at=f"-h 127.0.0.1 -p {guarded.port}")
    assert_refused(sync(shop_uri, uri, "--once"), 3, why, way_out)
    assert_refused(cwarp("status", uri), 3, why, way_out)
    assert schemas_in(guarded.uri) == set()


def test_every_connection_is_taken(shop_uri: str) -> None:
    with embedded.postgres(own=True, fsync=False) as server:
        with psycopg.connect(server.uri, autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN")
            connection.execute("GRANT CREATE ON DATABASE postgres TO app")
            row = connection.execute("SHOW max_connections").fetchone()
            assert row is not None
        uri = f"postgresql://app@127.0.0.1:{server.port}/postgres"
        with contextlib.ExitStack() as taken:
            with contextlib.suppress(psycopg.OperationalError):
                for _ in range(int(row[0]) + 1):
                    taken.enter_context(psycopg.connect(uri))
                pytest.fail("there was room for all of them")
            ended = sync(shop_uri, uri, "--once")
    assert_refused(ended, 3, "connection", "end connections that are not needed")


def test_postgresql_is_not_there(shop_uri: str) -> None:
    port = free_port()
    uri = f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/db"
    where = f"check that PostgreSQL is running at 127.0.0.1:{port}"
    assert_refused(sync(shop_uri, uri, "--once"), 3, "refused", where)
    assert_refused(cwarp("status", uri), 3, "refused", where)


def test_postgresql_says_nothing(shop_uri: str) -> None:
    """A port where something listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ended = sync(
            *(shop_uri, f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/db", "--once"),
            env={"CARTRIDGE_WARP_DESTINATION__CONNECTION_TIMEOUT": "2"},
        )
    assert_refused(ended, 3, "timeout", f"is running at 127.0.0.1:{port}")


def test_a_host_that_nobody_knows(shop_uri: str) -> None:
    ended = sync(shop_uri, "postgresql://nobody.invalid/db", "--once")
    assert_refused(ended, 3, "nobody.invalid", "check host and port")


# --- MongoDB ------------------------------------------------------------------------


#: Do not wait the usual ten seconds for a server that will not come.
HURRY = {"CARTRIDGE_WARP_SOURCE__CONNECTION_TIMEOUT": "2"}


def initiate(client: pymongo.MongoClient[dict[str, Any]], port: int) -> None:
    """Make a server started with ``--replSet=rs0`` the primary of its own set."""
    members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
    client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
    for _ in range(300):
        if client.admin.command("hello")["isWritablePrimary"]:
            return
        time.sleep(0.1)
    pytest.fail("no primary after 30 s")


@pytest.fixture(scope="module")
def locked_mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a replica set that wants to know who asks; ``reader`` may read."""
    home: Path = tmp_path_factory.mktemp("locked")
    key = home / "key"
    key.write_text("aKeyOfTheMembers")
    key.chmod(0o600)
    with lone_mongod(home / "db", "--replSet=rs0", "--keyFile", str(key)) as port:
        with pymongo.MongoClient[dict[str, Any]](
            port=port, directConnection=True
        ) as client:
            initiate(client, port)
            client.admin.command("createUser", "root", pwd="root", roles=["root"])
        uri = f"mongodb://root:root@127.0.0.1:{port}/?directConnection=true"
        with pymongo.MongoClient[dict[str, Any]](uri) as client:
            roles = [{"role": "read", "db": "elsewhere"}]
            client.admin.command("createUser", "reader", pwd=PASSWORD, roles=roles)
        yield port


def test_mongodb_wants_credentials_and_there_are_none(
    locked_mongo: int, postgres_uri: str
) -> None:
    uri = f"mongodb://127.0.0.1:{locked_mongo}/shop"
    assert_refused(
        sync(uri, postgres_uri, "--once"),
        *(3, "requires authentication", "names no user"),
        "hint: write mongodb://USER:PASSWORD@HOST:27017/DATABASE",
    )
    assert schemas_in(postgres_uri) == set()


def test_mongodb_does_not_know_the_password(
    locked_mongo: int, postgres_uri: str
) -> None:
    uri = f"mongodb://other:{PASSWORD}@127.0.0.1:{locked_mongo}/shop?authSource=admin"
    ended = sync(uri, postgres_uri, "--once")
    assert_refused(ended, 3, "authentication failed", "authSource")


def test_mongodb_knows_the_user_who_may_not_read(
    locked_mongo: int, postgres_uri: str
) -> None:
    uri = f"mongodb://reader:{PASSWORD}@127.0.0.1:{locked_mongo}/shop?authSource=admin"
    ended = sync(uri, postgres_uri, "--once")
    assert_refused(ended, 3, "may not read or follow the database shop", "grantRoles")


def test_mongodb_is_not_there(postgres_uri: str) -> None:
    port = free_port()
    ended = sync(
        *(f"mongodb://u:{PASSWORD}@127.0.0.1:{port}/shop", postgres_uri, "--once"),
        env=HURRY,
    )
    assert_refused(ended, 3, f"cannot be reached at 127.0.0.1:{port}", "is running")
    assert schemas_in(postgres_uri) == set()


def test_the_replica_set_has_another_name(mongo_uri: str, postgres_uri: str) -> None:
    uri = embedded.with_database(mongo_uri, "shop").replace("=rs0", "=rs1")
    ended = sync(uri, postgres_uri, "--once", env=HURRY)
    assert_refused(ended, 3, "no server is a member of the replica set", "replicaSet")


@pytest.mark.parametrize("option", ["", "?directConnection=true"])
def test_the_replica_set_was_never_initiated(
    tmp_path: Path, postgres_uri: str, option: str
) -> None:
    with lone_mongod(tmp_path / "db", "--replSet=rs0") as port:
        uri = f"mongodb://127.0.0.1:{port}/shop{option}"
        ended = sync(uri, postgres_uri, "--once", env=HURRY)
    assert_refused(ended, 3, "never initiated", "hint: run rs.initiate() once")


def test_a_replica_set_without_a_primary(tmp_path: Path, postgres_uri: str) -> None:
    """Its only member is told to stay a secondary."""
    with lone_mongod(tmp_path / "db", "--replSet=rs0") as port:
        with pymongo.MongoClient[dict[str, Any]](
            port=port, directConnection=True
        ) as client:
            initiate(client, port)
            client.admin.command("replSetStepDown", 60, force=True)
        uri = f"mongodb://127.0.0.1:{port}/shop"
        ended = sync(uri, postgres_uri, "--once", env=HURRY)
    assert_refused(ended, 3, f"has no primary: 127.0.0.1:{port}", "election")


def test_a_name_service_that_does_not_know_it(postgres_uri: str) -> None:
    ended = sync("mongodb+srv://nobody.invalid/shop", postgres_uri, "--once", env=HURRY)
    assert_refused(ended, 3, "ConfigurationError", "mongodb+srv://")


# --- nothing else is shown ----------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["--log-format=json"],
        ["--log-format=text"],
        ["--progress=json"],
        ["--progress=live"],
        ["--config=warp.yaml", "--mode=single"],
    ],
    ids=" ".join,
)
def test_only_the_error_is_shown(
    shop_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("warp.yaml").write_text("monitoring: {log_level: INFO}\n")
    ended = sync(shop_uri, f"postgresql://127.0.0.1:{free_port()}/db", *options)
    ended = ended._replace(out=re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\s", "", ended.out))
    assert_refused(ended, 3, "refused")


def test_a_table_of_somebody_else(shop_uri: str, postgres_uri: str) -> None:
    """A refusal that comes late, after the schema was taken over."""
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute("CREATE TABLE shop.orders (mine int)")
    ended = sync(shop_uri, postgres_uri, "--schema=shop", "--once")
    assert_refused(ended, 3, "shop.orders exists already", "rename or drop it")


def test_a_terminal_shows_the_error_alone(shop_uri: str) -> None:
    leader, follower = pty.openpty()
    port = free_port()
    process = subprocess.Popen(
        command(
            *("sync", shop_uri, f"postgresql://127.0.0.1:{port}/db"),
            *("--metrics-port=0", "--health-port=0"),
        ),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment({"TERM": "xterm-256color", "COLUMNS": "200", "LINES": "40"}),
    )
    os.close(follower)
    seen = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while data := os.read(leader, 65536):
            seen += data
    os.close(leader)
    assert process.wait(60) == 3
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 2, lines
    assert lines[0].startswith("error: cannot connect to PostgreSQL")
    assert lines[1].startswith("hint: ")


def test_what_was_held_is_shown_once_it_works(shop_uri: str, postgres_uri: str) -> None:
    """The other half: a start that succeeds loses no line."""
    ended = sync(shop_uri, postgres_uri, "--schema=shop", "--once")
    assert ended.code == 0
    assert ended.err.count('"event": "serving http"') == 2
    assert "starting with a first copy" in ended.err
    again = sync(shop_uri, postgres_uri, "--schema=shop", "--once")
    assert "going on where the last run ended" in again.err
