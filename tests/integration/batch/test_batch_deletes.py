"""``detect_deletes`` and the strategy ``hash``: rows whose documents are gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from batch_kit import META, BatchShop, at
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from cartridge_warp.engine import batch_pass
from cartridge_warp.postgresql import absent
from engine_kit import SCHEMA, table_of, wait_until

#: Either finds deletes.
EITHER = pytest.mark.parametrize(
    "settings",
    [{"detect_deletes": True}, {"change_detection_strategy": "hash"}],
    ids=["timestamp", "hash"],
)
LETTERS = f"SELECT key, state FROM {META}.dead_letter_queue ORDER BY key"


def order(number: int, **more: object) -> dict[str, Any]:
    return {"_id": number, "n": number, "updated_at": at(number), **more}


def test_without_it_a_delete_is_not_seen(shop: BatchShop) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(10)])
    shop.sees()
    shop.db["orders"].delete_many({"_id": {"$lt": 3}})
    shop.once()
    assert len(shop.differences("orders")) == 3


@EITHER
def test_rows_of_documents_that_are_gone_are_deleted(
    shop: BatchShop, settings: dict[str, Any]
) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(2000)])
    shop.sees(**settings)
    shop.db["orders"].delete_many({"_id": {"$mod": [3, 0]}})
    shop.db["orders"].insert_one(order(5000))
    counts = table_of(shop.sees(**settings), "orders").counts
    assert counts.deleted == 667
    assert counts.applied == 668


def ids_of_numbers(number: int) -> object:
    return float(number) + 0.5 if number % 2 else number


def ids_of_many_kinds(number: int) -> object:
    made: list[object] = [
        number,
        f"text {number}",
        ObjectId.from_datetime(at(number)),
        {"a": number, "b": 1},
        at(number),
        bool(number % 2),
    ]
    return made[number % 5]


@EITHER
@pytest.mark.parametrize(
    "make",
    [str, lambda n: ObjectId.from_datetime(at(n)), ids_of_numbers, ids_of_many_kinds],
    ids=["texts", "ObjectIds", "numbers", "many kinds"],
)
def test_keys_of_every_kind_are_compared(
    shop: BatchShop, settings: dict[str, Any], make: Callable[[int], object]
) -> None:
    orders = shop.db["orders"]
    orders.insert_many(
        [{"_id": make(n), "n": n, "updated_at": at(n)} for n in range(60)]
    )
    shop.sees(**settings)
    orders.delete_many({"n": {"$gte": 20, "$lt": 45}})
    assert table_of(shop.sees(**settings), "orders").counts.deleted == 25


def test_more_than_is_asked_for_at_once(
    shop: BatchShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absent, "MAX_ROWS", 100)
    monkeypatch.setattr(batch_pass, "_DELETES", 30)
    shop.db["orders"].insert_many([order(n) for n in range(500)])
    shop.sees(detect_deletes=True)
    shop.db["orders"].delete_many({"_id": {"$gte": 50}})
    assert table_of(shop.sees(detect_deletes=True), "orders").counts.deleted == 450


@EITHER
def test_all_documents_gone_are_no_rows(
    shop: BatchShop, settings: dict[str, Any]
) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(50)])
    shop.sees(**settings)
    shop.db["orders"].delete_many({})
    shop.once(**settings)
    assert shop.rows(f"SELECT count(*) FROM {SCHEMA}.orders") == [(0,)]


@EITHER
def test_the_rows_of_a_collection_that_was_dropped_are_kept(
    shop: BatchShop, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(50)])
    shop.db["others"].insert_one(order(1))
    shop.sees(**settings)
    shop.db["orders"].drop()
    shop.once(**settings, on_drop="drop")
    assert shop.rows(f"SELECT count(*) FROM {SCHEMA}.orders") == [(50,)]
    assert "the collection is gone" in caplog.text
    shop.db["orders"].insert_many([order(n) for n in range(40, 60)])
    shop.sees(**settings)


@EITHER
def test_a_dead_letter_of_a_document_that_is_gone_is_resolved(
    shop: BatchShop, settings: dict[str, Any]
) -> None:
    settings = {**settings, "on_misfit": "dead_letter"}
    orders = shop.db["orders"]
    orders.insert_many([order(n, day=at(n)) for n in range(5)])
    shop.sees(**settings)
    poison = [order(100 + n, day=DatetimeMS(2**62)) for n in range(2)]
    orders.insert_many(poison)
    shop.once(**settings)
    assert shop.rows(LETTERS) == [("100", "pending"), ("101", "pending")]
    orders.delete_one({"_id": 100})
    shop.once(**settings)
    assert shop.rows(LETTERS) == [("100", "resolved"), ("101", "pending")]


def test_a_document_that_comes_back_as_it_was_is_a_row_again(shop: BatchShop) -> None:
    """A pass knows what it read before; what it deleted since is another matter."""
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(20)])
    with shop.running(default_polling_interval=0.1, detect_deletes=True) as run:
        shop.becomes_equal("orders")
        orders.delete_one({"_id": 19})
        wait_until(lambda: run.table("orders").counts.deleted == 1, "it is deleted")
        orders.insert_one(order(19))
        shop.becomes_equal("orders")


def test_a_row_that_others_refer_to_names_what_stands_in_the_way(
    shop: BatchShop,
) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(5)])
    shop.sees()
    shop.execute(
        f"CREATE TABLE {SCHEMA}.mine (o bigint REFERENCES {SCHEMA}.orders);"
        f"INSERT INTO {SCHEMA}.mine VALUES (3)"
    )
    orders.delete_many({"_id": {"$in": [2, 3]}})
    with pytest.raises(Exception, match="its row may not be") as raised:
        shop.once(detect_deletes=True)
    assert "mine_o_fkey" in raised.value.hint  # type: ignore[attr-defined]
    shop.execute(f"DROP TABLE {SCHEMA}.mine")
    shop.sees(detect_deletes=True)


# --- what becomes of the rows -------------------------------------------------------


@EITHER
def test_soft_marks_the_rows_once_and_a_return_clears_the_mark(
    shop: BatchShop, settings: dict[str, Any]
) -> None:
    settings = {**settings, "deletion_strategy": "soft"}
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(10)])
    shop.sees(**settings)
    orders.delete_many({"_id": {"$lt": 3}})
    counts = table_of(shop.sees(**settings), "orders").counts
    assert counts.deleted == 3
    marked = f"SELECT _id, deleted_at FROM {SCHEMA}.orders WHERE is_deleted ORDER BY 1"
    before = shop.rows(marked)
    assert [key for key, _ in before] == [0, 1, 2]
    # The next pass finds nothing new about them.
    counts = table_of(shop.sees(**settings), "orders").counts
    assert (counts.deleted, shop.rows(marked)) == (0, before)
    orders.insert_one(order(1, updated_at=at(100)))
    shop.sees(**settings)
    assert [key for key, _ in shop.rows(marked)] == [0, 2]


@EITHER
def test_both_keeps_what_the_row_was(shop: BatchShop, settings: dict[str, Any]) -> None:
    settings = {**settings, "deletion_strategy": "both"}
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(10)])
    shop.sees(**settings)
    orders.delete_many({"_id": {"$gte": 8}})
    shop.sees(**settings)
    # When they were deleted nobody knows.
    audit = f"SELECT key, last_row ->> 'n', cluster_time FROM {META}.deletion_audit"
    assert sorted(shop.rows(audit)) == [("8", "8", None), ("9", "9", None)]


# --- strategy hash ------------------------------------------------------------------


def test_hash_needs_no_column_and_writes_what_differs_alone(shop: BatchShop) -> None:
    hashed = {"change_detection_strategy": "hash"}
    orders = shop.db["orders"]
    orders.insert_many([{"_id": n, "n": n, "text": "x" * 50} for n in range(3000)])
    shop.sees(**hashed)
    assert shop.marker()["value"] is None
    written = f"SELECT _id, xmin::text FROM {SCHEMA}.orders ORDER BY _id"
    before = dict(shop.rows(written))
    orders.update_many({"_id": {"$lt": 7}}, {"$set": {"n": -1}})
    orders.update_one({"_id": 1}, {"$set": {"n": 1.0}})
    counts = table_of(shop.sees(**hashed), "orders").counts
    assert counts.applied == 7
    after = dict(shop.rows(written))
    assert {key for key in after if after[key] != before[key]} == set(range(7))


def test_hash_heals_what_was_done_to_the_table(shop: BatchShop) -> None:
    hashed = {"change_detection_strategy": "hash"}
    shop.db["orders"].insert_many([order(n) for n in range(100)])
    with shop.running(default_polling_interval=0.2, **hashed):
        shop.becomes_equal("orders")
        shop.execute(
            f"DELETE FROM {SCHEMA}.orders WHERE _id < 5;"
            f"UPDATE {SCHEMA}.orders SET n = 0 WHERE _id > 90;"
            f"INSERT INTO {SCHEMA}.orders (_id) VALUES (1000)"
        )
        shop.becomes_equal("orders")


def test_from_hash_to_timestamp_and_back(shop: BatchShop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(100)])
    shop.sees(change_detection_strategy="hash")
    orders.update_one({"_id": 3}, {"$set": {"n": 33}})
    shop.sees(change_detection_strategy="timestamp")
    orders.update_one({"_id": 4}, {"$set": {"n": 44}})
    shop.sees(change_detection_strategy="hash")
