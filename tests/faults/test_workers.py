"""Processes that help with a copy: they come, are killed, freeze, and are refused."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from kit import META, MakeScene, Scene, wait_until
from syncing import Sync

pytestmark = pytest.mark.faults

#: One connection of each process, so that all of them get some chunks.
SETTINGS = {"source": {}, "snapshot_workers": 1, "stream_batch_size": 60}

#: Enough for more than ten chunks, each of which takes a moment.
DOCUMENTS = 100_000
PAD = "x" * 1_800

#: What a worker says of a chunk whose table would have to change.
LEFT = "a chunk is left to the owner"

#: After so many seconds without a sign of life a worker is taken for dead.
SILENT = 6.0


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    scene = make_scene(settings=SETTINGS)
    scene.writers.fill(300)
    numbers = range(DOCUMENTS)
    for first in numbers[::10_000]:
        scene.db["large"].insert_many(
            [{"_id": each, "n": 0, "pad": PAD} for each in numbers[first:][:10_000]]
        )
    return scene


@contextlib.contextmanager
def writing(scene: Scene) -> Iterator[None]:
    """Change documents anywhere in the large collection, all through the block."""
    rng, over = random.Random(scene.seed), threading.Event()

    def work() -> None:
        large = scene.db["large"]
        while not over.wait(0.002):
            key = rng.randrange(DOCUMENTS)
            step = rng.random()
            if step < 0.6:
                large.update_one({"_id": key}, {"$inc": {"n": 1}})
            elif step < 0.8:
                large.delete_one({"_id": key})
            else:
                large.replace_one({"_id": key}, {"n": -1, "pad": PAD}, upsert=True)

    thread = threading.Thread(target=work, name="large")
    thread.start()
    try:
        with scene.writers.writing():
            yield
    finally:
        over.set()
        thread.join()


def chunks(scene: Scene, condition: str) -> int:
    """How many chunks are so."""
    query = f"SELECT count(*) FROM {META}.snapshot_chunks WHERE {condition}"
    try:
        ((number,),) = scene.rows(query)
    except psycopg.errors.UndefinedTable:
        # There is no metadata yet.
        return 0
    return int(number)


def copied_by_workers(scene: Scene) -> int:
    return chunks(scene, "worker < 0 AND state = 'done'")


def wait_for_a_copy(*workers: Sync) -> None:
    """Until they are there, so that a copy is not over before they are."""
    for each in workers:
        wait_until(lambda: "no process owns schema" in each.log(), "it waits")  # noqa: B023


def copies(scene: Scene, worker: Sync) -> None:
    """Wait until it has a chunk in hand."""
    wait_until(
        lambda: chunks(scene, "worker < 0 AND state = 'copying'") > 0,
        lambda: f"a worker copies{scene.story()}",
        pause=0.005,
    )
    assert worker.code() is None, worker.tail()


def test_a_worker_joins_a_copy(scene: Scene) -> None:
    worker = scene.help()
    with writing(scene):
        sync = scene.start()
        assert worker.wait() == 0, worker.tail()
    assert copied_by_workers(scene) > 2
    assert chunks(scene, "worker >= 0 AND state = 'done'") > 2
    assert "no chunk is left" in worker.log()
    scene.recovers(sync)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kill", ["tx_begin:1", "mid_copy:2", "copy_done:1", "chunk_commit:1", "commit_ok:1"]
)
def test_a_worker_is_killed(scene: Scene, kill: str) -> None:
    worker, other = scene.help(kill=kill), scene.help()
    wait_for_a_copy(worker, other)
    with writing(scene):
        sync = scene.start()
        assert worker.wait() == -signal.SIGKILL, worker.tail()
        assert other.wait() == 0, other.tail()
    scene.recovers(sync)
    # What it had in hand, and no more than what is for the owner alone.
    left = sum(each.log().count(LEFT) for each in (worker, other))
    assert chunks(scene, "kept") <= 1 + left


@pytest.mark.slow
def test_a_worker_freezes_and_wakes_up(scene: Scene) -> None:
    worker = scene.help()
    with writing(scene):
        sync = scene.start()
        for _ in range(20):
            copies(scene, worker)
            worker.freeze()
            if chunks(scene, "worker < 0 AND state = 'copying'"):
                break
            worker.thaw()
        assert worker.frozen
        wait_until(
            lambda: chunks(scene, "kept") == 1,
            lambda: f"its chunk is given back{scene.story()}",
            seconds=3 * SILENT,
        )
        wait_until(
            lambda: chunks(scene, "state <> 'done'") == 0,
            lambda: f"the copy goes on{scene.story()}",
        )
        worker.thaw()
        assert worker.wait() == 0, worker.tail()
    assert "joining anew" in worker.log()
    assert "fallen silent" in sync.log()
    scene.recovers(sync)


@pytest.mark.slow
def test_the_owner_is_killed_while_a_worker_copies(scene: Scene) -> None:
    worker = scene.help()
    with writing(scene):
        first = scene.start()
        copies(scene, worker)
        first.kill()
        time.sleep(1)
        second = scene.start()
        assert worker.wait() == 0, worker.tail()
        scene.runs(second)
    assert "joining anew" in worker.log()
    assert copied_by_workers(scene) > 0
    scene.recovers(second)


@pytest.mark.slow
def test_the_owner_freezes_while_a_worker_copies(scene: Scene) -> None:
    """Another one takes over, and the first wakes up to nothing."""
    worker = scene.help()
    with writing(scene):
        first = scene.start()
        copies(scene, worker)
        first.freeze()
        second = scene.start()
        assert worker.wait() == 0, worker.tail()
        scene.runs(second)
        first.thaw()
        assert first.wait() == 7, first.tail()
    scene.recovers(second)


@pytest.mark.slow
def test_a_worker_is_stopped(scene: Scene) -> None:
    worker = scene.help()
    with writing(scene):
        sync = scene.start()
        copies(scene, worker)
        assert worker.stop(10) == 0, worker.tail()
    assert chunks(scene, "worker < 0 AND state = 'copying'") == 0
    scene.recovers(sync)


@pytest.mark.slow
def test_a_worker_without_an_owner_waits(scene: Scene) -> None:
    worker = scene.help()
    wait_until(
        lambda: "no process owns schema shop now" in worker.log(),
        lambda: f"it says so{scene.story()}",
    )
    assert worker.code() is None, worker.tail()
    assert worker.stop(10) == 0, worker.tail()
    scene.once()
    # And behind the owner's end, too.
    worker = scene.help()
    time.sleep(2)
    assert worker.code() is None, worker.tail()
    assert worker.stop(10) == 0, worker.tail()
    scene.check()


def test_a_worker_that_differs_is_refused(make_scene: MakeScene) -> None:
    scene = make_scene(settings=SETTINGS)
    scene.writers.fill(10)
    with scene.running():
        scene.streaming()
        worker = scene.help("--tables=orders,items")
        assert worker.wait() == 2, worker.tail()
        (error, hint) = worker.said()
        assert "has other settings: global_table_whitelist is" in error
        assert "the arguments and the configuration of cwarp sync" in hint
        worker = scene.help(
            env={"CARTRIDGE_WARP_DESTINATION__DELETION_STRATEGY": "soft"}
        )
        assert worker.wait() == 2, worker.tail()
        (error, hint) = worker.said()
        assert error.endswith(
            "has other settings: deletion_strategy is soft here and hard there"
        )
        scene.execute(f"UPDATE {META}.schema_leases SET version = '0.0.1'")
        worker = scene.help()
        assert worker.wait() == 2, worker.tail()
        (error, hint) = worker.said()
        assert "is cartridge-warp 0.0.1, this is" in error
        assert "the same version" in hint
        scene.execute(f"INSERT INTO {META}.layout (version) VALUES (99)")
        worker = scene.help()
        assert worker.wait() == 3, worker.tail()
        (error, hint) = worker.said()
        assert "has layout 99" in error
        scene.execute(f"DELETE FROM {META}.layout WHERE version = 99")
    scene.check()
