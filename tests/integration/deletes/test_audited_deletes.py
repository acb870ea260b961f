"""``deletion_strategy: both``: the row goes, and what it was stays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, ObjectId, Timestamp
from pymongo.database import Database

from engine_kit import SCHEMA, Shop, wait_until

AUDIT = "cartridge_warp_metadata.deletion_audit"


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    return Shop(mongo_db, mongo_uri, postgres_uri)


def audited(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(
        f"SELECT table_name, key, last_row, cluster_time FROM {AUDIT} ORDER BY audit_id"
    )


def are_audited(shop: Shop, number: int) -> None:
    wait_until(lambda: len(audited(shop)) >= number, "the deletes are audited")


@pytest.mark.parametrize("size", [2, 700], ids=["few", "many"])
def test_every_delete_of_a_stream(shop: Shop, size: int) -> None:
    orders = shop.db["orders"]
    ids = [ObjectId() for _ in range(size + 1)]
    orders.insert_many({"_id": each, "n": n} for n, each in enumerate(ids))
    with shop.running(deletion_strategy="both"):
        shop.becomes_equal("orders")
        orders.update_many({}, {"$inc": {"n": 1000}})
        shop.becomes_equal("orders")
        with shop.db.client.start_session() as session, session.start_transaction():
            orders.delete_many({"_id": {"$in": ids[:size]}}, session=session)
        when = session.operation_time
        assert isinstance(when, Timestamp)
        are_audited(shop, size)
        assert shop.differences("orders") == []
        # Back, and gone a second time: a second entry.
        orders.insert_one({"_id": ids[0], "back": True})
        shop.becomes_equal("orders")
        orders.delete_one({"_id": ids[0]})
        are_audited(shop, size + 1)
    *first, last = audited(shop)
    rows = {key: row for _, key, row, _ in first}
    assert {key: row["n"] for key, row in rows.items()} == {
        f'{{"$oid":"{each}"}}': 1000 + n for n, each in enumerate(ids[:size])
    }
    # Of the delete itself, not of the batch or of the moment it was noticed in.
    assert {time for *_, time in first} == {when.time << 32 | when.inc}
    table, key, row, _ = last
    assert (table, key) == ("orders", f'{{"$oid":"{ids[0]}"}}')
    assert (row["_id"], row["n"], row["back"]) == (str(ids[0]), None, True)


def test_an_entry_holds_all_that_the_row_had(shop: Shop) -> None:
    orders = shop.db["orders"]
    orders.insert_one(
        {
            "_id": {"a": 1, "b": "x"},
            "price": Decimal128("1.10"),
            "at": datetime(2020, 1, 2, tzinfo=UTC),
            "deep": {"list": [1, 2.0], "is_deleted": True},
            "blob": b"\0\xff",
            "nan": float("nan"),
            "nul": "a\0b",
        }
    )
    shop.once(deletion_strategy="both", json_columns="json")
    (row,) = shop.rows(f"SELECT to_jsonb(o) FROM {SCHEMA}.orders o")
    orders.delete_many({})
    shop.once(deletion_strategy="both", json_columns="json")
    assert shop.rows(f"SELECT * FROM {SCHEMA}.orders") == []
    assert [entry[:3] for entry in audited(shop)] == [
        ("orders", '{"a":1,"b":"x"}', *row)
    ]
    assert row[0]["price"] == 1.10
    assert row[0]["nan"] == "NaN"


def test_a_document_that_was_no_row_leaves_no_entry(shop: Shop) -> None:
    orders = shop.db["orders"]
    orders.insert_one({"_id": 1, "n": 1})
    settings = {"deletion_strategy": "both", "on_misfit": "dead_letter"}
    shop.once(**settings)
    # Here and gone between two looks; a dead letter; its delete.
    orders.insert_one({"_id": 2})
    orders.delete_one({"_id": 2})
    orders.replace_one({"_id": 1}, {"n": "text"})
    shop.once(**settings)
    orders.delete_one({"_id": 1})
    shop.once(**settings)
    assert audited(shop) == []
    assert shop.differences("orders") == []


def test_each_table_has_its_own_strategy(shop: Shop) -> None:
    """Table over schema; a glob is a table's setting too."""
    names = ("hard", "soft_one", "soft_two", "both")
    for name in names:
        shop.db[name].insert_many({"_id": n} for n in range(4))
    settings: dict[str, Any] = {
        "deletion_strategy": "both",
        "soft_delete_column": "gone",
        "tables": {
            "hard": {"deletion_strategy": "hard"},
            "soft_*": {"deletion_strategy": "soft"},
            "soft_two": {"deletion_strategy": "soft", "soft_delete_column": "removed"},
        },
    }
    with shop.running(**settings):
        for name in names:
            shop.becomes_equal(name)
            shop.db[name].delete_many({"_id": {"$lt": 2}})
        for name in names:
            shop.becomes_equal(name)
        are_audited(shop, 2)
    assert [entry[:2] for entry in audited(shop)] == [("both", "0"), ("both", "1")]
    assert {name: shop.columns(name) for name in names} == {
        "hard": {"_id"},
        "both": {"_id"},
        "soft_one": {"_id", "gone", "deleted_at"},
        "soft_two": {"_id", "removed", "deleted_at"},
    }
    for name, column in (("soft_one", "gone"), ("soft_two", "removed")):
        query = f"SELECT _id FROM {SCHEMA}.{name} WHERE {column} ORDER BY _id"
        assert shop.rows(query) == [(0,), (1,)]
