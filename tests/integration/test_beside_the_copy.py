"""The stream runs while tables are copied, and neither disturbs the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from bson import ObjectId
from pymongo.database import Database

from cartridge_warp.engine import copyworker
from cartridge_warp.engine.chunkwork import copy_chunk
from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import PreconditionError
from engine_kit import SCHEMA, Shop, table_of, wait_until

LETTERS = "cartridge_warp_metadata.dead_letter_queue"


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    return Shop(mongo_db, mongo_uri, postgres_uri)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Chunks of ``big`` are copied only once the gate is open."""
    opened = threading.Event()

    def late(line: Any, copier: Any, shape: Any, *more: Any, **options: Any) -> Any:
        if shape.collection == "big":
            assert opened.wait(30)
        return copy_chunk(line, copier, shape, *more, **options)

    monkeypatch.setattr(copyworker, "copy_chunk", late)
    yield opened
    opened.set()


def ids(number: int) -> ObjectId:
    return ObjectId(f"{number:024x}")


def test_the_stream_goes_on_while_a_table_is_copied(
    shop: Shop, gate: threading.Event
) -> None:
    """A change of the waiting chunk waits for it; every other table goes on."""
    shop.db["big"].insert_many([{"_id": ids(n), "n": n} for n in range(3000)])
    shop.db["small"].insert_many([{"_id": ids(n), "n": n} for n in range(50)])

    def work() -> None:
        wait_until(lambda: shop.rows(counted)[0] == (50,), "small is copied")
        for number in range(50, 80):
            shop.db["small"].insert_one({"_id": ids(number), "n": number})
        wait_until(lambda: shop.rows(counted)[0] == (80,), "small is followed")
        assert shop.rows(f"SELECT count(*) FROM {SCHEMA}.big") == [(0,)]
        assert shop.rows(f"SELECT seq > 1 FROM {markers}") == [(True,)]
        shop.db["big"].delete_many({"n": {"$lt": 10}})
        shop.db["big"].update_many({"n": {"$lt": 20}}, {"$set": {"late": True}})
        gate.set()

    counted = f"SELECT count(*) FROM {SCHEMA}.small"
    markers = "cartridge_warp_metadata.sync_markers"
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            wait_until(
                lambda: shop.rows(f"SELECT to_regclass('{SCHEMA}.small')")[0][0],
                "small has a table",
            )
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            gate.set()

    writer = threading.Thread(target=guarded)
    writer.start()
    with shop.running(snapshot_workers=2) as run:
        writer.join()
        assert not failures, failures
        shop.becomes_equal("big")
        shop.becomes_equal("small")
        wait_until(
            lambda: run.table("big").phase is Phase.STREAMING, "big is consistent"
        )


def test_what_changes_behind_a_copied_chunk_is_not_applied_twice(
    shop: Shop, gate: threading.Event
) -> None:
    shop.db["big"].insert_many([{"_id": ids(n), "n": n} for n in range(1000)])

    def write() -> None:
        wait_until(
            lambda: shop.rows(f"SELECT to_regclass('{SCHEMA}.big')")[0][0] is not None,
            "big has a table",
        )
        shop.db["big"].update_many({}, {"$inc": {"n": 1}})
        gate.set()

    writer = threading.Thread(target=write)
    writer.start()
    view = shop.once(snapshot_workers=1)
    writer.join()
    assert shop.differences("big") == []
    counts = table_of(view, "big").counts
    assert counts.copied == 1000
    assert counts.read == counts.copied + counts.applied + counts.superseded


def refuse(shop: Shop, check: str) -> None:
    with psycopg.connect(shop.postgres_uri) as connection:
        text = f"ALTER TABLE {SCHEMA}.orders ADD CONSTRAINT theirs CHECK ({check})"
        connection.execute(text.encode())


