"""SIGTERM and Ctrl-C ask for a drain; a second Ctrl-C insists."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from cartridge_warp.engine.signals import INTERRUPTED, StopSignal

SCRIPT = """
from cartridge_warp.engine.signals import StopSignal
stop = StopSignal()
with stop.install():
    print("ready", flush=True)
    stop.wait(30)
    print("asked", flush=True)
    if {linger}:
        import time
        time.sleep(30)
print("drained", flush=True)
"""


def start(*, linger: bool) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(linger=linger)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("wish", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_asks(wish: signal.Signals) -> None:
    with start(linger=False) as process:
        process.send_signal(wish)
        output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "asked\ndrained\n")


def test_a_second_interrupt_ends_at_once() -> None:
    with start(linger=True) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (INTERRUPTED, "")


def test_a_wait_ends_with_the_wish() -> None:
    stop = StopSignal()
    assert not stop.wait(0.0)
    threading.Timer(0.05, stop.request).start()
    assert stop.wait(20.0)
    assert stop.requested


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal().install() as stop:
        assert signal.getsignal(signal.SIGTERM) is not before
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) is before
