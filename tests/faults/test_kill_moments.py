"""Killed at any moment at all, and asked to end: by signals from outside."""

from __future__ import annotations

import random
import signal
import time

import pytest

import totals
from kit import Scene, wait_until

pytestmark = pytest.mark.faults

#: A sync that is asked to end has so long for it, whatever it is doing.
DRAIN = 10.0


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(6))
def test_killed_at_random_moments(scene: Scene, round_: int) -> None:
    """A dozen kills, from before the first table to the middle of the stream."""
    rng = random.Random(scene.seed)
    scene.writers.fill(2000)
    scene.plant_poison(3)
    with scene.writers.writing():
        for _ in range(12):
            sync = scene.start()
            if rng.random() < 0.8:
                scene.runs(sync)
            time.sleep(2 * rng.random() ** 2)
            assert sync.code() is None, sync.tail()
            sync.kill()
            totals.count("kill points", "any moment")
    scene.once()
    scene.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_ends_it_well(scene: Scene, number: signal.Signals) -> None:
    scene.writers.fill(500)
    with scene.writers.writing():
        sync = scene.start()
        scene.streaming()
        sync.signal(number)
        assert sync.wait(DRAIN) == 0, sync.tail()
    scene.once()
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.2, 0.6, 1.0, 1.5, 2.5])
def test_a_signal_at_any_moment_ends_it_well(scene: Scene, moment: float) -> None:
    """Also where the copy is under way, or has not begun."""
    scene.writers.fill(8000)
    with scene.writers.writing():
        sync = scene.start()
        wait_until(lambda: sync.ask("/health")[0] != 0, "it is up", pause=0.02)
        time.sleep(moment)
        sync.signal(signal.SIGTERM)
        assert sync.wait(DRAIN) == 0, sync.tail()
    scene.once()
    scene.check()


@pytest.mark.slow
@pytest.mark.parametrize("patience", [0.0, 0.05, 0.3, 1.0])
def test_a_signal_and_then_kill(scene: Scene, patience: float) -> None:
    """As a supervisor does with a process that is too slow for it."""
    scene.writers.fill(500)
    with scene.writers.writing(pause=0.005):
        for _ in range(3):
            sync = scene.start()
            scene.streaming()
            sync.signal(signal.SIGTERM)
            time.sleep(patience)
            if sync.code() is None:
                sync.kill()
            assert sync.code() in (0, -signal.SIGKILL), sync.tail()
    scene.once()
    scene.check()


@pytest.mark.slow
def test_a_frozen_process_goes_on(scene: Scene) -> None:
    """A laptop that sleeps: every server may have given the process up meanwhile."""
    scene.writers.fill(500)
    with scene.running() as sync:
        with scene.writers.writing():
            scene.streaming()
            sync.freeze()
            time.sleep(40)
            sync.thaw()
        scene.catches_up()
    scene.check()
