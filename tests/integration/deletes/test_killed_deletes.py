"""Killed amid deletes and started again: marked once, audited once, nothing lost."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from command import sync
from engine_kit import SCHEMA, Shop

pytestmark = pytest.mark.faults

#: The moments of a batch, ``name:nth``; the thorough ones take a minute.
POINTS = [
    *("merge_done:2", "commit_sent:2"),
    *(
        pytest.param(point, marks=pytest.mark.slow)
        for point in ("tx_begin:2", "marker_updated:1", "commit_ok:1")
    ),
]

IDS = [ObjectId(f"{n:024x}") for n in range(2000)]


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    shop = Shop(mongo_db, mongo_uri, postgres_uri)
    shop.db["orders"].insert_many({"_id": IDS[n], "n": n} for n in range(2000))
    return shop


def run(shop: Shop, strategy: str, kill: str = "") -> None:
    """To the end, or to where it kills itself."""
    env = {"CARTRIDGE_WARP_DESTINATION__DELETION_STRATEGY": strategy}
    if kill:
        env |= {"CWARP_TEST": "1", "CWARP_TEST_KILL": kill}
    uris = (shop.source_uri, shop.postgres_uri)
    ended = sync(*uris, f"--schema={SCHEMA}", "--once", env=env)
    assert ended.code == (-signal.SIGKILL if kill else 0), ended.err


def write(shop: Shop) -> set[str]:
    """More than two batches, a third of it deletes; the keys of those that are gone."""
    orders = shop.db["orders"]
    orders.delete_many({"n": {"$lt": 900}})
    orders.update_many({"n": {"$gte": 1100}}, {"$set": {"v": 1}})
    orders.delete_many({"n": {"$gte": 1800}})
    orders.insert_many({"_id": IDS[n], "n": n, "back": True} for n in range(300))
    return {str(IDS[n]) for n in (*range(300, 900), *range(1800, 2000))}


@pytest.mark.parametrize("point", POINTS)
def test_soft_deletes(shop: Shop, point: str) -> None:
    run(shop, "soft")
    gone = write(shop)
    run(shop, "soft", kill=point)
    query = f"SELECT _id, deleted_at FROM {SCHEMA}.orders WHERE is_deleted"
    early = dict(shop.rows(query))
    run(shop, "soft")
    assert shop.differences("orders") == []
    marks = dict(shop.rows(query))
    assert marks.keys() == gone
    # What was committed before the kill is not done again.
    assert all(marks[key] == at for key, at in early.items() if key in gone)


@pytest.mark.parametrize("point", POINTS)
def test_audited_deletes(shop: Shop, point: str) -> None:
    run(shop, "both")
    gone = {f'{{"$oid":"{key}"}}' for key in write(shop)}
    run(shop, "both", kill=point)
    run(shop, "both")
    assert shop.differences("orders") == []
    rows = shop.rows("SELECT key FROM cartridge_warp_metadata.deletion_audit")
    keys = [key for (key,) in rows]
    assert len(keys) == len(set(keys))
    assert gone <= set(keys)


@pytest.mark.parametrize("point", ["ddl_before:1", "ddl_after:1"])
def test_columns_for_soft_deletes(shop: Shop, point: str) -> None:
    run(shop, "hard")
    gone = write(shop)
    run(shop, "soft", kill=point)
    assert shop.differences("orders") != []
    run(shop, "soft")
    assert shop.differences("orders") == []
    found = shop.rows(f"SELECT _id FROM {SCHEMA}.orders WHERE is_deleted")
    assert {key for (key,) in found} == gone
