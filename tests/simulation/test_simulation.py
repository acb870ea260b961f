"""The real engine against both ends in memory, seed after seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

import totals

from .plan import plan_of
from .run import Outcome, run
from .shrink import report, shrink

pytestmark = pytest.mark.faults

#: Seeds of one test, of the quick and of the slow ones.
BLOCK = 20
LARGE = 200

QUICK = 60
ALL = 2000


def check(seeds: range) -> Counter[str]:
    """Run the seeds; the first that fails is told by its shortest trace."""
    sums: Counter[str] = Counter()
    for seed in seeds:
        outcome = run(plan_of(seed))
        if outcome.failure:
            pytest.fail(
                f"seed {seed} (python -m tests.simulation --seed {seed} --trace): "
                f"{outcome.failure}\n\n{report(shrink(outcome))}",
                pytrace=False,
            )
        sums.update(_figures(outcome))
    totals.count("seeds", "simulation", len(seeds))
    return sums


def _figures(outcome: Outcome) -> dict[str, int]:
    return {
        "seeds": 1,
        "events": outcome.events,
        "commits": outcome.commits,
        "starts": outcome.lives,
        "take-overs": outcome.takeovers,
        "switches": outcome.switches,
    }


def blocks(first: int, last: int, size: int) -> list[range]:
    return [range(seed, min(seed + size, last)) for seed in range(first, last, size)]


@pytest.mark.parametrize("seeds", blocks(0, QUICK, BLOCK), ids=str)
def test_every_seed_converges(seeds: range) -> None:
    assert check(seeds)["commits"] > BLOCK


@pytest.mark.slow
@pytest.mark.parametrize("seeds", blocks(QUICK, ALL, LARGE), ids=str)
def test_thousands_of_seeds_converge(seeds: range, say: Callable[[str], None]) -> None:
    sums = check(seeds)
    say(f"simulation {seeds}: " + ", ".join(f"{sums[name]} {name}" for name in sums))
    assert sums["take-overs"] > 10


def test_a_seed_is_the_same_run_every_time() -> None:
    """Else a failure could not be looked at twice."""
    for seed in (1, 7, 21):
        first, second = run(plan_of(seed)), run(plan_of(seed))
        assert first.trace == second.trace
        assert first.switches == second.switches > 100
