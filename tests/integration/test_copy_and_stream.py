"""A first copy, then every change: what arrives is what is there."""

from __future__ import annotations

import datetime
import logging
import random
import threading
from typing import Any

import psycopg
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateOne
from pymongo.database import Database

from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import MisfitError, PreconditionError
from engine_kit import SCHEMA, Shop, table_of, wait_until
from tests.core.build import Raw, document, int32, obj, symbol


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    return Shop(mongo_db, mongo_uri, postgres_uri)


def order(number: int, **more: object) -> dict[str, Any]:
    return {
        "_id": ObjectId(f"{number:024x}"),
        "number": number,
        "total": Decimal128(f"{number}.10"),
        "big": Int64(2**40 + number),
        "placed": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        "customer": {"name": f"customer {number}", "address": {"city": "Oslo"}},
        "lines": [{"sku": "a", "count": number}],
        **more,
    }


def test_a_copy_is_its_collection(shop: Shop) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(3000)])
    shop.db["names"].insert_many([{"_id": f"name {n}", "n": n} for n in range(10)])
    view = shop.once()
    assert view.phase is Phase.DONE
    assert shop.differences("orders") == []
    assert shop.differences("names") == []
    orders = table_of(view, "orders")
    assert (orders.counts.copied, orders.expected) == (3000, 3000)
    assert orders.phase is Phase.STREAMING
    assert view.lag_seconds == 0.0


def test_a_second_run_goes_on_and_copies_nothing(shop: Shop) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(100)])
    shop.once()
    shop.db["orders"].update_many({"number": {"$lt": 10}}, {"$set": {"paid": True}})
    shop.db["orders"].delete_many({"number": {"$gte": 90}})
    view = shop.once()
    counts = table_of(view, "orders").counts
    # The copied rows are the first run's; the second one read changes alone.
    assert (counts.copied, counts.applied, counts.deleted) == (100, 20, 10)
    assert shop.differences("orders") == []


def test_changes_of_every_kind(shop: Shop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(50)])
    with shop.running() as run:
        orders.bulk_write(
            [
                *[InsertOne(order(n)) for n in range(50, 80)],
                *[
                    UpdateOne({"number": n}, {"$set": {"total": Decimal128("0")}})
                    for n in range(10)
                ],
                *[ReplaceOne({"number": n}, {"number": n}) for n in range(10, 20)],
                *[DeleteOne({"number": n}) for n in range(20, 30)],
                UpdateOne({"number": 1}, {"$unset": {"customer": 1}}),
                DeleteOne({"number": 2}),
            ]
        )
        orders.insert_one(order(2, back="again"))
        shop.becomes_equal("orders")
        wait_until(lambda: run.table("orders").counts.read == 113, "all are counted")
        assert run.table("orders").counts.deleted >= 10


def test_a_key_that_changes_often_is_written_less_often(shop: Shop) -> None:
    orders = shop.db["orders"]
    orders.insert_one(order(1))
    shop.once()
    for total in range(200):
        orders.update_one({"number": 1}, {"$set": {"total": total}})
    counts = table_of(shop.once(), "orders").counts
    assert counts.applied + counts.superseded == 200
    assert counts.applied < 200
    assert shop.differences("orders") == []


def test_a_new_field_becomes_a_column_while_streaming(shop: Shop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(5)])
    with shop.running() as run:
        assert "coupon" not in shop.columns("orders")
        orders.update_one({"number": 3}, {"$set": {"coupon": "SPRING"}})
        shop.becomes_equal("orders")
        assert "coupon" in shop.columns("orders")
        wait_until(lambda: run.table("orders").structure_changes == 1, "it is reported")
    ((coupon,),) = shop.rows(f"SELECT coupon FROM {SCHEMA}.orders WHERE number = 3")
    assert coupon == "SPRING"


def test_a_field_of_late_documents_alone_becomes_a_column(shop: Shop) -> None:
    """The sample misses it, and so do the first replies of the chunk."""
    filler = "x" * 2000
    shop.db["orders"].insert_many(
        [order(n, filler=filler) for n in range(20_000)]
        + [order(n, filler=filler, late={"deep": n}) for n in range(20_000, 20_100)]
    )
    view = shop.once(schema_sample_size=1)
    assert {"late_deep", "filler"} <= shop.columns("orders")
    assert shop.differences("orders") == []
    assert table_of(view, "orders").counts.copied == 20_100
    ((rescued,),) = shop.rows(
        f"SELECT count(*) FROM {SCHEMA}.orders WHERE _cwarp_extra IS NOT NULL"
    )
    assert rescued == 0


def test_a_value_of_another_type_is_kept(shop: Shop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(5)])
    with shop.running() as run:
        orders.update_one({"number": 1}, {"$set": {"number": "one"}})
        orders.update_one({"number": 2}, {"$set": {"customer": "nobody"}})
        shop.becomes_equal("orders")
        wait_until(lambda: run.table("orders").counts.rescued == 1, "it is counted")
    # A document's place that holds a scalar for once is a path of its own.
    assert "customer" in shop.columns("orders")


