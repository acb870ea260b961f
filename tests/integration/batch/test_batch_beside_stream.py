"""A schema with tables of both modes: each goes its own way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from batch_kit import META, BatchShop, at

from cartridge_warp.engine.views import Phase
from cartridge_warp.errors import PreconditionError
from engine_kit import Shop, table_of, wait_until

#: ``orders`` is streamed and ``events`` is read in passes.
BOTH: dict[str, Any] = {
    "mode": "stream",
    "tables": [{"name": "events", "mode": "batch", "polling_interval_seconds": 0.2}],
}


def document(number: int, **more: object) -> dict[str, Any]:
    return {"_id": number, "n": number, "updated_at": at(number), **more}


def fill(shop: Shop, number: int = 500) -> None:
    for name in ("orders", "events"):
        shop.db[name].insert_many([document(n) for n in range(number)])


def test_once_ends_when_both_are_done(shop: BatchShop) -> None:
    fill(shop)
    view = shop.once(**BOTH)
    for name in ("orders", "events"):
        assert shop.differences(name) == []
    assert table_of(view, "orders").phase is Phase.STREAMING
    assert table_of(view, "events").phase is Phase.WAITING
    assert table_of(view, "events").passes == 1
    shop.db["orders"].delete_one({"_id": 3})
    shop.db["events"].insert_one(document(1000))
    view = shop.once(**BOTH)
    for name in ("orders", "events"):
        assert shop.differences(name) == []
    # The stream has told of the event too, and it was not its business.
    assert view.filtered == 1


def test_both_go_on_side_by_side(shop: BatchShop) -> None:
    fill(shop)
    with shop.running(**BOTH) as run:
        for number in range(500, 520):
            now = datetime.now(UTC)
            shop.db["orders"].insert_one(document(number))
            shop.db["events"].insert_one(document(number, updated_at=now))
        for name in ("orders", "events"):
            shop.becomes_equal(name)
        # A change that no pass can see is the stream's alone.
        for name in ("orders", "events"):
            shop.db[name].update_one({"_id": 1}, {"$set": {"n": -1}})
        shop.becomes_equal("orders")
        passes = run.table("events").passes
        wait_until(lambda: run.table("events").passes > passes + 1, "a pass is made")
        assert len(shop.differences("events")) == 1
        assert run.schema().phase is Phase.STREAMING


def test_a_collection_of_batch_mode_that_comes_later(shop: BatchShop) -> None:
    fill(shop, 10)
    tables = [{"name": "e*", "mode": "batch", "polling_interval_seconds": 0.2}]
    with shop.running(mode="stream", tables=tables) as run:
        for name in ("orders", "events"):
            shop.becomes_equal(name)
        for name in ("more", "extra"):
            shop.db[name].insert_one(document(1))
            shop.becomes_equal(name)
        wait_until(lambda: run.table("extra").passes > 1, "it is read again and again")
        assert run.table("more").phase is Phase.STREAMING


def test_a_pass_that_waits_for_a_lock_does_not_hold_up_the_stream(
    shop: BatchShop,
) -> None:
    fill(shop)
    with shop.running(**BOTH):
        for name in ("orders", "events"):
            shop.becomes_equal(name)
        with shop.locked("events"):
            now = datetime.now(UTC)
            shop.db["events"].insert_one(document(1000, updated_at=now))
            for number in range(1000, 1010):
                shop.db["orders"].insert_one(document(number))
                shop.becomes_equal("orders")
            assert shop.rows("SELECT count(*) FROM shop.orders") == [(510,)]
        shop.becomes_equal("events")


def test_a_failing_batch_table_does_not_hold_up_the_stream(shop: BatchShop) -> None:
    fill(shop)
    shop.once(**BOTH)
    shop.db["events"].drop()
    shop.db["events"].insert_one({"_id": "x", "other": 1})
    shop.db["orders"].insert_one(document(1000))
    # A start says so, before anything else.
    with pytest.raises(PreconditionError, match="events: no document has a time"):
        shop.once(**BOTH)
    shop.db["events"].insert_one(document(1001))
    shop.once(**BOTH)
    assert shop.differences("orders") == []


@pytest.mark.parametrize(
    ("before", "after"), [("stream", "batch"), ("batch", "stream")]
)
def test_a_table_does_not_change_its_mode(
    shop: BatchShop, before: str, after: str
) -> None:
    fill(shop, 10)
    shop.once(mode=before)
    with pytest.raises(PreconditionError, match="so far, and mode") as raised:
        shop.once(mode=after)
    assert "Copy one table again" in raised.value.hint
    forget = "; ".join(
        f"DELETE FROM {META}.{table} WHERE schema_name = 'shop'"
        for table in (
            *("batch_markers", "snapshot_chunks", "schema_registry"),
            *("table_state", "dead_letter_queue"),
        )
    )
    shop.execute(f"DROP TABLE shop.orders, shop.events; {forget}")
    shop.once(mode=after)
    for name in ("orders", "events"):
        assert shop.differences(name) == []


def test_a_stream_may_join_tables_of_batch_mode_later(shop: BatchShop) -> None:
    shop.db["events"].insert_many([document(n) for n in range(10)])
    shop.once(mode="batch")
    shop.db["orders"].insert_many([document(n) for n in range(10)])
    shop.db["events"].insert_one(document(50))
    shop.once(**BOTH)
    for name in ("orders", "events"):
        assert shop.differences(name) == []


def test_a_batch_table_that_was_left_out_goes_on_at_its_marker(
    shop: BatchShop,
) -> None:
    fill(shop, 10)
    shop.once(**BOTH)
    shop.db["events"].insert_one(document(50))
    shop.once(**BOTH, table_blacklist=["events"])
    assert len(shop.differences("events")) == 1
    shop.once(**BOTH)
    assert shop.differences("events") == []


def test_the_position_goes_on_where_no_table_is_streamed_now(
    shop: BatchShop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fill(shop, 10)
    shop.once(**BOTH)
    assert "reading in batch mode" not in caplog.text
    position = f"SELECT cluster_time FROM {META}.sync_markers"
    before = shop.rows(position)
    shop.db["orders"].insert_one(document(50))
    shop.db["events"].insert_one(document(50))
    view = shop.once(**BOTH, table_whitelist=["events"])
    assert shop.differences("events") == []
    assert view.filtered == 2
    assert shop.rows(position) != before
    # Without one there is nothing to go on from.
    shop.execute(f"DROP SCHEMA shop CASCADE; DROP SCHEMA {META} CASCADE")
    assert "reading in batch mode" not in caplog.text
    shop.once(**BOTH, table_whitelist=["events"])
    assert "reading in batch mode" in caplog.text
    assert shop.rows(position) == [(None,)]


def test_a_schedule_is_kept_and_a_missed_pass_is_made(shop: BatchShop) -> None:
    fill(shop, 10)
    yearly = {"mode": "batch", "schedule": "0 0 1 1 *"}
    with shop.running(**yearly) as run:
        wait_until(lambda: run.table("events").passes == 1, "the first pass is made")
        shop.db["events"].insert_one(document(50))
        due = run.table("events").next_pass
        assert due is not None
        assert datetime.fromtimestamp(due, UTC).month == 1
        wait_until(lambda: run.schema().phase is Phase.WAITING, "nothing is due")
    with shop.running(**yearly) as run:
        wait_until(lambda: run.table("events").next_pass == due, "it waits as before")
        assert run.table("events").passes == 1
    # Nobody was there when it was due.
    shop.execute(f"UPDATE {META}.batch_markers SET ended_at = '2020-06-01'")
    with shop.running(**yearly) as run:
        wait_until(lambda: run.table("events").passes == 2, "it is made up for")
    assert shop.differences("events") == []
