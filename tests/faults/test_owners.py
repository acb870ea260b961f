"""Several processes for one schema: one writes, the others stand by."""

from __future__ import annotations

import signal
import time

import pytest

import totals
from kit import META, SCHEMA, MakeScene, Scene, wait_until
from own_postgres import OwnPostgres, on_own
from syncing import Sync

pytestmark = [pytest.mark.faults, pytest.mark.slow]

#: One that stands by goes on so soon after the owner fell silent (a promise).
TAKE_OVER = 10.0

FENCED = 7


def owner(scene: Scene, syncs: list[Sync]) -> Sync:
    """The process that owns the schema, by what the metadata says."""
    (found,) = [each for each in syncs if owns(scene, each)]
    return found


def owns(scene: Scene, sync: Sync) -> bool:
    query = f"SELECT instance FROM {META}.sync_runs ORDER BY epoch DESC LIMIT 1"
    ((instance,),) = scene.rows(query)
    return bool(instance.endswith(f":{sync.pid}"))


def epochs(scene: Scene) -> set[int]:
    """Whose positions were ever stored, by the audit."""
    return {
        epoch for (epoch,) in scene.rows("SELECT new_epoch FROM audit.markers") if epoch
    }


def takes_over(scene: Scene, seconds: float = TAKE_OVER) -> None:
    """A write made now arrives in time, whoever brings it."""
    key = f"sign-{time.monotonic_ns()}"
    scene.db["signs"].insert_one({"_id": key, "n": 1})
    query = f"SELECT 1 FROM {SCHEMA}.signs WHERE _id = '{key}'"
    wait_until(
        lambda: scene.rows(query) != [],
        lambda: f"another goes on{scene.story()}",
        seconds,
    )


def started(scene: Scene, number: int) -> list[Sync]:
    """One that streams, and others that stand by."""
    scene.writers.fill(200)
    syncs = [scene.start()]
    scene.streaming()
    syncs += [scene.start() for _ in range(number - 1)]
    for each in syncs[1:]:
        wait_until(lambda: stands_by(each), "it stands by")  # noqa: B023
    return syncs


def stands_by(sync: Sync) -> bool:
    status, body = sync.ask("/ready")
    return status == 503 and "standing by" in body


@pytest.mark.parametrize("number", [2, 3])
def test_one_writes_and_the_others_wait(scene: Scene, number: int) -> None:
    syncs = started(scene, number)
    before = epochs(scene)
    with scene.writers.writing():
        time.sleep(15)
    assert epochs(scene) == before
    assert owner(scene, syncs) is syncs[0]
    for each in syncs:
        assert each.code() is None, each.tail()
    scene.catches_up()
    # Those that wait end as well as the one that works, and first.
    for each in reversed(syncs):
        assert each.stop() == 0, each.tail()
    scene.check()


def test_three_that_start_at_once(scene: Scene) -> None:
    """Nothing is there yet, not even the metadata."""
    scene.writers.fill(1000)
    syncs = [scene.start() for _ in range(3)]
    with scene.writers.writing():
        scene.streaming()
        time.sleep(5)
    assert len(epochs(scene)) == 1
    for each in syncs:
        assert each.code() is None, each.tail()
    scene.catches_up()
    for each in syncs:
        each.signal(signal.SIGTERM)
    for each in syncs:
        assert each.wait() == 0, each.tail()
    scene.check()


def test_the_owner_is_killed(scene: Scene) -> None:
    """And the next one too, until the last is left."""
    syncs = started(scene, 3)
    with scene.writers.writing():
        while len(syncs) > 1:
            killed = owner(scene, syncs)
            killed.kill()
            syncs.remove(killed)
            takes_over(scene)
            for each in syncs:
                assert each.code() is None, each.tail()
    (last,) = syncs
    scene.recovers(last)


def test_the_owner_is_killed_while_it_copies(scene: Scene) -> None:
    scene.writers.fill(5000)
    first = scene.start()
    scene.runs(first)
    second = scene.start()
    with scene.writers.writing():
        wait_until(lambda: scene.has_table("items"), "the copy begins", pause=0.01)
        first.kill()
        wait_until(lambda: owns(scene, second), "the other owns it")
    scene.recovers(second)


def test_the_owner_ends_well(scene: Scene) -> None:
    """It says so, and nobody has to wait for a silence."""
    first, second = started(scene, 2)
    with scene.writers.writing():
        assert first.stop() == 0, first.tail()
        takes_over(scene)
    assert owner(scene, [first, second]) is second
    scene.recovers(second)


def test_the_owner_freezes_and_wakes_when_it_is_none_any_more(scene: Scene) -> None:
    first, second = started(scene, 2)
    with scene.writers.writing():
        first.freeze()
        takes_over(scene)
        assert owner(scene, [first, second]) is second
        time.sleep(3)
        first.thaw()
        assert first.wait() == FENCED, first.tail()
        totals.count("fenced", "after a freeze")
        time.sleep(2)
    (error,) = [line for line in first.said() if line.startswith("error: ")]
    assert "another process owns schema" in error
    scene.recovers(second)


def test_the_owner_freezes_while_it_copies(scene: Scene) -> None:
    """It wakes in the middle of a chunk that is another's by now."""
    scene.writers.fill(8000)
    first = scene.start()
    wait_until(lambda: scene.has_table("items"), "the copy begins", pause=0.01)
    first.freeze()
    second = scene.start()
    with scene.writers.writing():
        # A transaction that the frozen one holds open ends by PostgreSQL's timeout.
        wait_until(lambda: owns(scene, second), "the other owns it")
        first.thaw()
        assert first.wait() == FENCED, first.tail()
        totals.count("fenced", "after a freeze")
    scene.recovers(second)


def test_a_frozen_owner_passes_it_on_again_and_again(scene: Scene) -> None:
    """Each time the zombie wakes in the middle of another's work."""
    scene.writers.fill(300)
    current = scene.start()
    scene.streaming()
    with scene.writers.writing():
        for _ in range(3):
            following = scene.start()
            wait_until(lambda: following.ask("/health")[0] == 200, "up")  # noqa: B023
            current.freeze()
            takes_over(scene)
            assert owns(scene, following)
            current.thaw()
            assert current.wait() == FENCED, current.tail()
            totals.count("fenced", "after a freeze")
            current = following
    scene.recovers(current)


def test_both_outlive_a_postgresql_that_starts_again(
    make_scene: MakeScene, server: OwnPostgres
) -> None:
    """One that stands by has started well, and must be there when it is needed."""
    scene = on_own(make_scene, server)
    first, second = started(scene, 2)
    with scene.writers.writing():
        server.crash()
        time.sleep(3)
        server.start()
    scene.catches_up()
    for each in (first, second):
        assert each.code() is None, each.tail()
    (other,) = [each for each in (first, second) if not owns(scene, each)]
    assert other.stop() == 0, other.tail()
    (working,) = [each for each in (first, second) if each is not other]
    scene.recovers(working)


@pytest.mark.parametrize("round_", range(3))
def test_the_structure_changed_while_the_owner_was_frozen(
    scene: Scene, round_: int
) -> None:
    """What it finds is not an error of the table: it is the owner no more."""
    first, second = started(scene, 2)
    first.freeze()
    takes_over(scene)
    scene.db["orders"].insert_one({"_id": "late", f"late_{round_}": 1})
    scene.catches_up()
    first.thaw()
    assert first.wait() == FENCED, first.tail()
    totals.count("fenced", "after a freeze")
    scene.recovers(second)