def test_what_happens_during_a_commit_is_read_at_once(
    shop: Shop, mongo_client: MongoClient[dict[str, Any]]
) -> None:
    """A change that comes while another is committed costs no request of its own."""

    def requests() -> int:
        counters = mongo_client.admin.command("serverStatus")["opcounters"]
        return int(counters["getmore"])

    shop.db["orders"].insert_one(order(0))
    with shop.running():
        shop.becomes_equal("orders")
        with psycopg.connect(shop.postgres_uri) as holder:
            holder.execute(f"LOCK TABLE {SCHEMA}.orders IN EXCLUSIVE MODE")
            before = requests()
            for number in range(1, 300):
                shop.db["orders"].insert_one(order(number))
        shop.becomes_equal("orders")
        assert requests() - before < 30


def test_transactions_arrive_whole(shop: Shop) -> None:
    shop.db["accounts"].insert_many([{"_id": n, "amount": 100} for n in range(10)])
    shop.db["log"].insert_one({"_id": 0, "amount": 0})
    with shop.running(stream_batch_size=2):
        with shop.db.client.start_session() as session:
            for number in range(1, 20):
                with session.start_transaction():
                    for account in range(10):
                        change = {"$inc": {"amount": 1 if account % 2 else -1}}
                        shop.db["accounts"].update_one(
                            {"_id": account}, change, session=session
                        )
                    shop.db["log"].insert_one({"_id": number}, session=session)
        shop.becomes_equal("accounts")
        shop.becomes_equal("log")


def test_an_empty_collection_gets_its_table_with_its_first_document(
    shop: Shop,
) -> None:
    shop.db.create_collection("orders")
    with shop.running() as run:
        assert run.table("orders").phase is Phase.EMPTY
        shop.db["orders"].insert_one({"_id": "a string, not an ObjectId", "n": 1})
        shop.becomes_equal("orders")
        assert run.table("orders").phase is Phase.STREAMING
        shop.db["orders"].insert_one({"_id": "another", "n": 2})
        shop.becomes_equal("orders")


def test_a_collection_that_appears_while_streaming(shop: Shop) -> None:
    shop.db["orders"].insert_one(order(1))
    with shop.running():
        shop.db["returns"].insert_many([order(n) for n in range(20)])
        shop.db["returns"].delete_many({"number": {"$lt": 5}})
        shop.becomes_equal("returns")
    shop.once()
    assert shop.differences("returns") == []


def test_a_renamed_collection_is_copied_under_its_new_name(shop: Shop) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(20)])
    with shop.running():
        shop.db["orders"].rename("archive")
        shop.db["archive"].insert_one(order(99))
        shop.becomes_equal("archive")
    ((kept,),) = shop.rows(f"SELECT count(*) FROM {SCHEMA}.orders")
    assert kept == 20


def test_a_stream_outlives_the_drop_of_its_database(shop: Shop) -> None:
    shop.db["orders"].insert_one(order(1))
    with shop.running():
        shop.db.client.drop_database(shop.db.name)
        shop.db["fresh"].insert_one(order(2))
        shop.becomes_equal("fresh")


def test_only_selected_collections_are_synced(shop: Shop) -> None:
    for name in ("orders", "items", "secret"):
        shop.db[name].insert_one(order(1))
    with shop.running(table_blacklist=["secret"]) as run:
        shop.db["secret"].insert_one(order(2))
        shop.db["orders"].insert_one(order(2))
        shop.becomes_equal("orders")
        wait_until(lambda: run.schema().filtered == 1, "the event is counted")
    tables = shop.rows(
        f"SELECT tablename FROM pg_tables WHERE schemaname = '{SCHEMA}' ORDER BY 1"
    )
    assert tables == [("items",), ("orders",)]


def test_a_collection_selected_later_gets_its_own_copy(shop: Shop) -> None:
    for name in ("orders", "items"):
        shop.db[name].insert_many([order(n) for n in range(10)])
    shop.once(table_whitelist=["orders"])
    shop.db["items"].delete_one({"number": 1})
    shop.once()
    assert shop.differences("items") == []


def test_a_broken_value_is_a_dead_letter_and_its_neighbours_arrive(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(5)])
    with caplog.at_level(logging.WARNING), shop.running(on_misfit="dead_letter") as run:
        shop.db["orders"].insert_many([{"_id": order(6)["_id"], "number": "six"}])
        shop.db["orders"].insert_one(order(77))
        wait_until(
            lambda: run.table("orders").counts.dead_letters == 1, "the dead letter"
        )
        shop.db["orders"].delete_one({"number": "six"})
        shop.becomes_equal("orders")
    [warning] = [each for each in caplog.records if "dead letter" in each.message]
    assert (warning.table, warning.reason) == ("orders", "misfit")  # type: ignore[attr-defined]
    assert run.table("orders").pending_letters == 0


