"""Every rule that is left out is missed: some seed fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from . import resync_mutations, worker_mutations  # noqa: F401  they add their own
from .mutations import MUTATIONS, SECOND_LOCKS, Mutation
from .plan import Plan, plan_of
from .run import run

# A test of the tests: it says nothing new of a change to the product.
pytestmark = [pytest.mark.faults, pytest.mark.slow]

#: Seeds that may pass before one fails.
PATIENCE = 500

#: Seeds that pass without one of two rules that do the same.
ENOUGH = 120


def _plan(seed: int, mutation: Mutation) -> Plan:
    helped = bool(mutation.focus.get("helpers"))
    return replace(plan_of(seed, helped=helped), **mutation.focus)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_simulation_misses_a_rule(
    name: str, monkeypatch: pytest.MonkeyPatch, say: Callable[[str], None]
) -> None:
    mutation = MUTATIONS[name]
    mutation.make(monkeypatch)
    for seed in range(PATIENCE):
        plan = _plan(seed, mutation)
        if failure := run(plan).failure:
            first = failure.partition("\n")[0]
            say(f"mutation {name}: seed {seed}, {first[:100]}")
            return
    pytest.fail(f"{PATIENCE} seeds passed without the rule")


@pytest.mark.parametrize("name", SECOND_LOCKS)
def test_one_of_two_locks_is_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of them left out is a mutation, which is missed."""
    mutation = SECOND_LOCKS[name]
    mutation.make(monkeypatch)
    for seed in range(ENOUGH):
        failure = run(_plan(seed, mutation)).failure
        assert not failure, f"seed {seed}: {failure}"
