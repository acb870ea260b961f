"""From a seed that fails to the smallest run that still does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import asdict, replace

from .plan import Plan
from .run import Outcome, run

#: Runs that a search may take.
_RUNS = 300

#: Lines that every quiet second has.
_IDLE = ("beat ...", "... beat", "changes.read ...", "... changes.read 0")

#: Settings and the values that make a run simpler.
_SIMPLER: dict[str, tuple[Any, ...]] = {
    "processes": (1, 2),
    "helpers": (0, 1),
    "families": (),
    "writers": (1,),
    "initial": (0, 3, 8),
    "structure": (False,),
    "poison": (False,),
    "misfits": (False,),
    "hidden": (False,),
    "refuses": (False,),
    "transactions": (0.0,),
    "source_noise": (0.0,),
    "destination_noise": (0.0,),
    "unknown": (0.0,),
    "locks": (0.0,),
    "by_time": (0.0,),
    "slow": (0.0,),
    "sticky": (0.0,),
    "lag": (0.0,),
    "once": (False,),
    "expanded": (True,),
    "on_drop": ("keep",),
    "anew": (0.0,),
}


def shrink(outcome: Outcome, again: Callable[[Plan], Outcome] = run) -> Outcome:
    """The smallest failing run that some tries find; any failure counts as one.

    A smaller plan takes other turns at the switches, so a fault may hide: the search
    goes on with whatever still fails.
    """
    left = _RUNS
    found = True
    while found and left > 0:
        found = False
        for plan in _smaller(outcome.plan):
            left -= 1
            tried = again(plan)
            if tried.failure:
                outcome, found = tried, True
                break
            if left <= 0:
                break
    return outcome


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with less in them, the boldest first."""
    faults, number = plan.faults, len(plan.faults)
    if number:
        yield replace(plan, faults=())
    size = number // 2
    while size:
        for first in range(0, number, size):
            yield replace(plan, faults=faults[:first] + faults[first + size :])
        size //= 2
    for part in (2, 3 / 2, 10 / 9):
        if int(plan.operations / part) < plan.operations:
            yield replace(plan, operations=int(plan.operations / part))
    for length in range(1, len(plan.families)):
        yield replace(plan, families=plan.families[:length])
    if any(each.leaves for each in plan.launches):
        yield replace(
            plan, launches=tuple(replace(each, leaves="") for each in plan.launches)
        )
    if len(set(plan.launches)) > 1:
        yield replace(plan, launches=plan.launches[:1])
    for launch in plan.launches:
        for name in ("workers", "lanes", "first"):
            if getattr(launch, name) > 1:
                fewer = [
                    replace(each, **{name: getattr(each, name) - 1})
                    if each is launch
                    else each
                    for each in plan.launches
                ]
                yield replace(plan, launches=tuple(fewer))
    now = asdict(plan)
    for name, values in _SIMPLER.items():
        for value in values:
            if now[name] == value:
                break
            simpler = replace(plan, **{name: value})
            if name == "processes":
                fewer_faults = [
                    each for each in faults if each.helper or each.process < value
                ]
                simpler = replace(simpler, faults=tuple(fewer_faults))
            yield simpler


def report(outcome: Outcome, *, lines: int = 120) -> str:
    """A failure as a reader needs it: the plan, the way there, the fault."""
    trace = [line for line in outcome.trace if not line.endswith(_IDLE)]
    return "\n".join(
        [
            f"seed {outcome.plan.seed}, shrunk: {outcome.plan}",
            *trace[-lines:],
            outcome.failure,
        ]
    )