def test_a_row_whose_document_became_a_dead_letter_goes(shop: Shop) -> None:
    """It would show a state that the document is not in any more."""
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(5)])
    of_three = f"SELECT number FROM {SCHEMA}.orders WHERE _id = '{3:024x}'"
    with shop.running(on_misfit="dead_letter"):
        assert shop.rows(of_three) == [(3,)]
        orders.update_one({"number": 3}, {"$set": {"number": "three"}})
        wait_until(lambda: shop.rows(of_three) == [], "the row goes")
        orders.update_one({"number": "three"}, {"$set": {"number": 33}})
        shop.becomes_equal("orders")
    letters = shop.rows("SELECT state FROM cartridge_warp_metadata.dead_letter_queue")
    assert letters == [("resolved",)]


def test_a_misfit_may_end_the_sync(shop: Shop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(5)])
    shop.once()
    orders.update_one({"number": 3}, {"$set": {"number": "three"}})
    told = r"does not fit the column number \(misfit for \w+, at byte \d+ of its"
    with pytest.raises(MisfitError, match=told):
        shop.once(on_misfit="fail")
    orders.update_one({"number": "three"}, {"$set": {"number": 33}})
    shop.once(on_misfit="fail")
    assert shop.differences("orders") == []


def test_a_symbol_is_the_id_that_its_text_is(shop: Shop) -> None:
    """MongoDB keeps no two documents of them, and so no row of the other may stay."""
    zoo = shop.db["zoo"]
    zoo.insert_many([{"_id": each, "n": 1} for each in ("a", "b", "c")])
    zoo.insert_many([{"_id": {"k": each}, "n": 1} for each in ("a", "b")])
    kept = shop.db["kept"]
    kept.insert_many([{"_id": each, "n": 1} for each in ("a", "b", "c")])

    def replaced(collection: Any, old: Any, new: Raw) -> None:
        collection.delete_one({"_id": old})
        raw = document(("_id", new), ("n", int32(2)))
        collection.insert_one(RawBSONDocument(raw))

    with shop.running():
        replaced(zoo, "a", symbol("a"))
        replaced(zoo, {"k": "a"}, obj(("k", symbol("a"))))
        replaced(kept, "a", symbol("a"))
        zoo.delete_one({"_id": "a"})
        zoo.update_one({"_id": {"k": "a"}}, {"$set": {"n": 3}})
        for collection in (zoo, kept):
            shop.becomes_equal(collection.name)
    rows = shop.rows(f"SELECT _id, n FROM {SCHEMA}.kept ORDER BY _id")
    assert rows == [("a", 2), ("b", 1), ("c", 1)]


def test_mixed_ids_are_one_table(shop: Shop) -> None:
    ids = [1, Int64(2), 2.5, "1", ObjectId(), {"a": 1, "b": 2}, {"b": 2, "a": 1}, True]
    shop.db["zoo"].insert_many([{"_id": each, "n": 1} for each in ids])
    with shop.running():
        shop.db["zoo"].update_one({"_id": {"b": 2, "a": 1}}, {"$set": {"n": 2}})
        shop.db["zoo"].delete_one({"_id": 2})
        shop.db["zoo"].insert_one({"_id": 2.0, "n": 3})
        shop.becomes_equal("zoo")


def test_a_view_is_left_out_with_its_reason(shop: Shop) -> None:
    shop.db["orders"].insert_one(order(1))
    shop.db.create_collection("cheap", viewOn="orders", pipeline=[])
    table = table_of(shop.once(), "cheap")
    assert table.phase is Phase.UNSUPPORTED
    assert "view" in table.last_error


def test_a_view_asked_for_by_name_is_refused(shop: Shop) -> None:
    shop.db["orders"].insert_one(order(1))
    shop.db.create_collection("cheap", viewOn="orders", pipeline=[])
    with pytest.raises(PreconditionError, match="cheap cannot be streamed"):
        shop.once(table_whitelist=["cheap"])


def test_writers_all_through_a_copy(shop: Shop) -> None:
    """What the copy saw of a change does not matter: the stream brings it again."""
    orders = shop.db["orders"]
    orders.insert_many([order(n, filler="x" * 500) for n in range(10_000)])
    copied = threading.Event()
    rng = random.Random(1)

    def write() -> None:
        number = 10_000
        while not copied.is_set():
            some = [rng.randrange(number) for _ in range(5)]
            orders.bulk_write(
                [
                    InsertOne(order(number)),
                    UpdateOne({"number": some[0]}, {"$inc": {"big": 1}}),
                    UpdateOne({"number": some[1]}, {"$set": {f"new{number % 7}": 1}}),
                    ReplaceOne({"number": some[2]}, {"number": some[2]}),
                    DeleteOne({"number": some[3]}),
                ]
            )
            number += 1

    writer = threading.Thread(target=write, name="writer")
    writer.start()
    try:
        with shop.running(snapshot_workers=3) as run:
            copied.set()
            writer.join()
            shop.becomes_equal("orders")
            assert run.table("orders").counts.applied > 0
    finally:
        copied.set()
        writer.join()
