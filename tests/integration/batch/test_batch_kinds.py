"""What else there is to read than ordinary collections: views, time-series, ..."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from batch_kit import BatchShop, at
from bson import ObjectId

from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import PreconditionError, SourceError
from engine_kit import Shop, table_of, wait_until

#: How a view and a time-series collection are both read.
STRATEGIES = pytest.mark.parametrize(
    "settings",
    [{"change_detection_column": "t"}, {"change_detection_strategy": "hash"}],
    ids=["timestamp", "hash"],
)


def measurement(number: int) -> dict[str, Any]:
    return {
        "_id": ObjectId(f"{number:024x}"),
        "t": at(number),
        "meta": {"sensor": number % 3},
        "value": number / 4,
    }


@STRATEGIES
def test_a_view(shop: BatchShop, settings: dict[str, Any]) -> None:
    all_of_them = shop.db["all"]
    all_of_them.insert_many(
        [{"_id": n, "t": at(n), "cheap": n % 2 == 0, "n": n} for n in range(2000)]
    )
    all_of_them.insert_one({"_id": "undated", "cheap": True})
    cheap: list[dict[str, Any]] = [{"$match": {"cheap": True}}, {"$set": {"more": 1}}]
    shop.db.create_collection("cheap", viewOn="all", pipeline=cheap)
    settings = {**settings, "table_whitelist": ["cheap"], "detect_deletes": True}
    view = table_of(shop.once(**settings), "cheap")
    assert shop.differences("cheap") == []
    assert (view.counts.copied, view.counts.applied) == (0, 1001)
    assert view.unread == (1 if "change_detection_column" in settings else 0)
    # One leaves the view, one comes, one changes.
    all_of_them.update_one({"_id": 4}, {"$set": {"cheap": False}})
    all_of_them.update_one({"_id": 5}, {"$set": {"cheap": True, "t": at(3000)}})
    all_of_them.update_one({"_id": 6}, {"$set": {"n": 66, "t": at(3000)}})
    view = table_of(shop.once(**settings), "cheap")
    assert shop.differences("cheap") == []
    assert (view.counts.applied, view.counts.deleted) == (3, 1)


@STRATEGIES
def test_a_time_series_collection(shop: BatchShop, settings: dict[str, Any]) -> None:
    shop.db.create_collection("series", timeseries={"timeField": "t", "metaField": "m"})
    series = shop.db["series"]
    series.insert_many([measurement(n) for n in range(1500)])
    counts = table_of(shop.once(**settings), "series").counts
    assert shop.differences("series") == []
    assert (counts.copied, counts.applied) == (0, 1500)
    series.insert_many([measurement(n) for n in range(1500, 1510)])
    counts = table_of(shop.once(**settings), "series").counts
    assert shop.differences("series") == []
    assert counts.applied == 10


@pytest.mark.parametrize(
    "options",
    [
        {"capped": True, "size": 1 << 20},
        {"clusteredIndex": {"key": {"_id": 1}, "unique": True}},
        {"collation": {"locale": "en", "strength": 2}},
    ],
    ids=["capped", "clustered", "collated"],
)
def test_collections_that_are_a_little_different(
    shop: BatchShop, options: dict[str, Any]
) -> None:
    shop.db.create_collection("orders", **options)
    orders = shop.db["orders"]
    orders.insert_many([{"_id": f"id {n}", "updated_at": at(n)} for n in range(700)])
    shop.sees(detect_deletes=True)
    orders.insert_one({"_id": "id new", "updated_at": at(1000)})
    if "capped" not in options:
        orders.delete_one({"_id": "id 3"})
    shop.sees(detect_deletes=True)


@STRATEGIES
def test_a_view_with_one_id_for_several_documents_is_an_error(
    shop: BatchShop, settings: dict[str, Any]
) -> None:
    shop.db["baskets"].insert_many(
        [{"_id": n, "t": at(n), "items": [{"n": 1}, {"n": 2}]} for n in range(10)]
    )
    shop.db.create_collection(
        "items", viewOn="baskets", pipeline=[{"$unwind": "$items"}]
    )
    with pytest.raises(SourceError, match="several documents with one _id") as raised:
        shop.once(**settings)
    assert "_id of their own" in raised.value.hint
    # The others are read all the same.
    assert shop.differences("baskets") == []


def test_a_view_that_fails_does_not_end_a_running_sync(shop: BatchShop) -> None:
    shop.db["baskets"].insert_one({"_id": 1, "t": at(1), "items": [{"n": 1}, {"n": 2}]})
    shop.db.create_collection(
        "items", viewOn="baskets", pipeline=[{"$unwind": "$items"}]
    )
    settings = {"change_detection_column": "t", "default_polling_interval": 0.2}
    with shop.running(**settings) as run:
        wait_until(lambda: run.table("items").phase is Phase.FAILED, "the view fails")
        passes = run.table("baskets").passes
        wait_until(lambda: run.table("baskets").passes > passes + 2, "others go on")
        failed = [each for each in shop.errors() if each[1] == "SourceError"]
        assert failed == [("items", "SourceError", 1)]
        shop.db["baskets"].update_one({"_id": 1}, {"$set": {"items": [{"n": 3}]}})
        shop.becomes_equal("items")
        wait_until(lambda: run.table("items").phase is not Phase.FAILED, "it is well")
        assert run.table("items").last_error == ""


@pytest.mark.parametrize("kind", ["view", "timeseries"])
def test_mode_stream_points_at_batch_mode(
    shop: BatchShop, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "view":
        shop.db["orders"].insert_one({"_id": 1})
        shop.db.create_collection("odd", viewOn="orders", pipeline=[])
    else:
        shop.db.create_collection("odd", timeseries={"timeField": "t"})
        shop.db["orders"].insert_one({"_id": 1})
    with pytest.raises(PreconditionError, match="odd cannot be streamed") as raised:
        Shop.once(shop, mode="stream", table_whitelist=["odd"])
    assert "mode: batch" in raised.value.hint
    with caplog.at_level(logging.WARNING, "cartridge_warp"):
        Shop.once(shop, mode="stream")
    (said,) = [each for each in caplog.records if "not synced" in each.message]
    assert "mode: batch" in said.hint  # type: ignore[attr-defined]


def test_a_large_view_is_gone_on_with_where_it_was(shop: BatchShop) -> None:
    """Its first pass has no chunks, and its marker moves all the same."""
    now = datetime.now(UTC)
    filler = "x" * 4000
    shop.db["all"].insert_many(
        [{"_id": n, "t": at(n), "filler": filler} for n in range(4000)]
    )
    shop.db.create_collection("some", viewOn="all", pipeline=[{"$set": {"seen": now}}])
    settings = {"change_detection_column": "t", "table_whitelist": ["some"]}
    with shop.running(**settings) as run:
        wait_until(lambda: run.table("some").counts.applied > 0, "it has begun")
        # The stop comes in the middle, or at the end on a very fast machine.
    marker = shop.marker("some")["value_time"]
    assert at(0).timestamp() * 1000 < marker <= at(3999).timestamp() * 1000
    counts = table_of(shop.once(**settings), "some").counts
    assert shop.differences("some") == []
    assert counts.applied + counts.superseded < 4000
