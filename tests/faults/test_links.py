"""What a network does: each toxic, on each side, while copying and while streaming."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

import totals
from kit import RECOVERY, Scene, wait_until
from proxy import Proxy
from syncing import Sync
from toxics import (
    Bandwidth,
    CommitCut,
    Cut,
    Down,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    Way,
)
from usage import KNOWN, MEBIBYTE, Usage

pytestmark = pytest.mark.faults

TOXICS: dict[str, Callable[[], Toxic]] = {
    "latency": lambda: Latency(0.1, 0.1),
    "down": Down,
    "bandwidth": lambda: Bandwidth(40_000),
    "slow_close": lambda: SlowClose(3.0),
    "timeout": lambda: Timeout(3.0),
    "reset_peer": lambda: ResetPeer(0.5),
    "slicer": lambda: Slicer(200, 0.001),
    "limit_data": lambda: LimitData(30_000),
}
SIDES = ("mongodb", "postgresql")

#: How long a toxic is in force.
SUFFERED = 8.0

#: What a few always run: one toxic a side and phase.
QUICK = {
    ("reset_peer", "postgresql", "stream"),
    ("down", "mongodb", "stream"),
}


def matrix() -> list[Any]:
    return [
        pytest.param(
            *case,
            id="-".join(case),
            marks=() if case in QUICK else pytest.mark.slow,
        )
        for name in TOXICS
        for side in SIDES
        for phase in ("copy", "stream")
        for case in [(name, side, phase)]
    ]


@contextmanager
def between(scene: Scene, side: str) -> Iterator[Proxy]:
    """A proxy before one of the servers, and the scene's syncs behind it."""
    uri = scene.places.mongo if side == "mongodb" else scene.places.postgres
    port = urlsplit(uri).port
    assert port is not None
    with Proxy(port, postgresql=side == "postgresql") as proxy:
        if side == "mongodb":
            scene.through_mongodb(proxy)
        else:
            scene.through_postgres(proxy)
        yield proxy


def lives(sync: Sync) -> None:
    assert sync.code() is None, sync.tail()


def suffer(scene: Scene, sync: Sync, phase: str, seconds: float) -> None:
    """Wait while a toxic is in force; whoever streams is written to meanwhile."""
    if phase == "copy":
        time.sleep(seconds)
    else:
        with scene.writers.writing():
            time.sleep(seconds)
    lives(sync)


def started(scene: Scene, phase: str) -> Sync:
    """A sync that streams; or one that has just begun to copy."""
    if phase == "copy":
        scene.writers.fill(3000)
        sync = scene.start()
        wait_until(lambda: scene.has_table("items"), "the copy begins", pause=0.01)
    else:
        scene.writers.fill(300)
        sync = scene.start()
        scene.streaming()
    return sync


@pytest.mark.parametrize(("name", "side", "phase"), matrix())
def test_it_goes_on_when_the_network_is_well_again(
    scene: Scene, name: str, side: str, phase: str
) -> None:
    with between(scene, side) as proxy:
        sync = started(scene, phase)
        with proxy.suffering(TOXICS[name]()):
            seconds = 3.0 if (name, side, phase) in QUICK else SUFFERED
            suffer(scene, sync, phase, seconds)
        scene.catches_up(RECOVERY)
        lives(sync)
        assert sync.stop() == 0, sync.tail()
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_one_byte_at_a_time(scene: Scene, side: str) -> None:
    """From the first byte of the first connection to the last."""
    scene.writers.fill(40)
    with between(scene, side) as proxy, proxy.suffering(Slicer(1)):
        scene.once()
        scene.writers.burst(20)
        scene.once()
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["copy", "stream"])
@pytest.mark.parametrize("side", SIDES)
def test_resets_at_random_bytes(scene: Scene, side: str, phase: str) -> None:
    """Each of forty connections breaks somewhere else, in the middle of its work."""
    rng = random.Random(scene.seed)
    # PostgreSQL is sent the rows, MongoDB sends the documents.
    way = Way.UP if side == "postgresql" else Way.DOWN
    with between(scene, side) as proxy:
        toxic = LimitData(
            *(int(2 ** rng.uniform(10, 18)) for _ in range(200)),
            way=way,
            reset=True,
            times=40,
        )
        # It has to be on its way: who starts a sync wants to hear of a wrong address.
        sync = started(scene, phase)
        proxy.use(toxic)
        try:
            with scene.writers.writing():
                wait_until(lambda: toxic.cuts >= 40 or sync.code() is not None, "cuts")
        finally:
            proxy.clear()
        totals.count("links cut", side, toxic.cuts)
        lives(sync)
        scene.catches_up(RECOVERY)
        assert sync.stop() == 0, sync.tail()
    scene.check()


