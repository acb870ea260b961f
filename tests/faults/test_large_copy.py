"""Killed in the middle of a large copy: what was copied is not read again."""

from __future__ import annotations

import os

import pytest

import totals
from kit import META, MakeScene, Scene, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

#: In four collections together; so many more take some minutes a million.
DOCUMENTS = int(os.environ.get("CWARP_TEST_DOCUMENTS", "300000"))

WORKERS = 3

#: As people run it; what is not named here is the product's own default.
SETTINGS = {"source": {}, "stream_batch_size": 1000, "snapshot_workers": WORKERS}

CHUNKS = (
    "SELECT chunk_id, state, documents, done_at, epoch"
    f" FROM {META}.snapshot_chunks ORDER BY chunk_id"
)


def progress(scene: Scene) -> tuple[int, int]:
    """Documents copied, and chunks being copied."""
    query = (
        "SELECT coalesce(sum(documents), 0)::bigint,"
        f" count(*) FILTER (WHERE state = 'copying') FROM {META}.snapshot_chunks"
    )
    ((documents, copying),) = scene.rows(query)
    return int(documents), int(copying)


def returned(scene: Scene) -> int:
    """Documents and events that MongoDB has sent to anybody."""
    metrics = scene.db.client.admin.command("serverStatus")["metrics"]
    return int(metrics["document"]["returned"])


def test_the_restart_reads_the_chunks_in_flight_again_and_no_other(
    make_scene: MakeScene,
) -> None:
    scene = make_scene(settings=SETTINGS)
    scene.writers.fill(DOCUMENTS // 4)
    with scene.writers.writing():
        first = scene.start()
        scene.runs(first)
        wait_until(
            lambda: progress(scene)[0] > DOCUMENTS // 3 and progress(scene)[1] > 0,
            lambda: f"a third is copied{scene.story()}",
            seconds=600,
            pause=0.01,
        )
        first.kill()
        before = {number: rest for number, *rest in scene.rows(CHUNKS)}
        sent = returned(scene)
        second = scene.start()
        scene.runs(second)
        wait_until(
            lambda: all_done(scene),
            lambda: f"the copy is complete{scene.story()}",
            seconds=600,
        )
        sent = returned(scene) - sent
        after = {number: rest for number, *rest in scene.rows(CHUNKS)}
    assert second.stop() == 0, second.tail()
    kept = [number for number, (state, *_) in before.items() if state == "done"]
    again = [number for number, (state, *_) in before.items() if state == "copying"]
    assert kept
    assert 0 < len(again) <= WORKERS
    # Not claimed again: not even the moment at which it was done is another.
    assert all(before[number] == after[number] for number in kept)
    assert all(after[number][3] != before[number][3] for number in again)
    # Nor read: what MongoDB has sent, events included, leaves no room for them.
    spared = sum(before[number][1] for number in kept)
    assert sent < DOCUMENTS - spared // 2, (sent, spared)
    totals.count("chunks of a large copy", "kept", len(kept))
    totals.count("chunks of a large copy", "read again", len(again))
    copied = "documents of a large copy"
    totals.count(copied, "kept", spared)
    totals.count(copied, "read again", sum(after[number][1] for number in again))
    scene.once()
    scene.check()


def all_done(scene: Scene) -> bool:
    return all(state == "done" for _, state, *_ in scene.rows(CHUNKS))
