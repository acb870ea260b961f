"""Strategy ``timestamp``: what is dated since the last pass becomes rows."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from batch_kit import META, BatchShop, at
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import MisfitError
from engine_kit import SCHEMA, table_of, wait_until


def order(number: int, **more: object) -> dict[str, Any]:
    return {"_id": number, "n": number, "updated_at": at(number), **more}


def test_the_first_pass_copies_and_the_next_reads_what_changed(shop: BatchShop) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(3000)])
    view = shop.sees()
    first = table_of(view, "orders")
    assert view.phase is Phase.DONE
    assert (first.phase, first.passes, first.unread) == (Phase.WAITING, 1, 0)
    # The copy, and the overlap once more, which changed nothing.
    assert (first.counts.copied, first.counts.applied) == (3000, 0)
    assert first.counts.superseded == 61
    shop.db["orders"].update_many(
        {"n": {"$lt": 50}}, {"$set": {"paid": True, "updated_at": at(5000)}}
    )
    shop.db["orders"].insert_one(order(3000, updated_at=at(5001)))
    second = table_of(shop.sees(), "orders")
    assert (second.counts.copied, second.counts.applied) == (3000, 51)
    assert second.passes == 2
    assert "paid" in shop.columns("orders")


def test_a_pass_reads_again_at_most_the_overlap(shop: BatchShop) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(1000)])
    shop.sees()
    for overlap in (0, 10, 60, 600):
        counts = shop.orders(change_detection_overlap_seconds=overlap).counts
        # A process knows nothing of what another one read: all of it is compared.
        assert (counts.applied, counts.superseded) == (0, overlap + 1)


def test_no_stream_is_opened(shop: BatchShop) -> None:
    shop.db["orders"].insert_one(order(1))
    shop.sees()
    query = f"SELECT lane, resume_token, cluster_time FROM {META}.sync_markers"
    assert shop.rows(query) == [(0, None, None)]


def test_many_documents_of_one_time_lie_across_replies(shop: BatchShop) -> None:
    """Even without any overlap: the marker's own time is always read again."""
    orders = shop.db["orders"]
    orders.insert_many([order(n, updated_at=at(0)) for n in range(2500)])
    settings = {"change_detection_overlap_seconds": 0}
    shop.sees(**settings)
    orders.update_many({}, {"$set": {"n": -1, "updated_at": at(1)}})
    shop.sees(**settings)
    orders.insert_many([order(n, updated_at=at(1)) for n in range(3000, 3005)])
    shop.sees(**settings)


def test_what_becomes_visible_late_is_what_the_overlap_is_for(shop: BatchShop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(100, 200)])
    shop.sees()
    # A write that was dated before the marker, and committed after the pass.
    orders.insert_one(order(1000, updated_at=at(199 - 59)))
    view = shop.once(change_detection_overlap_seconds=30)
    assert len(shop.differences("orders")) == 1
    assert table_of(view, "orders").counts.applied == 0
    shop.sees(change_detection_overlap_seconds=60)


def test_documents_whose_column_tells_no_time_are_counted(
    shop: BatchShop, caplog: pytest.LogCaptureFixture
) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(20)])
    odd: list[object] = [
        "2024-01-01",
        None,
        5,
        Int64(2**40),
        Timestamp(1, 1),
        ObjectId(),
        {"at": at(1)},
        [],
        [1],
        MinKey(),
        MaxKey(),
        True,
    ]
    orders.insert_many(
        [{"_id": f"odd {n}", "updated_at": v} for n, v in enumerate(odd)]
    )
    orders.insert_one({"_id": "missing"})
    with caplog.at_level(logging.WARNING, "cartridge_warp"):
        view = shop.sees()
    assert table_of(view, "orders").unread == len(odd) + 1
    assert shop.marker()["unread"] == len(odd) + 1
    assert shop.errors() == [("orders", "unread", len(odd) + 1)]
    (said,) = [each for each in caplog.records if "hold no time" in each.message]
    assert said.documents == len(odd) + 1  # type: ignore[attr-defined]
    assert "hash" in said.hint  # type: ignore[attr-defined]
    # They were copied. What happens to them later is not seen, and that is said.
    orders.update_one({"_id": "missing"}, {"$set": {"n": 7}})
    shop.once()
    assert len(shop.differences("orders")) == 1
    orders.update_one({"_id": "missing"}, {"$set": {"updated_at": at(100)}})
    assert table_of(shop.sees(), "orders").unread == len(odd)


