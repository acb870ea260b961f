"""What a mutation is: a name, how it breaks a connector, and the test that notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

Mutation = Callable[[pytest.MonkeyPatch], None]
Mutations = dict[str, tuple[Mutation, str]]


def noticed_by(mutations: Mutations, name: str) -> Callable[[Mutation], Mutation]:
    """Add a mutation, which the test ``name`` of the suite notices."""

    def added(mutation: Mutation) -> Mutation:
        mutations[mutation.__name__] = mutation, name
        return mutation

    return added


def mutants(suite: type, mutations: Mutations) -> Mapping[str, type]:
    """A class of the suite's for each mutation, by the name that pytest finds it by."""
    return {f"Test_{name}": _mutant(suite, *mutations[name]) for name in mutations}


def _mutant(suite: type, mutation: Mutation, _: str) -> type:
    @pytest.fixture(autouse=True)
    def mutated(self: Any, monkeypatch: pytest.MonkeyPatch, ends: None) -> None:
        # Who waits for an event that never comes need not wait for long.
        monkeypatch.setattr("cartridge_warp.conformance.source.hooks._PATIENCE", 1)
        mutation(monkeypatch)

    return type(suite.__name__, (suite,), {"mutated": mutated})
