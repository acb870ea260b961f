"""The whole product behind a transaction pooler; only where PgBouncer is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import totals
from kit import MakeScene, Scene, wait_until
from pgbouncer import PgBouncer

pytestmark = pytest.mark.faults

LANES = 3


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    return make_scene(settings={"global_max_parallel_streams": LANES})


#: A connection of the pool for each transaction at a time, and fewer than that.
@pytest.fixture(params=[10, pytest.param(3, marks=pytest.mark.slow)])
def pooler(scene: Scene, request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    with PgBouncer(scene.places.postgres, size=request.param) as made:
        scene.through_postgres(made)
        yield made


def ends_well(scene: Scene, pooler: PgBouncer) -> None:
    """Everything is equal, and once the pooler has ended nothing is left."""
    scene.catches_up()
    running = scene.syncs[-1]
    assert running.stop() == 0, running.tail()
    pooler.__exit__()
    scene.check()


def test_copy_stream_kill_and_resume(scene: Scene, pooler: PgBouncer) -> None:
    scene.writers.fill(1500)
    scene.plant_poison(2)
    with scene.writers.writing():
        first = scene.start()
        wait_until(lambda: scene.has_table("items"), "the copy begins", pause=0.01)
        first.kill()
        second = scene.start()
        scene.streaming()
        time.sleep(3)
        second.kill()
        scene.start()
        scene.streaming()
        time.sleep(3)
    ends_well(scene, pooler)


@pytest.mark.slow
def test_the_pooler_dies_again_and_again(scene: Scene, pooler: PgBouncer) -> None:
    scene.writers.fill(1500)
    sync = scene.start()
    scene.runs(sync)
    with scene.writers.writing():
        for away in (0.0, 0.5, 3.0, 0.0, 1.0):
            time.sleep(1.0)
            pooler.kill()
            totals.count("servers killed", "pgbouncer")
            time.sleep(away)
            pooler.start()
    ends_well(scene, pooler)


@pytest.mark.slow
def test_the_owner_freezes_behind_the_pooler(scene: Scene, pooler: PgBouncer) -> None:
    """Its lease, and its transactions, are on connections that others use too."""
    scene.writers.fill(300)
    first = scene.start()
    scene.streaming()
    second = scene.start()
    with scene.writers.writing():
        wait_until(lambda: second.ask("/ready")[0] == 503, "it stands by")
        first.freeze()
        wait_until(lambda: second.ready(), "the other goes on")
        time.sleep(2)
        first.thaw()
        assert first.wait() == 7, first.tail()
        totals.count("fenced", "after a freeze")
        scene.streaming()
    ends_well(scene, pooler)
