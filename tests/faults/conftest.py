"""The totals of a session, and the scenes its tests play in."""

from __future__ import annotations

import pytest

import totals


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if said := totals.lines():
        terminalreporter.section("faults")
        for line in said:
            terminalreporter.line(line)
