"""Killed at any moment, started again: nothing is lost and nothing is twice."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import pytest
from bson import ObjectId
from pymongo.database import Database

from command import command, environment, sync
from engine_kit import SCHEMA, Shop, wait_until

pytestmark = pytest.mark.faults


def points(always: str, thorough: str) -> list[Any]:
    """Kill points, ``name:nth``; together the thorough ones take minutes."""
    slow = pytest.mark.slow
    return [
        *always.split(),
        *(pytest.param(point, marks=slow) for point in thorough.split()),
    ]


COPY_POINTS = points(
    always="mid_copy:1 chunk_commit:1",
    thorough="marker_read:1 ddl_before:1 ddl_after:2 tx_begin:2 copy_done:2"
    " commit_ok:3 handover:1",
)
STREAM_POINTS = points(
    always="mid_decode:1 ddl_after:1 marker_updated:1 commit_sent:2",
    thorough="stream_open:1 batch_received:1 tx_begin:1 mid_copy:2 copy_done:1"
    " merge_done:2 commit_ok:2 ddl_before:1",
)


@pytest.fixture
def shop(mongo_db: Database[dict[str, Any]], mongo_uri: str, postgres_uri: str) -> Shop:
    shop = Shop(mongo_db, mongo_uri, postgres_uri)
    for name in ("orders", "items"):
        shop.db[name].insert_many(
            [{"_id": ObjectId(f"{n:024x}"), "n": n, "v": "first"} for n in range(2000)]
        )
    return shop


def arguments(shop: Shop) -> tuple[str, ...]:
    return (shop.source_uri, shop.postgres_uri, f"--schema={SCHEMA}", "--once")


def kill_at(point: str, shop: Shop) -> None:
    """Run until the process kills itself there; anything else fails the test."""
    ended = sync(*arguments(shop), env={"CWARP_TEST": "1", "CWARP_TEST_KILL": point})
    assert ended.code == -signal.SIGKILL, ended.err


def resume(shop: Shop) -> None:
    ended = sync(*arguments(shop))
    assert ended.code == 0, ended.err


def write(shop: Shop) -> None:
    """Changes enough for several batches, and a field that nobody has seen."""
    for name in ("orders", "items"):
        collection = shop.db[name]
        collection.delete_many({"n": {"$lt": 300}})
        collection.update_many({"n": {"$gte": 1700}}, {"$set": {"v": "second"}})
        collection.insert_many([{"n": n, "new": n} for n in range(3000, 4200)])
        collection.replace_one({"n": 500}, {"n": 500})


def check(shop: Shop) -> None:
    for name in ("orders", "items"):
        assert shop.differences(name) == []


def markers(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("SELECT epoch, seq FROM cartridge_warp_metadata.sync_markers")


@pytest.mark.parametrize("point", COPY_POINTS)
def test_killed_while_copying(shop: Shop, point: str) -> None:
    kill_at(point, shop)
    write(shop)
    resume(shop)
    check(shop)


@pytest.mark.parametrize("point", STREAM_POINTS)
def test_killed_while_streaming(shop: Shop, point: str) -> None:
    resume(shop)
    write(shop)
    kill_at(point, shop)
    ((epoch, seq),) = markers(shop)
    shop.db["orders"].delete_many({"n": {"$in": [600, 3500]}})
    resume(shop)
    check(shop)
    ((later_epoch, later_seq),) = markers(shop)
    assert later_epoch == epoch + 1
    assert later_seq > seq


@pytest.mark.slow
def test_killed_again_and_again(shop: Shop) -> None:
    for point in ("mid_copy:1", "chunk_commit:2", "merge_done:1", "commit_ok:1"):
        write(shop)
        kill_at(point, shop)
        shop.db["orders"].delete_many({"n": {"$gt": 3000}})
    resume(shop)
    check(shop)


class Following:
    """A sync without an end of its own, until a signal ends it."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.process = process
        self._log = log

    def code(self) -> int:
        """The exit code; what every thread was doing when it does not come."""
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            self._log.seek(0)
            pytest.fail(f"it goes on:\n{self._log.read().decode()}")


@contextlib.contextmanager
def following(shop: Shop, env: Mapping[str, str] | None = None) -> Iterator[Following]:
    """Ended by force after the block."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command(
                "sync", "--metrics-port=0", "--health-port=0", *arguments(shop)[:-1]
            ),
            env=environment({"PYTHONFAULTHANDLER": "1", **(env or {})}),
            stdout=subprocess.DEVNULL,
            stderr=log,
        ) as process,
    ):
        try:
            yield Following(process, log)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("wish", "env", "code"),
    [
        (signal.SIGTERM, {}, 0),
        (signal.SIGINT, {}, 0),
        (
            signal.SIGTERM,
            {"CWARP_TEST": "1", "CWARP_TEST_KILL": "sigterm_drain:1"},
            -signal.SIGKILL,
        ),
    ],
)
def test_a_signal_drains(
    shop: Shop, wish: signal.Signals, env: Mapping[str, str], code: int
) -> None:
    with following(shop, env) as sync:
        shop.becomes_equal("orders")
        shop.becomes_equal("items")
        write(shop)
        wait_until(
            lambda: shop.rows(f"SELECT 1 FROM {SCHEMA}.orders WHERE n = 3000") != [],
            "the stream is being applied",
        )
        sync.process.send_signal(wish)
        assert sync.code() == code
    resume(shop)
    check(shop)


def test_a_signal_drains_whichever_thread_the_system_gives_it_to(shop: Shop) -> None:
    with following(shop) as sync:
        shop.becomes_equal("orders")
        pid = sync.process.pid
        others = {int(name) for name in os.listdir(f"/proc/{pid}/task")} - {pid}
        tgkill = ctypes.CDLL(None, use_errno=True).tgkill
        assert tgkill(pid, max(others), signal.SIGTERM) == 0, ctypes.get_errno()
        assert sync.code() == 0


def test_a_signal_stops_a_copy_and_keeps_what_is_done(shop: Shop) -> None:
    filler = "x" * 1000
    shop.db["big"].insert_many([{"n": n, "filler": filler} for n in range(60_000)])
    with following(shop) as sync:
        wait_until(
            lambda: shop.rows(f"SELECT to_regclass('{SCHEMA}.big')") != [(None,)],
            "the big table is being copied",
        )
        sync.process.send_signal(signal.SIGTERM)
        assert sync.code() == 0
    resume(shop)
    check(shop)
    assert shop.differences("big") == []
