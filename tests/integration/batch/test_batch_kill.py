"""Killed at any moment of a pass, and started again: equal, from the marker on."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Any

import pytest
from batch_kit import BatchShop, at

from command import sync
from engine_kit import SCHEMA

pytestmark = pytest.mark.faults


def points(always: str, thorough: str) -> list[Any]:
    """Kill points, ``name:nth``; together the thorough ones take minutes."""
    slow = pytest.mark.slow
    return [
        *always.split(),
        *(pytest.param(point, marks=slow) for point in thorough.split()),
    ]


#: In the first copy, and in the increments behind it.
COPY_POINTS = points(
    always="ddl_after:1 chunk_commit:1",
    thorough="marker_read:1 ddl_before:1 mid_copy:1 commit_ok:1",
)
PASS_POINTS = points(
    always="marker_updated:1 commit_ok:3",
    thorough="tx_begin:1 tx_begin:3 mid_copy:2 copy_done:3 merge_done:2 commit_sent:2"
    " ddl_before:1",
)

#: By the environment, so that there is no file; small replies, so that a pass is many
#: commits.
ENV = {
    "CARTRIDGE_WARP_SOURCE__CHANGE_DETECTION_STRATEGY": "timestamp",
    "CARTRIDGE_WARP_SOURCE__CHANGE_DETECTION_OVERLAP_SECONDS": "5",
    "CARTRIDGE_WARP_SOURCE__SNAPSHOT_BATCH_BYTES": "65536",
}


@pytest.fixture
def filled(shop: BatchShop) -> BatchShop:
    for name in ("orders", "items"):
        shop.db[name].insert_many(
            [{"_id": n, "v": "first", "updated_at": at(n)} for n in range(2000)]
        )
    return shop


def arguments(shop: BatchShop) -> tuple[str, ...]:
    return (shop.source_uri, shop.postgres_uri, f"--schema={SCHEMA}", "--once")


def kill_at(point: str, shop: BatchShop) -> None:
    kill = {"CWARP_TEST": "1", "CWARP_TEST_KILL": point}
    ended = sync(*arguments(shop), env={**ENV, **kill})
    assert ended.code == -signal.SIGKILL, ended.err


def resume(shop: BatchShop) -> None:
    ended = sync(*arguments(shop), env=ENV)
    assert ended.code == 0, ended.err
    for name in ("orders", "items"):
        assert shop.differences(name) == []


def write(shop: BatchShop) -> None:
    """Many ties, a field that nobody has seen, and changes all over."""
    for name in ("orders", "items"):
        collection: Any = shop.db[name]
        collection.update_many(
            {"_id": {"$gte": 1200}}, {"$set": {"v": "tie", "updated_at": at(3000)}}
        )
        collection.insert_many(
            [{"_id": n, "new": n, "updated_at": at(n)} for n in range(4000, 5500)]
        )
        collection.update_one(
            {"_id": 5}, {"$set": {"v": "now", "updated_at": datetime.now(UTC)}}
        )


@pytest.mark.parametrize("point", COPY_POINTS)
def test_killed_in_the_first_pass(filled: BatchShop, point: str) -> None:
    kill_at(point, filled)
    write(filled)
    resume(filled)


@pytest.mark.parametrize("point", PASS_POINTS)
def test_killed_in_a_later_pass(filled: BatchShop, point: str) -> None:
    resume(filled)
    write(filled)
    kill_at(point, filled)
    resume(filled)


def test_a_killed_pass_goes_on_at_its_marker(filled: BatchShop) -> None:
    resume(filled)
    write(filled)
    before = filled.marker()["value_time"]
    kill_at("commit_ok:6", filled)
    markers = [filled.marker(name)["value_time"] for name in ("orders", "items")]
    assert max(markers) > before
    kill_at("commit_ok:2", filled)
    again = [filled.marker(name)["value_time"] for name in ("orders", "items")]
    assert again >= markers
    resume(filled)
