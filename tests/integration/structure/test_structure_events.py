"""Collections that come, go, are renamed or replaced, while a sync follows them."""

from __future__ import annotations

import datetime
import logging
from typing import Any

import psycopg
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from cartridge_warp import embedded
from cartridge_warp.engine.views import Phase
from cartridge_warp.mongodb import stage
from engine_kit import SCHEMA, Running, Shop, wait_until
from postgresql_kit import META

Document = dict[str, Any]

GONE = f"SELECT table_name FROM {META}.table_state WHERE gone_at IS NOT NULL"
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'shop'::regnamespace" + (
    " AND relkind = 'r' ORDER BY 1"
)


@pytest.fixture(params=[True, False], ids=["expanded", "plain"])
def shop(
    request: pytest.FixtureRequest,
    mongo_db: Database[Document],
    mongo_uri: str,
    postgres_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """With the events that servers before 6.0 do not have, and without."""
    if not request.param:
        monkeypatch.setattr(stage, "IMAGES_WIRE", 99)
    return Shop(mongo_db, mongo_uri, postgres_uri)


def fill(shop: Shop, name: str, first: int, last: int) -> None:
    shop.db[name].insert_many([{"_id": n, "n": n} for n in range(first, last)])


def numbers(shop: Shop, table: str = "orders") -> list[int]:
    found = shop.rows(f'SELECT _id FROM {SCHEMA}."{table}" ORDER BY _id')
    return [number for (number,) in found]


def passed(shop: Shop) -> None:
    """Everything up to now lies behind the position."""
    key = ObjectId()
    shop.db["signs"].insert_one({"_id": key})
    query = f"SELECT 1 FROM {SCHEMA}.signs WHERE _id = '{key}'"

    def there() -> bool:
        try:
            return shop.rows(query) != []
        except psycopg.errors.UndefinedTable:
            return False

    wait_until(there, "the sign arrives")


def has_phase(run: Running, collection: str, phase: Phase) -> None:
    wait_until(lambda: run.table(collection).phase is phase, f"it is {phase}")


def test_dropped_and_kept(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    fill(shop, "orders", 0, 20)
    with caplog.at_level(logging.WARNING), shop.running() as run:
        shop.db["orders"].update_one({"_id": 3}, {"$set": {"n": 33}})
        shop.db["orders"].delete_one({"_id": 4})
        shop.becomes_equal("orders")
        shop.db["orders"].drop()
        passed(shop)
        assert len(numbers(shop)) == 19
        assert shop.rows(GONE) == [("orders",)]
        has_phase(run, "orders", Phase.GONE)
    assert any("kept" in each.message for each in caplog.records)
    logged = f"SELECT table_name FROM {META}.error_log WHERE kind = 'gone'"
    assert shop.rows(logged) == [("orders",)]
    # Still gone, and still kept, in the next run.
    shop.once()
    assert len(numbers(shop)) == 19


@pytest.mark.parametrize("policy", ["truncate", "drop"])
def test_dropped_by_policy(shop: Shop, policy: str) -> None:
    fill(shop, "orders", 0, 20)
    fill(shop, "kept", 0, 5)
    tables = [{"name": "kept", "on_drop": "keep"}]
    with shop.running(on_drop=policy, tables=tables):
        shop.becomes_equal("orders")
        shop.becomes_equal("kept")
        shop.db["orders"].drop()
        shop.db["kept"].drop()
        passed(shop)
        assert len(numbers(shop, "kept")) == 5
        there = shop.rows(TABLES)
        assert (("orders",) in there) == (policy == "truncate")
        if policy == "truncate":
            assert numbers(shop) == []
        # It comes back, with another field, and other ids.
        shop.db["orders"].insert_many([{"_id": n, "m": "m"} for n in range(15, 30)])
        shop.becomes_equal("orders")
        assert numbers(shop) == list(range(15, 30))


def test_what_something_depends_on_is_kept_all_the_same(shop: Shop) -> None:
    fill(shop, "orders", 0, 20)
    with shop.running(on_drop="drop"):
        shop.becomes_equal("orders")
        with psycopg.connect(shop.postgres_uri) as connection:
            connection.execute("CREATE VIEW shop.few AS SELECT _id FROM shop.orders")
        shop.db["orders"].drop()
        passed(shop)
        assert len(numbers(shop)) == 20
        assert shop.rows(GONE) == [("orders",)]


@pytest.mark.parametrize("policy", ["keep", "truncate", "drop"])
def test_dropped_and_made_again_at_once(shop: Shop, policy: str) -> None:
    """What came before the drop belongs to the old one, the rest to the new one."""
    fill(shop, "orders", 0, 20)
    with shop.running(on_drop=policy):
        shop.becomes_equal("orders")
        for turn in range(4):
            shop.db["orders"].update_many({}, {"$inc": {"n": 1}})
            shop.db["orders"].drop()
            fill(shop, "orders", 5 * turn, 5 * turn + 10)
            shop.db["orders"].update_many({}, {"$inc": {"n": 100}})
        shop.becomes_equal("orders")
        assert numbers(shop) == list(range(15, 25))
        shop.db["orders"].delete_many({"_id": {"$lt": 20}})
        shop.becomes_equal("orders")


@pytest.mark.parametrize("policy", ["keep", "truncate", "drop"])
def test_replaced_while_nothing_ran(shop: Shop, policy: str) -> None:
    fill(shop, "orders", 0, 20)
    fill(shop, "items", 0, 20)
    fill(shop, "users", 0, 20)
    shop.once()
    shop.db["orders"].drop()
    fill(shop, "orders", 10, 30)
    shop.db["items"].rename("orders_old")
    fill(shop, "items", 40, 45)
    shop.db["users"].drop()
    shop.once(on_drop=policy)
    for name in ("orders", "items", "orders_old"):
        assert shop.differences(name) == []
    there = [name for (name,) in shop.rows(TABLES)]
    assert ("users" in there) == (policy != "drop")
    if policy != "drop":
        assert len(numbers(shop, "users")) == (20 if policy == "keep" else 0)
    # A collection that is made, and holds nothing, is one that has come back.
    shop.db.create_collection("users")
    shop.once(on_drop=policy)
    if policy != "drop":
        assert numbers(shop, "users") == []


def test_renamed_to_a_new_name(shop: Shop) -> None:
    fill(shop, "orders", 0, 20)
    with shop.running(on_drop="drop"):
        shop.becomes_equal("orders")
        shop.db["orders"].rename("archive")
        shop.db["archive"].update_many({}, {"$inc": {"n": 5}})
        shop.becomes_equal("archive")
        # Kept, whatever on_drop says: nothing was dropped.
        assert len(numbers(shop)) == 20
        fill(shop, "orders", 100, 103)
        shop.becomes_equal("orders")
    shop.once()
    for name in ("orders", "archive"):
        assert shop.differences(name) == []


def test_renamed_onto_a_synced_name(shop: Shop) -> None:
    fill(shop, "orders", 0, 20)
    fill(shop, "next", 10, 40)
    with shop.running() as run:
        shop.becomes_equal("orders")
        shop.becomes_equal("next")
        shop.db["next"].rename("orders", dropTarget=True)
        shop.db["orders"].update_one({"_id": 12}, {"$set": {"n": 0}})
        shop.becomes_equal("orders")
        has_phase(run, "next", Phase.GONE)
        assert len(numbers(shop, "next")) == 30
        # And the other way round.
        fill(shop, "next", 0, 3)
        shop.becomes_equal("next")
        shop.db["orders"].rename("next", dropTarget=True)
        shop.becomes_equal("next")
        has_phase(run, "orders", Phase.GONE)


def test_written_by_out(shop: Shop) -> None:
    """Again and again; and what MongoDB writes to on the way gets no table."""
    fill(shop, "orders", 0, 50)
    fill(shop, "report", 40, 90)
    with shop.running():
        shop.becomes_equal("report")
        for least in (0, 10, 30):
            pipeline: list[Any] = [
                {"$match": {"_id": {"$gte": least}}},
                {"$set": {"n": least}},
            ]
            shop.db["orders"].aggregate([*pipeline, {"$out": "report"}])
            shop.db["orders"].aggregate([*pipeline, {"$out": f"new_{least}"}])
        for name in ("report", "new_0", "new_10", "new_30"):
            shop.becomes_equal(name)
        shop.db.command("convertToCapped", "report", size=1 << 20)
        shop.becomes_equal("report")
        passed(shop)
    there = [name for (name,) in shop.rows(TABLES)]
    assert there == ["new_0", "new_10", "new_30", "orders", "report", "signs"]


def test_the_whole_database_is_dropped_and_made_again(shop: Shop) -> None:
    for name in ("orders", "items"):
        fill(shop, name, 0, 20)
    with shop.running():
        for name in ("orders", "items"):
            shop.becomes_equal(name)
        shop.db.client.drop_database(shop.db.name)
        passed(shop)
        assert len(numbers(shop)) == 20
        fill(shop, "orders", 10, 15)
        shop.becomes_equal("orders")
        assert len(numbers(shop, "items")) == 20
        assert shop.rows(GONE) == [("items",)]


def test_made_again_inside_a_transaction(shop: Shop) -> None:
    fill(shop, "orders", 0, 20)
    fill(shop, "items", 0, 20)
    with shop.running(default_max_parallel_streams=2):
        shop.becomes_equal("orders")
        shop.db["orders"].drop()
        with shop.db.client.start_session() as session, session.start_transaction():
            shop.db["items"].update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
            shop.db["orders"].insert_one({"_id": 7, "n": 70}, session=session)
            shop.db["items"].update_one({"_id": 2}, {"$inc": {"n": 1}}, session=session)
        shop.becomes_equal("orders")
        shop.becomes_equal("items")
        assert numbers(shop) == [7]


def test_what_changes_nothing(shop: Shop) -> None:
    """Validators, indexes, a view of the same documents."""
    fill(shop, "orders", 0, 20)
    with shop.running() as run:
        shop.becomes_equal("orders")
        shop.db.command("collMod", "orders", validator={}, validationLevel="off")
        shop.db["orders"].create_index("n")
        shop.db["orders"].drop_index("n_1")
        shop.db.create_collection("few", viewOn="orders", pipeline=[])
        fill(shop, "orders", 20, 25)
        passed(shop)
        shop.becomes_equal("orders")
        assert run.table("orders").phase is Phase.STREAMING
    assert shop.rows(f"SELECT count(*) FROM {META}.snapshot_chunks WHERE resync") == [
        (0,)
    ]


def test_the_oldest_of_a_capped_collection_go(shop: Shop) -> None:
    """MongoDB 6.0 tells of them as of any delete."""
    shop.db.create_collection("last", capped=True, size=1 << 16, max=30)
    fill(shop, "last", 0, 40)
    with shop.running():
        shop.becomes_equal("last")
        fill(shop, "last", 40, 60)
        shop.becomes_equal("last")
    assert numbers(shop, "last") == list(range(30, 60))


def test_the_expired_go(postgres_uri: str) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    extra = ("--setParameter", "ttlMonitorSleepSecs=1")
    with (
        embedded.mongod(own=True, extra_args=extra) as server,
        MongoClient[Document](server.uri) as client,
    ):
        shop = Shop(client["test"], server.uri, postgres_uri)
        sessions = shop.db["sessions"]
        sessions.create_index("at", expireAfterSeconds=0)
        sessions.insert_many([{"_id": n, "at": None} for n in range(5)])
        with shop.running():
            shop.becomes_equal("sessions")
            sessions.update_many({"_id": {"$lt": 3}}, {"$set": {"at": past}})
            wait_until(lambda: sessions.count_documents({}) == 2, "some are expired")
            shop.becomes_equal("sessions")
        assert numbers(shop, "sessions") == [3, 4]