def letters(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(
        f"SELECT key, reason, sqlstate, state FROM {LETTERS} ORDER BY letter_id"
    )


def test_a_row_that_postgresql_refuses_is_the_only_one_missing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    orders = shop.db["orders"]
    orders.insert_many([{"_id": n, "n": n} for n in range(500)])
    shop.once()
    refuse(shop, "n < 1000")
    with caplog.at_level(logging.WARNING), shop.running() as run:
        orders.update_one({"_id": 77}, {"$set": {"n": 1077}})
        orders.update_many({"_id": {"$gt": 400}}, {"$inc": {"n": 1}})
        orders.insert_one({"_id": 1000, "n": 5000})
        wait_until(lambda: len(letters(shop)) == 2, "two dead letters")
        wait_until(
            lambda: (
                shop.rows(f"SELECT n FROM {SCHEMA}.orders WHERE _id = 401") == [(402,)]
            ),
            "the others arrive",
        )
        assert {each[1:] for each in letters(shop)} == {("refused", "23514", "pending")}
        # The row is not the document any more, so it is not there.
        assert shop.rows(f"SELECT n FROM {SCHEMA}.orders WHERE _id = 77") == []
        orders.update_one({"_id": 77}, {"$set": {"n": 7}})
        orders.delete_one({"_id": 1000})
        shop.becomes_equal("orders")
        wait_until(
            lambda: {each[-1] for each in letters(shop)} == {"resolved"}, "resolved"
        )
    assert run.table("orders").counts.dead_letters == 2
    assert any("dead letters" in each.message for each in caplog.records)


def test_refused_rows_of_a_copy(shop: Shop, gate: threading.Event) -> None:
    """The chunk is copied again, with care."""
    shop.db["big"].insert_many([{"_id": n, "n": n} for n in range(2000)])

    def constrain() -> None:
        wait_until(
            lambda: shop.rows(f"SELECT to_regclass('{SCHEMA}.big')")[0][0] is not None,
            "big has a table",
        )
        with psycopg.connect(shop.postgres_uri) as connection:
            text = f"ALTER TABLE {SCHEMA}.big ADD CHECK (n NOT IN (0, 999, 1999))"
            connection.execute(text.encode())
        gate.set()

    writer = threading.Thread(target=constrain)
    writer.start()
    view = shop.once()
    writer.join()
    assert sorted(key for key, *_ in letters(shop)) == ["0", "1999", "999"]
    assert shop.rows(f"SELECT count(*) FROM {SCHEMA}.big") == [(1997,)]
    counts = table_of(view, "big").counts
    assert (counts.copied, counts.dead_letters) == (1997, 3)


def test_large_documents_are_looked_up_in_pieces(shop: Shop) -> None:
    """A batch of updates whose documents together are beyond its bound in bytes."""
    big = shop.db["big"]
    big.insert_many([{"_id": n, "n": 0, "text": "x" * 300_000} for n in range(60)])
    shop.once()
    big.update_many({}, {"$inc": {"n": 1}})
    view = shop.once(stream_batch_bytes=1 << 20)
    assert shop.differences("big") == []
    counts = table_of(view, "big").counts
    assert counts.applied + counts.superseded == 60
    ((seq,),) = shop.rows("SELECT seq FROM cartridge_warp_metadata.sync_markers")
    assert seq > 10


@pytest.mark.parametrize("mode", ["post_image", "update_lookup"])
def test_documents_that_come_with_their_updates(shop: Shop, mode: str) -> None:
    shop.db.create_collection("orders", changeStreamPreAndPostImages={"enabled": True})
    shop.db["plain"].insert_many([{"_id": n, "n": 0} for n in range(20)])
    shop.db["orders"].insert_many([{"_id": n, "n": 0} for n in range(20)])
    settings = shop.settings
    shop.settings = lambda **more: _with_documents(settings(**more), mode)  # type: ignore[method-assign]
    with shop.running():
        for name in ("orders", "plain"):
            for number in range(20):
                shop.db[name].update_one({"_id": number}, {"$inc": {"n": number}})
            shop.db[name].delete_one({"_id": 3})
            shop.becomes_equal(name)


def _with_documents(settings: Any, mode: str) -> Any:
    source = msgspec.structs.replace(settings.source, full_document=mode)
    return msgspec.structs.replace(settings, source=source)


def test_a_table_that_a_run_left_out_is_resynced(shop: Shop) -> None:
    """The changes that were made meanwhile are in no copy and in no stream."""
    for name in ("orders", "items"):
        shop.db[name].insert_many([{"_id": n, "n": 0} for n in range(20)])
    shop.once()
    shop.once(table_whitelist=["orders"])
    shop.db["items"].update_many({"_id": {"$lt": 5}}, {"$inc": {"n": 1}})
    shop.db["items"].delete_many({"_id": {"$gt": 15}})
    shop.once(table_whitelist=["orders"])
    assert len(shop.differences("items")) == 9
    shop.once()
    for name in ("orders", "items"):
        assert shop.differences(name) == []
    query = "SELECT written, removed FROM cartridge_warp_metadata.snapshot_chunks"
    assert shop.rows(f"{query} WHERE resync") == [(5, 4)]


def forget(shop: Shop, table: str) -> None:
    """As docs/troubleshooting.md says."""
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {SCHEMA}.{table}".encode())
        for name in (
            *("snapshot_chunks", "schema_registry"),
            *("table_state", "dead_letter_queue"),
        ):
            connection.execute(
                f"DELETE FROM cartridge_warp_metadata.{name}"
                f" WHERE schema_name = '{SCHEMA}' AND table_name = '{table}'".encode()
            )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP TABLE shop.orders", "shop.orders was dropped outside"),
        (
            "ALTER TABLE shop.orders DROP COLUMN n",
            "column n of shop.orders was dropped",
        ),
    ],
)
def test_what_was_dropped_outside_is_seen_at_the_start(
    shop: Shop, change: str, words: str
) -> None:
    shop.db["orders"].insert_many([{"_id": n, "n": 0} for n in range(20)])
    shop.once()
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(change.encode())
    with pytest.raises(PreconditionError, match=words):
        shop.once()
    forget(shop, "orders")
    shop.once()
    assert shop.differences("orders") == []


@pytest.mark.parametrize("lost", ["DELETE FROM", "UPDATE"])
def test_tables_without_a_position_are_no_beginning(shop: Shop, lost: str) -> None:
    shop.db["orders"].insert_many([{"_id": n, "n": 0} for n in range(20)])
    shop.once()
    markers = "cartridge_warp_metadata.sync_markers"
    change = "" if lost == "DELETE FROM" else " SET resume_token = NULL"
    with psycopg.connect(shop.postgres_uri) as connection:
        connection.execute(f"{lost} {markers}{change}".encode())
    with pytest.raises(PreconditionError, match="no position"):
        shop.once()


def test_settings_that_need_a_new_table_are_named(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.db["orders"].insert_many([{"_id": n, "n": 0} for n in range(20)])
    shop.once()
    with caplog.at_level(logging.WARNING):
        shop.once(json_columns="json", naming="snake")
    [warning] = [each for each in caplog.records if "settings were" in each.message]
    assert warning.settings == ["naming", "json_columns"]  # type: ignore[attr-defined]
