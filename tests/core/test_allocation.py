"""Memory that runs out at any moment is a MemoryError and nothing else.

In a process of its own, with an allocator that fails on demand (failing_malloc.c).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the failing allocator wraps glibc's"
)
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shim") / "failing_malloc.so"
    source = HERE / "failing_malloc.c"
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True
    )
    return made


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param((), id="one allocation of the core"),
        pytest.param(("for_good",), id="all of the core from then on"),
        pytest.param(("everyone",), id="one allocation of anybody"),
    ],
)
def test_memory_error_and_nothing_else(shim: Path, mode: tuple[str, ...]) -> None:
    environment = os.environ | {
        "LD_PRELOAD": str(shim),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    if "everyone" in mode:
        # Python's own pools would hide its small allocations from us.
        environment["PYTHONMALLOC"] = "malloc"
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.allocation_probe", *mode],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = {
        name: (int(failures), int(results))
        for name, failures, results in map(str.split, done.stdout.splitlines())
    }
    assert len(counts) == (9 if mode else 10)
    assert all(failures and results for failures, results in counts.values())
