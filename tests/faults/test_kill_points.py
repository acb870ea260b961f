"""Killed at every named place, in every phase: nothing is lost, nothing is twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

import totals
from cartridge_warp.killpoint import POINTS
from kit import META, SCHEMA, Scene, wait_until
from syncing import Sync
from writers import COLLECTIONS

pytestmark = pytest.mark.faults

#: Where a point does not lie on the way. There a run has to end as if it had not been
#: set, and a point that turns up all the same fails its test: then it goes from here.
UNREACHED: dict[str, set[str]] = {
    "resync_sweep": {"copy", "stream", "mixed"},
    # The end of a run with --once; another one has no end of its own.
    "handover": {"mixed"},
    # Chunks belong to the copy, which is over.
    "chunk_commit": {"stream"},
    # Only a signal drains, and a run with --once ends without one.
    "sigterm_drain": {"copy", "stream", "resync"},
}

NTHS = (1, 2, 7)
QUICK = {
    ("mid_copy", 2, "copy"),
    ("chunk_commit", 7, "copy"),
    ("marker_updated", 2, "stream"),
    ("commit_ok", 7, "stream"),
    ("merge_done", 1, "mixed"),
    ("commit_sent", 7, "mixed"),
    ("resync_sweep", 1, "resync"),
    ("chunk_commit", 7, "resync"),
}


def matrix() -> list[Any]:
    """Every point, phase and number; the quick ones are not slow."""
    slow = pytest.mark.slow
    return [
        pytest.param(
            *case,
            id="-".join(map(str, case)),
            marks=() if case in QUICK else slow,
        )
        for point in sorted(POINTS)
        for mode in ("copy", "stream", "mixed", "resync")
        for nth in NTHS
        for case in [(point, nth, mode)]
    ]


def in_copy(scene: Scene, kill: str) -> Sync:
    """Nobody writes while everything is copied for the first time."""
    fill(scene)
    sync = scene.start(once=True, kill=kill)
    sync.wait()
    return sync


def in_stream(scene: Scene, kill: str) -> Sync:
    """Everything is copied already, and there is much to catch up with."""
    fill(scene)
    scene.once()
    scene.writers.burst(150)
    scene.plant_poison(7)
    sync = scene.start(once=True, kill=kill)
    sync.wait()
    return sync


def in_mixed(scene: Scene, kill: str) -> Sync:
    """Writers all through the copy, and after it; at the end, SIGTERM."""
    fill(scene)
    with scene.writers.writing():
        sync = scene.start(kill=kill)
        deadline = time.monotonic() + 6
        while sync.code() is None and time.monotonic() < deadline:
            time.sleep(0.1)
    if sync.code() is None:
        # Enough for a seventh batch, whatever the first six held.
        for _ in range(8):
            scene.writers.burst(20)
            scene.plant_poison(1)
            time.sleep(0.2)
        wait_until(
            lambda: over_or_equal(scene, sync), lambda: f"caught up{scene.story()}"
        )
    if sync.code() is None:
        sync.stop()
    sync.wait()
    return sync


def in_resync(scene: Scene, kill: str) -> Sync:
    """Rows were lost, changed and added; every table is resynced, beside a stream."""
    fill(scene)
    scene.once()
    scene.execute(
        # What is done to the rows here is not what the audit looks for.
        "SET session_replication_role = replica",
        *(
            f"DELETE FROM {SCHEMA}.{name} WHERE hashtext(_id::text) % 3 = 0"
            for name in COLLECTIONS
        ),
        f"UPDATE {SCHEMA}.items SET n = -1 WHERE n % 5 = 0",
        f"INSERT INTO {SCHEMA}.orders (_id) SELECT 'e' || lpad(n::text, 23, '0')"
        " FROM generate_series(1, 50) AS n",
        f"INSERT INTO {SCHEMA}.notes (_id) SELECT -n FROM generate_series(1, 50) AS n",
        f"INSERT INTO {META}.signals (schema_name, verb, table_name)"
        f" SELECT schema_name, 'resync', table_name FROM {META}.table_state",
    )
    scene.writers.burst(150)
    scene.plant_poison(7)
    sync = scene.start(once=True, kill=kill)
    sync.wait()
    return sync


MODES: dict[str, Callable[[Scene, str], Sync]] = {
    "copy": in_copy,
    "stream": in_stream,
    "mixed": in_mixed,
    "resync": in_resync,
}


def fill(scene: Scene) -> None:
    """Twelve collections, so that there is a seventh chunk."""
    scene.writers.fill(250)
    scene.plant_poison(7)
    for number in range(7):
        documents = [{"_id": n, "n": n} for n in range(40)]
        scene.db[f"part_{number}"].insert_many(documents)


def over_or_equal(scene: Scene, sync: Sync) -> bool:
    return sync.code() is not None or not scene.differences()


@pytest.mark.parametrize(("point", "nth", "mode"), matrix())
def test_killed(scene: Scene, point: str, nth: int, mode: str) -> None:
    sync = MODES[mode](scene, f"{point}:{nth}")
    killed = sync.code() == -signal.SIGKILL
    assert killed or sync.code() == 0, sync.tail()
    if mode in UNREACHED.get(point, ()):
        assert not killed, f"{point} is on the way in {mode}"
    elif nth == 1:
        assert killed, f"{point} is not on the way in {mode}"
    totals.count("kill points", f"{mode} {'killed' if killed else 'not reached'}")
    # What comes while nothing runs.
    scene.writers.burst(10)
    scene.once()
    scene.check()


@pytest.mark.slow
def test_killed_again_and_again_on_the_way(scene: Scene) -> None:
    """The same data suffers one kill after the other, writers on."""
    fill(scene)
    copying = ["mid_copy:1", "chunk_commit:3", "tx_begin:4"]
    streaming = ["tx_begin:2", "merge_done:1", "marker_updated:2", "commit_sent:1"]
    with scene.writers.writing(pause=0.05):
        for point in copying + [*streaming, "commit_ok:3"] * 4:
            sync = scene.start(kill=point)
            wait_until(lambda: sync.code() is not None, point)  # noqa: B023
            assert sync.code() == -signal.SIGKILL, sync.tail()
    scene.once()
    scene.check()
