"""Several lanes: keys in order, transactions whole, any number of lanes next time."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest
from bson import ObjectId
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.database import Database

from engine_kit import SCHEMA, Shop, wait_until

MARKERS = "cartridge_warp_metadata.sync_markers"


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    shop = Shop(mongo_db, mongo_uri, postgres_uri)
    for name in ("orders", "items"):
        shop.db[name].insert_many([{"_id": n, "n": 0} for n in range(200)])
    return shop


def write(shop: Shop, seed: int, rounds: int = 60) -> None:
    """Changes of every kind, some keys again and again."""
    rng = random.Random(seed)
    for number in range(rounds):
        for name in ("orders", "items"):
            shop.db[name].bulk_write(
                [
                    *(
                        UpdateOne({"_id": rng.randrange(220)}, {"$inc": {"n": 1}})
                        for _ in range(8)
                    ),
                    DeleteOne({"_id": rng.randrange(220)}),
                    UpdateOne(
                        {"_id": rng.randrange(220)}, {"$set": {"s": "x"}}, upsert=True
                    ),
                    InsertOne({"_id": ObjectId(), "n": number}),
                ]
            )


def check(shop: Shop) -> None:
    for name in ("orders", "items"):
        assert shop.differences(name) == []


def markers(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(f"SELECT lane, resume_token FROM {MARKERS} ORDER BY lane")


def test_every_lane_has_its_marker_and_all_end_at_one_place(shop: Shop) -> None:
    with shop.running(default_max_parallel_streams=4, stream_batch_size=20):
        write(shop, 1)
        for name in ("orders", "items"):
            shop.becomes_equal(name)
    found = markers(shop)
    assert [lane for lane, _ in found] == [0, 1, 2, 3]
    assert len({bytes(token) for _, token in found}) == 1
    check(shop)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 4)])
def test_another_number_of_lanes(shop: Shop, before: int, after: int) -> None:
    shop.once(default_max_parallel_streams=before)
    assert len(markers(shop)) == before
    write(shop, before)
    shop.once(default_max_parallel_streams=after)
    assert len(markers(shop)) == after
    check(shop)


def test_a_transaction_over_lanes_is_one_commit(shop: Shop) -> None:
    """Nobody sees an amount on its way from one account to another."""
    accounts = shop.db["accounts"]
    accounts.insert_many([{"_id": n, "amount": 100} for n in range(12)])
    query = f"SELECT sum(amount), count(*) FROM {SCHEMA}.accounts"
    with shop.running(default_max_parallel_streams=4, stream_batch_size=3) as run:
        seen = set()
        with psycopg.connect(shop.postgres_uri, autocommit=True) as reader:
            for number in range(40):
                with (
                    shop.db.client.start_session() as session,
                    session.start_transaction(),
                ):
                    for account in range(12):
                        sign = 1 if account % 2 else -1
                        change = {"$inc": {"amount": sign * (number % 7 + 1)}}
                        accounts.update_one({"_id": account}, change, session=session)
                seen |= set(reader.execute(query.encode()).fetchall())
        wait_until(lambda: run.table("accounts").counts.read >= 480, "all are read")
        shop.becomes_equal("accounts")
    assert seen == {(1200, 12)}
