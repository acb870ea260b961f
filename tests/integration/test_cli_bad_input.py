"""What a person gets wrong: one clear line, exit 2 or 3, and nothing half-made."""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pymongo.errors
import pytest
from psycopg import sql
from pymongo.database import Database

from cartridge_warp import embedded
from tests.command import PASSWORD, assert_refused, cwarp, schemas_in, sync


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]]) -> Database[dict[str, Any]]:
    mongo_db.orders.insert_many([{"_id": n, "total": n * 2} for n in range(10)])
    mongo_db.users.insert_one({"_id": 1, "name": "Ada"})
    return mongo_db


@pytest.fixture
def shop_uri(shop: Database[dict[str, Any]], mongo_uri: str) -> str:
    return embedded.with_database(mongo_uri, shop.name)


@contextmanager
def lone_mongod(directory: Path, *arguments: str) -> Iterator[int]:
    """A mongod that is no replica set; yields its port."""
    port = free_port()
    directory.mkdir()
    server = subprocess.Popen(
        [
            *(str(embedded.find_mongod()), "--dbpath", str(directory)),
            *("--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"),
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
            *("--wiredTigerCacheSizeGB", "0.25", "--quiet", *arguments),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        with pymongo.MongoClient[dict[str, Any]](
            port=port, directConnection=True, serverSelectionTimeoutMS=30_000
        ) as client:
            client.admin.command("hello")
        yield port
    finally:
        server.terminate()
        server.wait(30)


# --- what is wrong before any server is asked ---------------------------------------


@pytest.mark.parametrize("verb", [["config", "validate"], ["sync", "--config"]])
def test_a_connector_that_is_not_installed(tmp_path: Path, verb: list[str]) -> None:
    file = tmp_path / "warp.yaml"
    file.write_text(
        "source: {connection_string: 'mongodb://127.0.0.1:1/shop', database: shop}\n"
        "destination:\n  type: postgres\n  connection_string: postgresql://127.0.0.1:1/x"
    )
    assert_refused(
        cwarp(*verb, str(file)),
        2,
        f"{file}:3 destination.type: no connector is called postgres",
        "did you mean postgresql?",
        "installed: ",
    )


@pytest.mark.parametrize("verb", [["config", "validate"], ["sync", "--config"]])
def test_filters_that_select_nothing(tmp_path: Path, verb: list[str]) -> None:
    file = tmp_path / "warp.yaml"
    file.write_text(
        "source: {connection_string: 'mongodb://127.0.0.1:1/shop'}\n"
        "destination: {connection_string: 'postgresql://127.0.0.1:1/x'}\n"
        "schemas: [{name: a, table_whitelist: [orders]}]\n"
        "global_table_blacklist: [orders]"
    )
    assert_refused(
        cwarp(*verb, str(file)),
        2,
        f"{file}:3 schemas[0].table_whitelist: selects orders alone, which "
        "global_table_blacklist leaves out",
        "take orders out of global_table_blacklist",
    )


@pytest.mark.parametrize("verb", [["status"], ["resync", "orders"]])
def test_the_metadata_of_another_destination(tmp_path: Path, verb: list[str]) -> None:
    file = tmp_path / "warp.yaml"
    file.write_text(
        "source: {connection_string: 'mongodb://127.0.0.1:1/shop', database: shop}\n"
        "destination: {type: drain, connection_string: 'drain:///nowhere'}"
    )
    words = f"{file}:2 destination.type: cwarp {verb[0]} works on PostgreSQL"
    assert_refused(cwarp(*verb, "--config", str(file)), 2, words, "is drain")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sync", "--tabels", "a"], ["--tabels", "did you mean '--tables'"]),
        (["snyc"], ["snyc", "'sync'"]),
        (["sync", "mongodb://h/d"], ["SRC and DST belong together"]),
        (
            ["sync", f"mysql://u:{PASSWORD}@h/d", "postgresql://h/d"],
            ["SRC: must start with mongodb://"],
        ),
        (
            ["sync", "mongodb://h/d", f"oracle://u:{PASSWORD}@h/d"],
            ["DST: must start with postgresql://"],
        ),
        (
            ["sync", "mongodb://h", "postgresql://h/d"],
            [
                "error: SRC: the URI names no database",
                "hint: write mongodb://HOST/DATABASE, or name it with --schema NAME",
            ],
        ),
        (
            ["sync", "mongodb://h/admin", "postgresql://h/d"],
            ["SRC: a database of MongoDB's own", "authSource=admin"],
        ),
        (
            ["sync", "mongodb://h/pg_x", "postgresql://h/d"],
            ["SRC: a schema that belongs to PostgreSQL", "with --schema"],
        ),
        (
            ["sync", f"mongodb://u:{PASSWORD}@@h/d", "postgresql://h/d"],
            ["SRC: not a MongoDB URI", "%XX"],
        ),
        (
            ["sync", "mongodb://h/d?tsl=true", "postgresql://h/d"],
            ["SRC: the option", "tsl"],
        ),
        (
            ["sync", "mongodb://h/d", "postgresql://h/d", "--schema=pg_toast"],
            ["--schema: a schema that belongs to PostgreSQL"],
        ),
        (["sync", "mongodb://h/d", "postgresql://h/d", "--schema="], ["--schema"]),
        (
            ["sync", "mongodb://h/d", "postgresql://h/d", "--schema=a", "--mode=multi"],
            ["--schema", "--mode multi"],
        ),
        (
            ["sync", "mongodb://h/d", "postgresql://h/d", "--metrics-port=99999"],
            ["--metrics-port: must be a whole number from 0 to 65535"],
        ),
        (
            ["sync", "mongodb://h/d", "postgresql://h/d", "--metrics-port=8081"],
            ["--health-port: the same port as --metrics-port"],
        ),
        (["sync", "mongodb://h/d", "postgresql://h/d", "--tables", " ,"], ["--tables"]),
        (["sync", "--config", "no/such.yaml"], ["no/such.yaml", "no such file"]),
        (["sync", "mongodb://h/d", "postgresql://h/d", "--progress=x"], ["progress"]),
        (["status"], ["POSTGRES_URI"]),
        (["status", f"mysql://u:{PASSWORD}@h/d"], ["must start with postgresql://"]),
        (
            ["status", f"postgresql://u:{PASSWORD}@h/d?x=y"],
            ["POSTGRES_URI: not a PostgreSQL connection string"],
        ),
        (["config", "validate", "no/such.yaml"], ["no/such.yaml"]),
    ],
    ids=lambda value: " ".join(value[:2]).replace("/", "_"),
)
def test_usage(arguments: Sequence[str], words: Sequence[str]) -> None:
    assert_refused(cwarp(*arguments), 2, *words)


