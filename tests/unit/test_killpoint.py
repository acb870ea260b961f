"""Kill points kill where they are asked to, and only in a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cartridge_warp.errors import ConfigError
from cartridge_warp.killpoint import POINTS, KillSwitch


def switch(wish: str) -> KillSwitch:
    return KillSwitch({"CWARP_TEST": "1", "CWARP_TEST_KILL": wish})


def test_nothing_asked_nothing_due() -> None:
    silent = KillSwitch({})
    assert not any(silent.due(point) for point in POINTS for _ in range(3))


def test_due_once_at_the_nth_time() -> None:
    armed = switch("commit_ok:3")
    assert [armed.due("commit_ok") for _ in range(5)] == [False, False, True] + (
        [False] * 2
    )


def test_other_points_do_not_count() -> None:
    armed = switch("commit_ok:1")
    assert not armed.due("tx_begin")
    assert armed.due("commit_ok")


def test_a_point_that_does_not_exist_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="comit_ok"):
        switch("commit_ok:1").due("comit_ok")


@pytest.mark.parametrize("flag", [{}, {"CWARP_TEST": "0"}, {"CWARP_TEST": ""}])
def test_refused_outside_a_test(flag: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="outside a test") as caught:
        KillSwitch({"CWARP_TEST_KILL": "commit_ok:1", **flag})
    assert "unset" in caught.value.hint


@pytest.mark.parametrize(
    "wish",
    "commit_ok commit_ok: commit_ok:0 commit_ok:-1 commit_ok:x :1 nowhere:1".split(),
)
def test_a_wish_that_makes_no_sense_is_refused(wish: str) -> None:
    with pytest.raises(ConfigError, match="not a point and a number"):
        switch(wish)


def run_twice(**environ: str) -> subprocess.CompletedProcess[str]:
    script = (
        "from cartridge_warp.killpoint import reached\n"
        "reached('handover'); print('once', flush=True)\n"
        "reached('handover'); print('twice', flush=True)\n"
    )
    clean = {key: value for key, value in os.environ.items() if "CWARP" not in key}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=clean | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_process_dies_as_by_kill_minus_nine() -> None:
    died = run_twice(CWARP_TEST="1", CWARP_TEST_KILL="handover:2")
    assert died.returncode == -signal.SIGKILL
    assert died.stdout == "once\n"


def test_the_process_lives_when_nobody_asked() -> None:
    lived = run_twice()
    assert (lived.returncode, lived.stdout) == (0, "once\ntwice\n")


def test_the_process_refuses_the_wish_without_the_flag() -> None:
    refused = run_twice(CWARP_TEST_KILL="handover:1")
    assert refused.returncode == 1
    assert "ConfigError" in refused.stderr
