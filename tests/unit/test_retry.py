"""The waits between attempts, and the loop that takes them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartridge_warp.errors import (
    ConfigError,
    DestinationUnavailable,
    SourceUnavailable,
    WarpError,
)
from cartridge_warp.retry import Backoff, Stopped, retrying


def backoff(**settings: float) -> Backoff:
    return Backoff(random.Random(7), **settings)


@given(st.integers(), st.integers(1, 40))
def test_every_wait_is_between_half_and_all_of_its_step(seed: int, steps: int) -> None:
    waits = Backoff(random.Random(seed), initial=0.1, factor=2.0, maximum=5.0)
    for step in range(steps):
        full = min(0.1 * 2.0**step, 5.0)
        assert full / 2 <= waits.delay() <= full * (1 + 1e-9)


def test_the_same_seed_gives_the_same_waits() -> None:
    one, other = backoff(), backoff()
    assert [one.delay() for _ in range(9)] == [other.delay() for _ in range(9)]


def test_two_seeds_spread() -> None:
    one, other = Backoff(random.Random(1)), Backoff(random.Random(2))
    assert one.delay() != other.delay()


def test_reset_begins_with_the_shortest_wait() -> None:
    waits = backoff(initial=1.0, factor=10.0, maximum=100.0)
    waits.delay()
    assert waits.delay() >= 5.0
    waits.reset()
    assert waits.delay() <= 1.0


@pytest.mark.parametrize(
    "wrong",
    [{"initial": 0.0}, {"factor": 0.5}, {"initial": 2.0, "maximum": 1.0}],
)
def test_impossible_waits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="backoff needs"):
        backoff(**wrong)


class Calls:
    """A call that raises each of these in turn, then succeeds; and who waited."""

    def __init__(self, *errors: Exception, stop_after: int = 99) -> None:
        self.errors = list(errors)
        self.waits: list[float] = []
        self.told: list[WarpError] = []
        self.stop_after = stop_after

    def call(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return len(self.waits) >= self.stop_after

    def run(self) -> str:
        return retrying(
            self.call, backoff=backoff(), wait=self.wait, failed=self.told.append
        )


def test_a_call_that_succeeds_never_waits() -> None:
    calls = Calls()
    assert calls.run() == "done"
    assert calls.waits == []


def test_trouble_is_tried_again_without_limit() -> None:
    trouble = [SourceUnavailable("away"), DestinationUnavailable("away")] * 50
    calls = Calls(*trouble)
    calls.stop_after = 1000
    assert calls.run() == "done"
    assert calls.told == trouble
    assert len(calls.waits) == 100


@pytest.mark.parametrize("error", [ConfigError("wrong"), RuntimeError("bug")])
def test_other_errors_pass_at_once(error: Exception) -> None:
    calls = Calls(SourceUnavailable("away"), error)
    with pytest.raises(type(error)) as caught:
        calls.run()
    assert caught.value is error
    assert len(calls.waits) == 1


def test_a_stop_ends_the_waiting_and_names_the_reason() -> None:
    calls = Calls(*[SourceUnavailable("away")] * 9, stop_after=3)
    with pytest.raises(Stopped) as caught:
        calls.run()
    assert isinstance(caught.value.__cause__, SourceUnavailable)
    assert len(calls.waits) == 3
