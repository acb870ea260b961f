"""The one store of what happened."""

from __future__ import annotations

import threading

import msgspec
import pytest

from cartridge_warp.engine.progress import Progress
from cartridge_warp.engine.views import Counts, Phase
from cartridge_warp.errors import DestinationUnavailable, SourceUnavailable


class Clock:
    """Wall-clock seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(clock)


def seconds(count: int) -> int:
    """A cluster time."""
    return count << 32


def test_counts_add_field_by_field() -> None:
    one = Counts(read=5, copied=4, dead_letters=1)
    other = Counts(read=2, applied=1, superseded=1, rescued=3)
    assert one + other == Counts(
        read=7, copied=4, applied=1, superseded=1, dead_letters=1, rescued=3
    )


def test_a_table_keeps_what_is_not_told_again(progress: Progress) -> None:
    shop = progress.schema("shop", "shop_db")
    shop.table("Orders", Phase.STARTING, table="orders", expected=9)
    shop.committed("Orders", Counts(read=4, copied=4))
    shop.table("Orders", Phase.COPYING)
    (table,) = progress.snapshot().schemas[0].tables
    assert (table.table, table.expected, table.counts.copied) == ("orders", 9, 4)
    assert table.phase is Phase.COPYING


def test_a_resync_is_counted_from_its_beginning(progress: Progress) -> None:
    shop = progress.schema("shop")
    shop.table("orders", Phase.STREAMING, expected=9, counts=Counts(read=9, copied=9))
    shop.table("orders", Phase.RESYNCING, expected=12, reason="")
    shop.committed("orders", Counts(read=5, copied=5))
    shop.table("orders", Phase.RESYNCING)
    (table,) = progress.snapshot().schemas[0].tables
    assert (table.expected, table.copied, table.counts.copied) == (12, 5, 14)


def test_counters_stand_when_a_schema_is_opened_again(progress: Progress) -> None:
    shop = progress.schema("shop")
    shop.table("orders", Phase.STARTING, expected=9, counts=Counts(read=4, copied=4))
    shop.committed("orders", Counts(read=5, copied=5))
    # Its chunks were planned anew, and three documents of them are committed.
    again = Counts(read=3, copied=3)
    shop.table("orders", Phase.STARTING, expected=9, counts=again)
    (table,) = progress.snapshot().schemas[0].tables
    assert (table.copied, table.counts.copied) == (3, 9)


def test_a_snapshot_does_not_change_afterwards(progress: Progress) -> None:
    shop = progress.schema("shop")
    shop.committed("orders", Counts(read=1, copied=1))
    before = progress.snapshot()
    shop.committed("orders", Counts(read=1, copied=1))
    assert before.schemas[0].tables[0].counts.copied == 1
    assert progress.snapshot().schemas[0].tables[0].counts.copied == 2


def test_the_record_of_a_schema_is_made_once(progress: Progress) -> None:
    assert progress.schema("shop") is progress.schema("shop")
    progress.schema("users")
    assert [each.name for each in progress.snapshot().schemas] == ["shop", "users"]


def test_commits_are_dated(progress: Progress, clock: Clock) -> None:
    shop = progress.schema("shop")
    assert progress.snapshot().schemas[0].last_commit is None
    clock.now = 1007.0
    shop.committed("orders", Counts(read=1, applied=1))
    view = progress.snapshot()
    assert view.schemas[0].last_commit == 1007.0
    assert view.schemas[0].tables[0].last_commit == 1007.0
    assert (view.started, view.taken) == (1000.0, 1007.0)


def test_lag_is_unknown_then_a_difference_of_source_times_then_none(
    progress: Progress,
) -> None:
    shop = progress.schema("shop")

    def lag() -> float | None:
        return progress.snapshot().schemas[0].lag_seconds

    assert lag() is None
    shop.heard(seconds(500), queued=2)
    assert lag() is None
    shop.moved(seconds(460))
    assert lag() == 40.0
    shop.moved(seconds(505))
    assert lag() == 0.0
    shop.heard(seconds(900), queued=0)
    assert lag() == 395.0
    shop.heard(seconds(901), queued=0, idle=True)
    assert lag() == 0.0


def test_times_never_go_back(progress: Progress) -> None:
    shop = progress.schema("shop")
    shop.moved(seconds(10))
    shop.moved(seconds(9))
    shop.heard(seconds(20), queued=0)
    shop.heard(0, queued=0)
    view = progress.snapshot().schemas[0]
    assert (view.position_time, view.source_time) == (seconds(10), seconds(20))


def test_only_batches_with_rows_have_a_duration(progress: Progress) -> None:
    shop = progress.schema("shop")
    shop.moved(seconds(1), seconds=0.5)
    shop.moved(seconds(2))
    shop.moved(seconds(3), seconds=0.25)
    view = progress.snapshot().schemas[0]
    assert (sum(view.batches), view.batch_seconds) == (2, 0.75)


def test_trouble_disconnects_its_own_end(progress: Progress) -> None:
    shop = progress.schema("shop")
    shop.connected(True)
    assert progress.snapshot().schemas[0].connected
    shop.retrying(SourceUnavailable("away"))
    shop.connected(True, "destination")
    view = progress.snapshot().schemas[0]
    assert (view.source_connected, view.destination_connected) == (False, True)
    assert not view.connected
    shop.connected(True, "source")
    shop.retrying(DestinationUnavailable("away"))
    view = progress.snapshot().schemas[0]
    assert (view.source_connected, view.destination_connected) == (True, False)
    assert view.errors == (("DestinationUnavailable", 1), ("SourceUnavailable", 1))
    assert (view.retries, view.last_error) == (2, "away")


def test_a_failed_table_leaves_its_schema_running(progress: Progress) -> None:
    shop = progress.schema("shop")
    shop.phase(Phase.COPYING)
    shop.failed(ValueError("no"), "orders")
    view = progress.snapshot().schemas[0]
    assert (view.phase, view.tables[0].phase) == (Phase.COPYING, Phase.FAILED)
    assert view.tables[0].last_error == "no"
    shop.failed(ValueError("nothing works"))
    assert progress.snapshot().schemas[0].phase is Phase.FAILED


def test_a_view_is_plain_data(progress: Progress) -> None:
    shop = progress.schema("shop", "shop_db")
    shop.committed("orders", Counts(read=1, copied=1))
    text = msgspec.json.decode(msgspec.json.encode(progress.snapshot()))
    assert text["schemas"][0]["tables"][0]["counts"]["copied"] == 1
    assert text["schemas"][0]["phase"] == "starting"


def test_nothing_is_lost_between_threads(progress: Progress) -> None:
    shop = progress.schema("shop")

    def work() -> None:
        for _ in range(500):
            shop.committed("orders", Counts(read=2, copied=1, dead_letters=1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = progress.snapshot().schemas[0].tables[0].counts
    assert counts == Counts(read=4000, copied=2000, dead_letters=2000)
