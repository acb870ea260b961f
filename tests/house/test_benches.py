"""The benchmarks are of the code as it is."""

import importlib

import pytest


@pytest.mark.parametrize("name", ["encode", "snapshot", "stream"])
def test_a_benchmark_finds_what_it_measures(name: str) -> None:
    bench = importlib.import_module(f"benches.bench_{name}")
    assert callable(bench.run)