def test_every_wrong_setting_of_a_file_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "warp.yaml"
    file.write_text(
        "source:\n  connection_string: mongodb://h/\n"
        "destination:\n  connection_string: postgresql://h/d\n  conection_timeout: 1\n"
        "schemas:\n- name: s\n  snapshot_workers: many\n"
    )
    ended = cwarp("config", "validate", str(file))
    assert ended.code == 2
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "warp.yaml:5" in ended.err
    assert "did you mean connection_timeout" in ended.err
    assert "warp.yaml:8" in ended.err
    assert "snapshot_workers" in ended.err


def test_several_mistakes_have_a_line_each() -> None:
    """No argument at all, and two that are swapped."""
    nothing = cwarp("sync")
    swapped = cwarp("sync", f"postgresql://u:{PASSWORD}@h/d", "mongodb://h/d")
    assert (nothing.code, swapped.code) == (2, 2)
    assert [line.partition("(")[0] for line in nothing.err.splitlines()] == [
        "error: SRC: missing ",
        "error: DST: missing ",
    ]
    assert swapped.err.splitlines() == [
        "error: SRC: must start with mongodb:// or mongodb+srv://"
        " (SRC and DST look swapped)",
        "error: DST: must start with postgresql:// or postgres://"
        " (SRC and DST look swapped)",
    ]


def test_what_the_environment_leaves_out_is_named_by_its_variable() -> None:
    ended = cwarp(
        "sync",
        env={
            "CARTRIDGE_WARP_SOURCE__CONNECTION_STRING": f"mongodb://u:{PASSWORD}@h",
            "CARTRIDGE_WARP_DESTINATION__CONNECTION_STRING": "postgresql://h/d",
        },
    )
    assert_refused(
        ended,
        *(2, "source.database: missing"),
        "hint: set CARTRIDGE_WARP_SOURCE__DATABASE, or name it with --schema NAME",
    )


def test_a_fault_that_shows_late_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "warp.yaml"
    file.write_text(
        f"source:\n  connection_string: mongodb://u:{PASSWORD}@@h/d\n"
        "destination:\n  connection_string: postgresql://h/d\n"
        "schemas:\n- name: s\n"
    )
    assert_refused(
        sync("--config", str(file)),
        2,
        "warp.yaml:2 source.connection_string: not a MongoDB URI",
    )