@pytest.mark.parametrize(
    ("cuts", "number"),
    [
        pytest.param((Cut.AFTER, Cut.BEFORE), 6, id="few"),
        pytest.param((Cut.BEFORE,), 40, id="before", marks=pytest.mark.slow),
        pytest.param((Cut.AFTER,), 40, id="after", marks=pytest.mark.slow),
        pytest.param((Cut.RACING,), 40, id="racing", marks=pytest.mark.slow),
        pytest.param(
            (Cut.BEFORE, Cut.AFTER, Cut.RACING),
            150,
            id="alternating",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_commit_whose_answer_never_came(
    scene: Scene, cuts: tuple[Cut, ...], number: int
) -> None:
    """The stored marker says whether it happened: never twice, never not at all."""
    scene.writers.fill(300)
    scene.once()
    with between(scene, "postgresql") as proxy:
        # Every third: a start has to get through, and a retry too.
        toxic = CommitCut(*cuts, every=3, times=number)
        with scene.writers.writing(), proxy.suffering(toxic):
            sync = scene.start()
            wait_until(
                lambda: toxic.cuts >= number or sync.code() is not None,
                f"{number} COMMITs are cut",
                seconds=90 + 4 * number,
            )
        lives(sync)
        totals.count("links cut", "at COMMIT", toxic.cuts)
        scene.catches_up(RECOVERY)
        assert sync.stop() == 0, sync.tail()
    scene.check()


@pytest.mark.slow
def test_commits_of_the_copy_whose_answer_never_came(scene: Scene) -> None:
    """COMMITs that claim, create, plan and copy."""
    scene.writers.fill(500)
    for number in range(10):
        scene.db[f"part_{number}"].insert_many([{"n": n} for n in range(50)])
    with between(scene, "postgresql") as proxy:
        toxic = CommitCut(Cut.AFTER, Cut.BEFORE, Cut.RACING, every=4, times=30)
        with scene.writers.writing(), proxy.suffering(toxic):
            scene.once()
        totals.count("links cut", "at COMMIT", toxic.cuts)
        scene.once()
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_it_is_not_ready_while_a_server_is_away(scene: Scene, side: str) -> None:
    """Nor is it restarted for it: its loops are alive."""
    scene.writers.fill(100)
    with between(scene, side) as proxy:
        sync = scene.start()
        scene.streaming()
        wait_until(sync.ready, "it is ready")
        with proxy.suffering(Down()):
            scene.writers.burst(5)
            wait_until(lambda: not sync.ready(), "it is not ready any more")
            # Not even for a moment, however often it tries again.
            for _ in range(30):
                assert not sync.ready()
                assert sync.ask("/health")[0] == 200
                time.sleep(0.2)
        wait_until(sync.ready, "it is ready again", RECOVERY)
        scene.catches_up(RECOVERY)
        assert sync.stop() == 0, sync.tail()
    scene.check()


@pytest.mark.slow
@pytest.mark.skipif(not KNOWN, reason="looks into /proc")
def test_equal_phases_leave_nothing_behind(scene: Scene) -> None:
    """Thirty links cut, and as much written, again and again: it has as much as before.

    The first phases make it as large as it has to be.
    """
    scene.writers.fill(300)
    with between(scene, "mongodb") as mongo, between(scene, "postgresql") as postgres:
        sync = scene.start()
        scene.streaming()
        seen: list[Usage] = []
        for _ in range(5):
            for _ in range(15):
                scene.writers.burst(4)
                mongo.reset_all()
                time.sleep(0.2)
                postgres.reset_all()
                time.sleep(0.2)
            scene.catches_up()
            seen.append(sync.look())
        totals.count("links cut", "in equal phases", 150)
        assert sync.stop() == 0, sync.tail()
    scene.check()
    before, last = seen[1], seen[-1]
    told = "; ".join(map(str, seen))
    assert last.rss - before.rss < 8 * MEBIBYTE, told
    assert last.descriptors <= before.descriptors + 2, told
    assert last.threads <= before.threads + 2, told
