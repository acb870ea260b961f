"""``deletion_strategy: soft``, from the document's delete to the marked row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pymongo
import pytest
from bson import Int64, ObjectId
from pymongo.database import Database

from cartridge_warp import embedded
from engine_kit import SCHEMA, Shop, wait_until
from postgresql_kit import fetch

#: Few documents go as parameters, many through staging.
SIZES = pytest.mark.parametrize("size", [2, 700], ids=["few", "many"])


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    return Shop(mongo_db, mongo_uri, postgres_uri)


def fill(shop: Shop, size: int, first: int = 0) -> list[ObjectId]:
    """So many orders, each with an id of its own; the ids."""
    ids = [ObjectId() for _ in range(size)]
    shop.db["orders"].insert_many(
        {"_id": each, "n": first + number, "v": "first"}
        for number, each in enumerate(ids)
    )
    return ids


def marked(shop: Shop, table: str = "orders", column: str = "is_deleted") -> set[Any]:
    """The keys of the rows that are marked."""
    query = f'SELECT _id FROM {SCHEMA}.{table} WHERE "{column}"'
    return {key for (key,) in shop.rows(query)}


def are_marked(shop: Shop, ids: Sequence[ObjectId]) -> None:
    wait_until(lambda: marked(shop) == {str(each) for each in ids}, "rows are marked")


@SIZES
def test_rows_are_marked_and_come_back_while_it_streams(shop: Shop, size: int) -> None:
    orders = shop.db["orders"]
    ids = fill(shop, size + 3)
    gone = ids[:size]
    cells = f"SELECT _id, n, v FROM {SCHEMA}.orders ORDER BY _id"
    with shop.running(deletion_strategy="soft") as sync:
        shop.becomes_equal("orders")
        before = shop.rows(cells)
        orders.delete_many({"_id": {"$in": gone}})
        are_marked(shop, gone)
        assert shop.differences("orders") == []
        assert shop.rows(cells) == before
        wait_until(
            lambda: sync.table("orders").counts.deleted == size, "they are counted"
        )
        # Inserted again, each in a way of its own, and changed at once.
        orders.insert_many({"_id": each, "n": 5} for each in gone[1:])
        orders.replace_one({"_id": gone[0]}, {"v": "back"}, upsert=True)
        orders.update_one({"_id": gone[-1]}, {"$set": {"new": True}})
        are_marked(shop, [])
        shop.becomes_equal("orders")
        orders.delete_many({})
        are_marked(shop, ids)
        assert shop.differences("orders") == []
    times = shop.rows(f"SELECT deleted_at FROM {SCHEMA}.orders")
    now = datetime.now(UTC)
    assert all((now - at).total_seconds() < 600 for (at,) in times)


@SIZES
def test_rows_are_marked_and_come_back_between_runs(shop: Shop, size: int) -> None:
    orders = shop.db["orders"]
    ids = fill(shop, size + 3)
    shop.once(deletion_strategy="soft")
    orders.delete_many({"_id": {"$in": ids[:size]}})
    shop.once(deletion_strategy="soft")
    are_marked(shop, ids[:size])
    (first,) = shop.rows(f"SELECT min(deleted_at) FROM {SCHEMA}.orders")
    # Here and gone between two looks: the row stays as it was marked.
    orders.insert_one({"_id": ids[0], "n": -1})
    orders.delete_one({"_id": ids[0]})
    shop.once(deletion_strategy="soft")
    assert shop.rows(f"SELECT min(deleted_at) FROM {SCHEMA}.orders") == [first]
    orders.insert_many({"_id": each, "n": 5} for each in ids[:size])
    shop.once(deletion_strategy="soft")
    are_marked(shop, [])
    assert shop.differences("orders") == []


def test_every_lane_marks(shop: Shop) -> None:
    ids = fill(shop, 400)
    settings = {"deletion_strategy": "soft", "default_max_parallel_streams": 3}
    with shop.running(**settings):
        shop.becomes_equal("orders")
        with shop.db.client.start_session() as session, session.start_transaction():
            shop.db["orders"].delete_many({"n": {"$lt": 300}}, session=session)
            shop.db["orders"].insert_one({"_id": ids[0], "n": 0}, session=session)
        are_marked(shop, ids[1:300])
        shop.becomes_equal("orders")


def test_deletes_beside_the_copy(shop: Shop) -> None:
    """What was a row is marked; what was none yet is simply not there."""
    filler = "x" * 2000
    shop.db["orders"].insert_many({"n": n, "filler": filler} for n in range(40_000))
    with shop.running(deletion_strategy="soft"):
        shop.db["orders"].delete_many({"n": {"$mod": [3, 0]}})
        shop.becomes_equal("orders")
        last = shop.db["orders"].find_one_and_delete({}, sort=[("_id", -1)])
        assert last is not None
        wait_until(lambda: str(last["_id"]) in marked(shop), "the last one is marked")
    assert shop.differences("orders") == []


def test_a_key_that_is_rewritten_and_a_new_field(shop: Shop) -> None:
    orders = shop.db["orders"]
    orders.insert_many({"_id": n, "n": n} for n in range(5))
    with shop.running(deletion_strategy="soft"):
        shop.becomes_equal("orders")
        orders.delete_many({"_id": {"$lt": 3}})
        wait_until(lambda: len(marked(shop)) == 3, "rows are marked")
        orders.insert_one({"_id": "text", "new": {"deep": 1}})
        shop.becomes_equal("orders")
        assert marked(shop) == {"0", "1", "2"}
        orders.insert_one({"_id": Int64(0), "n": "back"})
        orders.delete_one({"_id": "text"})
        wait_until(lambda: marked(shop) == {"1", "2", '"text"'}, "marks are moved")
        shop.becomes_equal("orders")


@pytest.mark.parametrize("layout", ["columns", "document", "both"])
def test_a_field_called_like_the_column(shop: Shop, layout: str) -> None:
    """The field gets a column of another name, the table's first field or a new one."""
    moment = datetime(2020, 1, 2, tzinfo=UTC)
    orders = shop.db["orders"]
    orders.insert_many(
        [
            {"_id": 1, "is_deleted": True, "deleted_at": moment, "removed": "yes"},
            {"_id": 2, "is_deleted": False},
        ]
    )
    settings = {"deletion_strategy": "soft", "layout": layout}
    tables = {"other": {"soft_delete_column": "removed"}}
    shop.db["other"].insert_one({"_id": 1, "n": 1})
    with shop.running(**settings, tables=tables):
        shop.becomes_equal("orders")
        assert marked(shop) == set()
        shop.db["other"].insert_one({"_id": 2, "removed": 3, "is_deleted": [1]})
        orders.delete_one({"_id": 2})
        wait_until(lambda: marked(shop) == {2}, "the row is marked")
        shop.becomes_equal("orders")
        shop.becomes_equal("other")
        shop.db["other"].delete_one({"_id": 1})
        wait_until(lambda: marked(shop, "other", "removed") == {1}, "it is marked")
        assert shop.differences("other") == []
    assert ("removed" in shop.columns("orders")) is (layout != "document")