def test_a_file_without_a_schema_says_where_to_name_one(tmp_path: Path) -> None:
    file = tmp_path / "warp.yaml"
    file.write_text(
        "source:\n  connection_string: mongodb://h\n"
        "destination:\n  connection_string: postgresql://h/d\n"
    )
    ended = cwarp("config", "validate", str(file))
    assert_refused(ended, 2, "warp.yaml schemas: none configured", "source.database")


def test_a_port_in_use_that_was_asked_for(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = cwarp(
            *("sync", "mongodb://h/d", "postgresql://h/d"),
            *(f"--metrics-port={port}", "--health-port=0"),
        )
    assert_refused(
        ended, 2, "--metrics-port: cannot listen on", f"127.0.0.1:{port}", "in use"
    )


# --- what a server refuses ----------------------------------------------------------


def test_source_that_does_not_answer(postgres_uri: str) -> None:
    source = f"mongodb://u:{PASSWORD}@127.0.0.1:{free_port()}/shop"
    ended = sync(source, postgres_uri, "--once", env=_hurry())
    assert_refused(ended, 3, "127.0.0.1", "hint: ")
    assert schemas_in(postgres_uri) == set()


def test_a_mongod_that_is_no_replica_set(tmp_path: Path, postgres_uri: str) -> None:
    with lone_mongod(tmp_path / "db") as port:
        ended = sync(f"mongodb://127.0.0.1:{port}/shop", postgres_uri, "--once")
    assert_refused(ended, 3, "replica set", "hint: ")
    assert schemas_in(postgres_uri) == set()


def test_source_with_wrong_credentials(tmp_path: Path, postgres_uri: str) -> None:
    with lone_mongod(tmp_path / "db", "--auth") as port:
        ended = sync(
            f"mongodb://reader:{PASSWORD}@127.0.0.1:{port}/shop?authSource=admin",
            postgres_uri,
            "--once",
            env=_hurry(),
        )
    assert_refused(ended, 3, "authentication", "hint: ")
    assert schemas_in(postgres_uri) == set()


def test_source_database_that_does_not_exist(mongo_uri: str, postgres_uri: str) -> None:
    uri = embedded.with_database(mongo_uri, "no_such_database")
    ended = sync(uri, postgres_uri, "--once")
    assert_refused(ended, 3, "no_such_database", "hint: ")
    assert schemas_in(postgres_uri) == set()


def test_destination_role_without_the_right_to_create(
    shop_uri: str, postgres_uri: str
) -> None:
    role = f"plain_{secrets.token_hex(4)}"
    name = sql.Identifier(role)
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        try:
            ended = sync(shop_uri, make_uri(postgres_uri, user=role), "--once")
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(name))
    assert_refused(ended, 3, "create", "hint: ")
    assert schemas_in(postgres_uri) == set()


def test_a_table_that_does_not_exist(shop_uri: str, postgres_uri: str) -> None:
    ended = sync(shop_uri, postgres_uri, "--once", "--tables", "users,order")
    assert_refused(ended, 2, "no collection is called order", "did you mean orders?")
    ended = sync(shop_uri, postgres_uri, "--once", "--tables", "zebra")
    assert_refused(ended, 2, "zebra", "there are: orders, users")
    assert schemas_in(postgres_uri) == set()


def test_a_table_whose_collection_was_dropped_may_still_be_named(
    shop: Database[dict[str, Any]], shop_uri: str, postgres_uri: str
) -> None:
    arguments = (shop_uri, postgres_uri, "--once", "--tables", "users")
    assert sync(*arguments).code == 0
    shop.client.drop_database(shop.name)
    again = sync(*arguments)
    assert again.code == 0, again.err


def test_status_of_a_database_without_metadata(postgres_uri: str) -> None:
    assert_refused(cwarp("status", postgres_uri), 3, "nothing was ever synced")
    assert schemas_in(postgres_uri) == set()


def make_uri(uri: str, *, user: str) -> str:
    """The same server and database as somebody else."""
    parts = psycopg.conninfo.conninfo_to_dict(uri)
    return f"postgresql://{user}@{parts['host']}:{parts['port']}/{parts['dbname']}"


def _hurry() -> dict[str, str]:
    """Do not wait the usual ten seconds for a server that will not come."""
    return {"CARTRIDGE_WARP_SOURCE__CONNECTION_TIMEOUT": "2"}
