"""The replica set of the tests leaves nothing behind, whatever happens to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cartridge_warp import embedded

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc"),
]


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def processes(of: int) -> list[int]:
    """The members behind the guards that a process started."""
    found = []
    for guard in children(of):
        found += children(guard)
    return found


def children(of: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{of}/task").glob("*"):
        # A thread of this process may end between the two looks; it has no children.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (task / "children").read_text().split())
    return found


def gone(pids: list[int]) -> bool:
    for _ in range(300):
        if not any(map(runs, pids)):
            return True
        time.sleep(0.1)
    return False


def test_members_stop_come_back_and_end() -> None:
    others = processes(os.getpid())
    with embedded.replica_set() as made:
        assert len(made.members) == 3
        leader = made.primary()
        with leader.client() as client:
            client["shop"].c.insert_one({"_id": 1})
        leader.kill()
        next_leader = made.primary()
        assert next_leader is not leader
        leader.start()
        next_leader.pause()
        members = [each for each in processes(os.getpid()) if each not in others]
        assert len(members) == 3
    assert gone(members)


def test_members_end_with_the_process_that_started_them() -> None:
    script = """
import time
from cartridge_warp import embedded
with embedded.replica_set() as made:
    made.members[1].pause()
    print("ready", flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        members = processes(parent.pid)
        parent.send_signal(signal.SIGKILL)
    assert len(members) == 3
    assert gone(members)
