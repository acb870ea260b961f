"""``cwarp resync`` and ``cwarp sync --full-resync``, as a person runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo.database import Database

from cartridge_warp import embedded
from tests.command import (
    Ended,
    assert_refused,
    command,
    count,
    cwarp,
    environment,
    schemas_in,
    sync,
)

_SECONDS = 60

DOCUMENTS = 50


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]]) -> Database[dict[str, Any]]:
    rows = [{"_id": n, "total": n * 2} for n in range(DOCUMENTS)]
    mongo_db.orders.insert_many(rows)
    mongo_db.offers.insert_many(rows)
    mongo_db.users.insert_many([{"_id": n, "name": f"u{n}"} for n in range(5)])
    return mongo_db


@pytest.fixture
def shop_uri(shop: Database[dict[str, Any]], mongo_uri: str) -> str:
    return embedded.with_database(mongo_uri, shop.name)


@pytest.fixture
def synced(shop_uri: str, postgres_uri: str) -> tuple[str, str]:
    """Both ends, equal."""
    done = sync(shop_uri, postgres_uri, "--schema=shop", "--once")
    assert done.code == 0, done.err
    return shop_uri, postgres_uri


def harm(postgres_uri: str, table: str) -> None:
    """Rows that are older, rows too many, and rows too few."""
    with psycopg.connect(postgres_uri) as connection, connection.cursor() as cur:
        cur.execute(f"UPDATE shop.{table} SET total = -1 WHERE _id < 5")
        cur.execute(f"DELETE FROM shop.{table} WHERE _id BETWEEN 10 AND 12")
        cur.execute(f"INSERT INTO shop.{table} (_id, total) VALUES (-7, 7), (777, 7)")


def rows(postgres_uri: str, table: str) -> dict[int, int]:
    with psycopg.connect(postgres_uri) as connection:
        return dict(
            connection.execute(f"SELECT _id, total FROM shop.{table}").fetchall()
        )


EQUAL = {n: n * 2 for n in range(DOCUMENTS)}


def status_of(postgres_uri: str, table: str) -> dict[str, Any]:
    (schema,) = json.loads(cwarp("status", postgres_uri, "--json").out)["schemas"]
    found: dict[str, Any] = next(x for x in schema["tables"] if x["name"] == table)
    return found


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _SECONDS
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"waited in vain for {what}")
        time.sleep(0.1)


@contextmanager
def running(log: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as err:
        process = subprocess.Popen(
            command("sync", "--metrics-port=0", "--health-port=0", *arguments),
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            env=environment(),
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def assert_asked(ended: Ended, *words: str) -> None:
    assert ended.code == 0, ended.err
    assert ended.err == ""
    for word in words:
        assert word in ended.out


def test_a_request_waits_for_the_next_sync(synced: tuple[str, str]) -> None:
    shop_uri, postgres_uri = synced
    for table in ("orders", "offers"):
        harm(postgres_uri, table)
    harmed = rows(postgres_uri, "offers")
    assert_asked(
        cwarp("resync", "orders", postgres_uri),
        "resync of shop.orders is asked for",
        "no process owns the schema now; the next cwarp sync begins with it",
    )
    assert status_of(postgres_uri, "orders")["asked"]
    assert not status_of(postgres_uri, "offers")["asked"]
    again = sync(shop_uri, postgres_uri, "--schema=shop", "--once")
    assert again.code == 0, again.err
    assert rows(postgres_uri, "orders") == EQUAL
    assert rows(postgres_uri, "offers") == harmed
    told = status_of(postgres_uri, "orders")
    assert not told["asked"]
    # Five were older and three missing; two had no document.
    assert told["resync"]
    assert (told["written"], told["removed"]) == (8, 2)


def test_a_running_sync_obeys_within_seconds(
    shop_uri: str, postgres_uri: str, tmp_path: Path
) -> None:
    with running(tmp_path / "log", shop_uri, postgres_uri, "--schema=shop") as job:
        until(
            lambda: (
                "shop" in schemas_in(postgres_uri)
                and cwarp("status", postgres_uri).out.count("streaming") == 3
            ),
            "the copy",
        )
        for table in ("orders", "offers"):
            harm(postgres_uri, table)
        assert_asked(
            cwarp("resync", "o*", postgres_uri),
            "resync of shop.offers, shop.orders is asked for",
            "begins within seconds",
        )
        for table in ("orders", "offers"):
            until(lambda: rows(postgres_uri, table) == EQUAL, f"equal {table}")  # noqa: B023  called at once
        until(
            lambda: "resyncing" not in cwarp("status", postgres_uri).out,
            "the end of the resync",
        )
        job.send_signal(signal.SIGTERM)
        out, _ = job.communicate(timeout=_SECONDS)
        assert job.returncode == 0
        assert "shop.orders" in out


def test_a_full_resync_is_of_every_table(
    synced: tuple[str, str], shop: Database[dict[str, Any]]
) -> None:
    shop_uri, postgres_uri = synced
    for table in ("orders", "offers"):
        harm(postgres_uri, table)
    shop.orders.delete_one({"_id": 20})
    ended = sync(shop_uri, postgres_uri, "--schema=shop", "--once", "--full-resync")
    assert ended.code == 0, ended.err
    assert rows(postgres_uri, "offers") == EQUAL
    assert rows(postgres_uri, "orders") == {n: v for n, v in EQUAL.items() if n != 20}
    assert status_of(postgres_uri, "users")["written"] == 0


def test_the_uri_and_the_schema_come_from_a_file(
    synced: tuple[str, str], shop: Database[dict[str, Any]], tmp_path: Path
) -> None:
    shop_uri, postgres_uri = synced
    file = tmp_path / "warp.yaml"
    file.write_text(
        f"source: {{connection_string: '{shop_uri}', database: {shop.name}}}\n"
        f"destination: {{connection_string: '{postgres_uri}'}}\n"
        "schemas: [{name: shop}]\n"
    )
    assert_asked(cwarp("resync", "users", "--config", str(file)), "shop.users")
    assert status_of(postgres_uri, "users")["asked"]


# --- what is refused ----------------------------------------------------------------


def test_a_misspelt_table(synced: tuple[str, str]) -> None:
    _, postgres_uri = synced
    assert_refused(
        cwarp("resync", "users", "order", postgres_uri),
        2,
        "schema shop has no table order",
        "did you mean orders?",
    )
    # All or nothing.
    assert not status_of(postgres_uri, "users")["asked"]


def test_a_name_like_no_other(synced: tuple[str, str]) -> None:
    assert_refused(
        cwarp("resync", "zzz*", synced[1]), 2, "there are: offers, orders, users"
    )


def test_no_table_or_two_databases(postgres_uri: str) -> None:
    for words in ([postgres_uri], ["orders", postgres_uri, postgres_uri]):
        ended = cwarp("resync", *words)
        assert ended.code == 2
        assert "give at least one TABLE, and at most one POSTGRES_URI" in ended.err


def test_several_schemas(synced: tuple[str, str]) -> None:
    shop_uri, postgres_uri = synced
    assert sync(shop_uri, postgres_uri, "--schema=twin", "--once").code == 0
    ended = cwarp("resync", "orders", postgres_uri)
    assert_refused(ended, 2, "several schemas", "--schema", "shop", "twin")
    assert_asked(
        cwarp("resync", "orders", postgres_uri, "--schema=twin"), "twin.orders"
    )


def test_nothing_was_synced(postgres_uri: str) -> None:
    ended = cwarp("resync", "orders", postgres_uri)
    assert_refused(ended, 3, "nothing was ever synced into this database")
    assert schemas_in(postgres_uri) == set()


def test_a_server_that_is_not_there() -> None:
    ended = cwarp("resync", "orders", "postgresql://127.0.0.1:1/shop")
    assert_refused(ended, 3, "127.0.0.1")


@pytest.mark.parametrize(
    ("harmed", "words"),
    [
        ("TABLE shop.orders DROP COLUMN total", "column total of shop.orders"),
        ("TABLE shop.orders RENAME TO mine", "shop.orders"),
    ],
)
def test_a_table_that_was_changed_outside(
    synced: tuple[str, str], harmed: str, words: str
) -> None:
    _, postgres_uri = synced
    with psycopg.connect(postgres_uri) as connection:
        connection.execute(f"ALTER {harmed}")
    ended = cwarp("resync", "orders", postgres_uri)
    assert_refused(ended, 3, f"{words} was dropped outside")
    assert not status_of(postgres_uri, "orders")["asked"]


def test_a_table_of_batch_mode(
    shop: Database[dict[str, Any]], shop_uri: str, postgres_uri: str, tmp_path: Path
) -> None:
    file = tmp_path / "warp.yaml"
    file.write_text(
        f"source: {{connection_string: '{shop_uri}', database: {shop.name}}}\n"
        f"destination: {{connection_string: '{postgres_uri}'}}\n"
        "schemas:\n"
        "  - name: shop\n"
        "    tables:\n"
        "      - {name: users, mode: batch, change_detection_strategy: hash}\n"
    )
    done = sync("--config", str(file), "--once")
    assert done.code == 0, done.err
    assert count(postgres_uri, "shop", "users") == 5
    assert_refused(
        cwarp("resync", "users", postgres_uri), 2, "shop.users is read in batch mode"
    )
    assert_refused(
        cwarp("resync", "u*", postgres_uri), 2, "shop.users is read in batch mode"
    )
    assert_refused(
        cwarp("resync", "e*", postgres_uri), 2, "there are: offers, orders, users"
    )
    assert_asked(
        cwarp("resync", "*", postgres_uri),
        "shop.offers, shop.orders is",
        "not asked for: users (read in batch mode)",
    )


def test_a_table_that_is_not_followed(synced: tuple[str, str]) -> None:
    _, postgres_uri = synced
    done = sync(*synced, "--schema=shop", "--once", "--tables=users")
    assert done.code == 0, done.err
    harm(postgres_uri, "orders")
    seen = status_of(postgres_uri, "orders")
    assert seen["left"]
    assert seen["phase"] == "not followed"
    assert_refused(
        cwarp("resync", "users", "orders", postgres_uri),
        2,
        "shop.orders is not followed",
        "select its collection again",
    )
    assert not status_of(postgres_uri, "users")["asked"]
    assert_refused(
        cwarp("resync", "o*", postgres_uri),
        2,
        "offers (not followed), orders (not followed)",
        "select its collection again",
    )
    assert_asked(
        cwarp("resync", "*", postgres_uri),
        "resync of shop.users is asked for",
        "not asked for: offers (not followed), orders (not followed)",
    )
    # The hint is right.
    done = sync(*synced, "--schema=shop", "--once")
    assert done.code == 0, done.err
    assert not status_of(postgres_uri, "orders")["left"]
    assert rows(postgres_uri, "orders") == EQUAL
    assert_asked(cwarp("resync", "orders", postgres_uri), "shop.orders is asked for")


def test_a_table_whose_collection_is_gone(
    synced: tuple[str, str], shop: Database[dict[str, Any]]
) -> None:
    _, postgres_uri = synced
    kept = list(shop.orders.find())
    shop.orders.drop()
    assert sync(*synced, "--schema=shop", "--once").code == 0
    assert_refused(
        cwarp("resync", "orders", postgres_uri),
        2,
        "shop.orders has no collection any more",
        "on_drop",
    )
    # The hint is right.
    harm(postgres_uri, "orders")
    shop.orders.insert_many(kept)
    assert sync(*synced, "--schema=shop", "--once").code == 0
    assert rows(postgres_uri, "orders") == EQUAL
    assert_asked(cwarp("resync", "orders", postgres_uri), "shop.orders is asked for")
