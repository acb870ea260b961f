"""Processes that help with a copy: they come, are killed, freeze, and are refused."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator

import pytest

from kit import META, SCHEMA, MakeScene, Scene, wait_until
from syncing import Sync

pytestmark = pytest.mark.faults

#: One connection of each process, so that all of them get some chunks.
SETTINGS = {"source": {}, "snapshot_workers": 1, "stream_batch_size": 60}

#: Enough for more than ten chunks.
DOCUMENTS = 150_000
PAD = "x" * 400


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
    except Exception:
        return 0
    return int(number)


def test_a_worker_joins_a_copy(scene: Scene) -> None:
    worker = scene.help()
    with writing(scene):
        sync = scene.start()
        assert worker.wait() == 0, worker.tail()
    print(worker.log())
    print(sync.log())
    for row in scene.rows(f"SELECT chunk_id, table_name, state, epoch, worker, documents, kept, done_at - claimed_at FROM {META}.snapshot_chunks ORDER BY 1"): print(row)
    assert chunks(scene, "worker < 0 AND state = 'done'") > 2
    assert chunks(scene, "worker >= 0 AND state = 'done'") > 2
    scene.recovers(sync)
