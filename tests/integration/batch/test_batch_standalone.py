"""A standalone mongod: no history, no cluster time, and passes all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pymongo
import pytest
from batch_kit import META, BatchShop, at

from cartridge_warp import embedded
from cartridge_warp.errors import PreconditionError
from engine_kit import Shop, table_of, wait_until
from mongodb_kit import make


def order(number: int, **more: object) -> dict[str, Any]:
    return {"_id": number, "n": number, "updated_at": at(number), **more}


@pytest.mark.parametrize("strategy", ["timestamp", "hash"])
def test_passes_over_a_standalone(alone: BatchShop, strategy: str) -> None:
    settings = {"change_detection_strategy": strategy, "detect_deletes": True}
    orders = alone.db["orders"]
    orders.insert_many([order(n) for n in range(2000)])
    assert table_of(alone.sees(**settings), "orders").counts.copied == 2000
    orders.update_many({"n": {"$lt": 9}}, {"$set": {"new": 1, "updated_at": at(3000)}})
    orders.delete_many({"n": {"$gte": 1990}})
    counts = table_of(alone.sees(**settings), "orders").counts
    assert (counts.applied, counts.deleted) == (19, 10)


def test_a_running_sync_of_a_standalone(alone: BatchShop) -> None:
    orders = alone.db["orders"]
    orders.insert_many([order(n) for n in range(10)])
    with alone.running(default_polling_interval=0.2) as run:
        for number in range(10, 15):
            orders.insert_one(order(number))
            alone.becomes_equal("orders")
        wait_until(lambda: run.schema().connected, "both ends are there")
        assert run.schema().oldest_time is None


def test_views_and_time_series_of_a_standalone(alone: BatchShop) -> None:
    alone.db["orders"].insert_many([order(n) for n in range(100)])
    alone.db.create_collection("half", viewOn="orders", pipeline=[{"$limit": 50}])
    alone.db.create_collection("series", timeseries={"timeField": "updated_at"})
    alone.db["series"].insert_many([{"updated_at": at(n), "n": n} for n in range(100)])
    alone.once()
    for name in ("orders", "half", "series"):
        assert alone.differences(name) == []


def test_a_standalone_cannot_be_streamed(alone: BatchShop) -> None:
    alone.db["orders"].insert_one(order(1))
    with pytest.raises(PreconditionError, match="standalone") as raised:
        Shop.once(alone, mode="stream")
    assert "batch mode" in raised.value.hint
    # One streamed table is enough.
    with pytest.raises(PreconditionError, match="standalone"):
        alone.once(tables=[{"name": "orders", "mode": "stream"}])


def test_another_standalone_is_refused(alone: BatchShop) -> None:
    alone.db["orders"].insert_one(order(1))
    alone.once()
    with embedded.mongod(standalone=True) as other:
        with pymongo.MongoClient[dict[str, Any]](other.uri) as client:
            client[alone.db.name]["orders"].insert_one(order(2))
        alone.source_uri = embedded.with_database(other.uri, alone.db.name)
        with pytest.raises(
            PreconditionError, match="belongs to replica set standalone/"
        ):
            alone.once()


def test_a_standalone_is_the_same_after_a_restart_on_another_port(
    tmp_path: Path,
) -> None:
    found = set()
    for _ in range(2):
        with embedded.mongod(tmp_path, standalone=True) as server:
            with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
                client["shop"]["orders"].insert_one({})
            source = make(server.uri, "shop", change_detection_strategy="hash")
            found.add(source.validate().replica_set_id)
            source.close()
    (identity,) = found
    assert identity.startswith("standalone/")


def test_who_may_not_read_its_id_knows_it_by_its_hosts(tmp_path: Path) -> None:
    """With the right to read the one database, and no other."""
    with embedded.mongod(tmp_path, standalone=True) as server:
        with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
            client["shop"]["orders"].insert_one(order(1))
            roles = [{"role": "read", "db": "shop"}]
            client["shop"].command("createUser", "reader", pwd="sesame", roles=roles)
    with embedded.mongod(tmp_path, standalone=True, extra_args=["--auth"]) as server:
        uri = server.uri.replace("mongodb://", "mongodb://reader:sesame@") + "shop"
        source = make(uri, "shop", change_detection_strategy="hash")
        identity = source.validate()
        assert source.validate() == identity
        reader = source.increments("orders", "updated_at")
        assert reader.usable()
        assert [len(each) for each in reader.whole(source.newest_time())] == [1]
        source.close()
    assert identity.replica_set_id.startswith("standalone/")


def test_its_rows_have_no_cluster_time(alone: BatchShop) -> None:
    alone.db["orders"].insert_many([order(n) for n in range(3)])
    alone.sees()
    alone.db["orders"].insert_one(order(9))
    alone.sees()
    query = "SELECT DISTINCT _cwarp_source_ts FROM shop.orders"
    assert alone.rows(query) == [(None,)]
    query = f"SELECT resume_token, cluster_time FROM {META}.sync_markers"
    assert alone.rows(query) == [(None, None)]