def test_the_same_number_is_told_once_a_run(shop: BatchShop) -> None:
    shop.db["orders"].insert_many([order(1), {"_id": "missing"}])
    with shop.running(default_polling_interval=0.1) as run:
        wait_until(lambda: run.table("orders").passes > 5, "some passes were made")
    assert shop.errors() == [("orders", "unread", 1)]


def test_a_date_of_the_future_does_not_hide_what_comes_after_it(
    shop: BatchShop,
) -> None:
    orders = shop.db["orders"]
    far = datetime(2999, 1, 1, tzinfo=UTC)
    orders.insert_many([order(1), order(2, updated_at=far)])
    shop.sees()
    assert shop.marker()["value_time"] == at(1).timestamp() * 1000
    orders.insert_one(order(3, updated_at=at(3)))
    shop.sees()
    assert shop.marker()["value_time"] == at(3).timestamp() * 1000
    orders.update_one({"_id": 2}, {"$set": {"n": 22}})
    shop.sees()


def test_documents_of_the_future_alone_are_read_again_and_again(
    shop: BatchShop,
) -> None:
    orders = shop.db["orders"]
    far = datetime(2999, 1, 1, tzinfo=UTC)
    orders.insert_many([order(n, updated_at=far) for n in range(5)])
    assert table_of(shop.sees(), "orders").unread == 0
    assert shop.marker()["value"] is None
    orders.insert_one(order(7, updated_at=far - timedelta(days=1)))
    shop.sees()


def test_the_marker_never_moves_back(shop: BatchShop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(100)])
    shop.sees()
    before = shop.marker()
    orders.delete_many({"_id": {"$gte": 10}})
    shop.once()
    after = shop.marker()
    for name in ("value", "last_key", "value_time"):
        assert after[name] == before[name]
    assert bson.decode(before["value"]) == {"v": at(99).replace(tzinfo=None)}
    assert after["passes"] == 2


@pytest.mark.parametrize("kind", ["timestamp", "objectId", "nested"])
def test_other_columns_that_tell_a_time(shop: BatchShop, kind: str) -> None:
    orders = shop.db["orders"]

    def document(number: int) -> dict[str, Any]:
        seconds = int(at(number).timestamp())
        if kind == "timestamp":
            return {"_id": number, "changed": Timestamp(seconds, number + 1)}
        if kind == "objectId":
            return {"_id": ObjectId.from_datetime(at(number)), "n": number}
        return {"_id": number, "meta": {"changed": at(number)}, "n": number}

    column = {"timestamp": "changed", "objectId": "_id", "nested": "meta.changed"}[kind]
    settings = {"change_detection_column": column}
    orders.insert_many([document(n) for n in range(700)])
    shop.sees(**settings)
    assert shop.marker()["value_time"] == at(699).timestamp() * 1000
    orders.insert_many([document(n) for n in range(700, 720)])
    counts = table_of(shop.sees(**settings), "orders").counts
    assert (counts.applied, counts.superseded) == (20, 61)


def test_another_column_begins_anew(shop: BatchShop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n, changed=at(n)) for n in range(50)])
    shop.sees()
    # A change that the former column does not tell, older than its marker.
    orders.update_one({"_id": 3}, {"$set": {"n": 33}})
    shop.sees(change_detection_column="changed")
    assert shop.marker()["column_name"] == "changed"


def test_dates_beyond_pythons_are_no_trouble(shop: BatchShop) -> None:
    orders = shop.db["orders"]
    orders.insert_many(
        [
            order(1),
            {"_id": 2, "updated_at": DatetimeMS(-(2**62))},
            {"_id": 3, "updated_at": DatetimeMS(2**62)},
            {"_id": 4, "updated_at": [at(1), "x"]},
        ]
    )
    assert table_of(shop.sees(), "orders").unread == 0
    orders.insert_one(order(5, updated_at=at(2)))
    shop.sees()


def test_columns_of_mixed_kinds_are_ordinary(shop: BatchShop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n, value=n) for n in range(30)])
    shop.sees()
    orders.insert_many(
        [
            order(100, value="text"),
            order(101, value=Decimal128("1.10")),
            order(102, value={"deep": 1}),
            {"_id": "another kind of id", "updated_at": at(103)},
        ]
    )
    view = shop.sees()
    assert table_of(view, "orders").counts.dead_letters == 0
    assert table_of(view, "orders").structure_changes > 0