def test_documents_that_become_dead_letters(shop: Shop) -> None:
    """Their rows are marked, since they are no document's state, and come back."""
    orders = shop.db["orders"]
    orders.insert_many({"_id": n, "n": n} for n in range(4))
    letters = (
        "SELECT key, reason, state FROM cartridge_warp_metadata.dead_letter_queue"
        " ORDER BY key"
    )
    settings = {"deletion_strategy": "soft", "on_misfit": "dead_letter"}
    with shop.running(**settings):
        shop.becomes_equal("orders")
        fetch(shop.postgres_uri, f"ALTER TABLE {SCHEMA}.orders ADD CHECK (n < 100)")
        orders.update_one({"_id": 1}, {"$set": {"n": "text"}})
        orders.update_one({"_id": 2}, {"$set": {"n": 500}})
        wait_until(lambda: marked(shop) == {1, 2}, "both rows are marked")
        assert shop.rows(letters) == [
            ("1", "misfit", "pending"),
            ("2", "refused", "pending"),
        ]
        assert {(each.kind, each.key) for each in shop.differences("orders")} == {
            ("missing row", "1"),
            ("missing row", "2"),
        }
        orders.update_one({"_id": 1}, {"$set": {"n": 7}})
        orders.delete_one({"_id": 2})
        shop.becomes_equal("orders")
        assert marked(shop) == {2}
    assert [state for *_, state in shop.rows(letters)] == ["resolved"] * 2


def test_deletes_that_nobody_asked_for(shop: Shop) -> None:
    """A capped collection drops its oldest documents, and says so."""
    shop.db.create_collection("log", capped=True, size=1 << 20, max=3)
    shop.db["log"].insert_many({"_id": n} for n in range(3))
    with shop.running(deletion_strategy="soft"):
        shop.becomes_equal("log")
        shop.db["log"].insert_many({"_id": n} for n in range(3, 5))
        wait_until(lambda: marked(shop, "log") == {0, 1}, "the oldest are marked")
        shop.becomes_equal("log")


def test_documents_that_expire(postgres_uri: str) -> None:
    often = ("--setParameter", "ttlMonitorSleepSecs=1")
    with (
        embedded.mongod(own=True, extra_args=often) as server,
        pymongo.MongoClient[dict[str, Any]](server.uri) as client,
    ):
        shop = Shop(client["expiring"], server.uri, postgres_uri)
        orders = shop.db["orders"]
        orders.create_index("at", expireAfterSeconds=0)
        orders.insert_many({"_id": n, "n": n} for n in range(3))
        with shop.running(deletion_strategy="soft"):
            shop.becomes_equal("orders")
            orders.update_one({"_id": 1}, {"$set": {"at": datetime(2020, 1, 1)}})
            wait_until(lambda: marked(shop) == {1}, "the old one is marked")
            assert shop.differences("orders") == []
