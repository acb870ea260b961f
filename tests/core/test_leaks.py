"""The same work three times leaves as much memory in use as before, to the byte."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="mallinfo2 is glibc's (2.33 and later)"
)
def test_nothing_is_left_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.leak_probe", "5"],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            # Every object is an allocation of its own, and freed is free at once.
            "PYTHONMALLOC": "malloc",
            "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rounds = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(rounds) == 5
    # The first two may still fill a cache of the interpreter.
    assert len(set(rounds[2:])) == 1, rounds
