"""Copies that several processes share, seed after seed, slower than any real one."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from .chunkcopy import SimulatedCopier
from .plan import plan_of
from .run import run
from .sharing import SharedCopier
from .worker_mutations import FROZEN, KILLED, SHARED, slowly

pytestmark = pytest.mark.faults

SEEDS = 40


@pytest.mark.parametrize("among", [SharedCopier, SimulatedCopier])
@pytest.mark.parametrize("focus", [SHARED, FROZEN, KILLED, SHARED | {"once": True}])
def test_shared_copies_converge(
    focus: dict[str, Any],
    among: type[SimulatedCopier],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slowly(monkeypatch, among)
    for seed in range(SEEDS):
        failure = run(replace(plan_of(seed), **focus)).failure
        assert not failure, f"seed {seed}: {failure}"