def test_a_value_that_does_not_fit_ends_the_table_where_that_is_wanted(
    shop: BatchShop,
) -> None:
    shop.db["orders"].insert_many([order(n, value=n) for n in range(30)])
    shop.db["others"].insert_one(order(1))
    shop.sees()
    shop.db["orders"].insert_one(order(100, value="text"))
    shop.db["others"].insert_one(order(2))
    with pytest.raises(MisfitError, match="value"):
        shop.once(tables=[{"name": "orders", "on_misfit": "fail"}])
    assert shop.differences("others") == []
    assert len(shop.differences("orders")) == 1


def test_a_row_that_postgresql_refuses_is_a_dead_letter(shop: BatchShop) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(10)])
    shop.sees()
    shop.execute(f"ALTER TABLE {SCHEMA}.orders ADD CHECK (n <> 13)")
    shop.db["orders"].insert_many([order(n) for n in range(12, 16)])
    assert shop.orders().counts.dead_letters == 1
    query = f"SELECT key, reason, state FROM {META}.dead_letter_queue"
    assert shop.rows(query) == [("13", "refused", "pending")]
    shop.db["orders"].update_one({"_id": 13}, {"$set": {"n": 0}})
    shop.sees()
    assert shop.rows(query) == [("13", "refused", "resolved")]


def test_what_was_read_already_is_not_sent_again(shop: BatchShop) -> None:
    shop.db["orders"].insert_many([order(n) for n in range(20)])
    with shop.running(default_polling_interval=0.1) as run:
        wait_until(lambda: run.table("orders").passes > 3, "some passes were made")
        before = run.table("orders").counts
        passes = run.table("orders").passes
        wait_until(lambda: run.table("orders").passes > passes + 3, "some more were")
        assert run.table("orders").counts == before
        shop.db["orders"].insert_one(order(21, updated_at=datetime.now(UTC)))
        shop.becomes_equal("orders")
        wait_until(
            lambda: run.table("orders").counts.applied == before.applied + 1,
            "one document was sent",
        )


def test_writers_all_the_time_and_nothing_is_missed(shop: BatchShop) -> None:
    orders = shop.db["orders"]
    orders.insert_many([order(n) for n in range(200)])
    with shop.running(default_polling_interval=0.05):
        for number in range(600):
            # Some writers' clocks are behind, and some writes take a moment.
            late = timedelta(seconds=number % 7)
            now = datetime.now(UTC) - late
            orders.update_one(
                {"_id": number % 250},
                {"$set": {"n": number, "updated_at": now}},
                upsert=True,
            )
            if number % 100 == 0:
                time.sleep(0.2)
        shop.becomes_equal("orders")


def test_an_empty_collection_gets_its_table_with_its_first_document(
    shop: BatchShop,
) -> None:
    shop.db.create_collection("orders")
    with shop.running(default_polling_interval=0.1) as run:
        wait_until(lambda: run.table("orders").phase is Phase.EMPTY, "it is empty")
        shop.db["orders"].insert_one(order(1))
        shop.db["new ones"].insert_one(order(1))
        shop.becomes_equal("orders")
        shop.becomes_equal("new ones")


def test_collections_that_come_while_it_runs(shop: BatchShop) -> None:
    """Made, renamed and written by ``$out``; those left out by a filter get no table,
    nor do those that the server makes for itself."""
    shop.db["orders"].insert_many([order(n) for n in range(20)])
    settings = {"default_polling_interval": 0.1, "table_blacklist": ["no*"]}
    with shop.running(**settings) as run:
        shop.becomes_equal("orders")
        shop.db["not this"].insert_one(order(1))
        shop.db["tmp.agg_out.1"].insert_one(order(1))
        shop.db["made"].insert_one(order(1))
        shop.becomes_equal("made")
        shop.db["orders"].rename("archive")
        shop.becomes_equal("archive")
        shop.db["archive"].insert_one(order(21, updated_at=datetime.now(UTC)))
        shop.db["archive"].aggregate([{"$out": "copied"}])
        shop.becomes_equal("copied")
        shop.becomes_equal("archive")
        names = {each.collection for each in run.schema().tables}
        assert names == {"orders", "made", "archive", "copied"}
    # What was read before it was renamed is kept.
    assert shop.rows("SELECT count(*) FROM shop.orders") == [(20,)]
