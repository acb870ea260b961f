"""Fixtures for every test; they live in ``fix_*.py``, one topic a file.

A crash of the interpreter cannot pass as green: there is no worker process between
pytest and the shell, so a signal ends the run with its own non-zero exit code, and
faulthandler (on in pytest by default) prints where it happened.
``integration/test_crash.py`` holds this to be true.
"""

from __future__ import annotations

import importlib.metadata
import platform
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import cwarp_core
import totals
from cartridge_warp import embedded
from cartridge_warp.errors import PreconditionError
from fix_data import bson_corpus, real_data
from fix_servers import (
    each_postgres,
    mongo_client,
    mongo_db,
    mongo_server,
    mongo_uri,
    postgres_server,
    postgres_uri,
    standalone_db,
    standalone_server,
    standalone_uri,
)

__all__ = [
    "bson_corpus",
    "each_postgres",
    "mongo_client",
    "mongo_db",
    "mongo_server",
    "mongo_uri",
    "postgres_server",
    "postgres_uri",
    "real_data",
    "standalone_db",
    "standalone_server",
    "standalone_uri",
]

# A shell lets its background jobs ignore SIGINT, and so would every process that a test
# starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A line for the end of the run: how much a passed test stands for.

    Not by ``record_property``, which warns where a report in JUnit's format is asked
    for, and a warning is an error here.
    """
    return lambda line: request.node.user_properties.append(("said", line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    said = [
        str(line)
        for report in terminalreporter.stats.get("passed", [])
        for name, line in report.user_properties
        if name == "said"
    ]
    for title, lines in (("counts", sorted(set(said))), ("faults", totals.lines())):
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.line(line)


def pytest_report_header() -> list[str]:
    """Which core and which servers these results stand for."""
    try:
        core = importlib.metadata.version("cartridge-warp")
    except importlib.metadata.PackageNotFoundError:
        core = "not installed"
    lines = [
        f"cartridge-warp {core}, Python {platform.python_version()}",
        f"core in {Path(cwarp_core.__file__).parent}",
    ]
    for name, find in (
        ("mongod", embedded.find_mongod),
        ("postgres", lambda: embedded.find_postgres() / "postgres"),
    ):
        try:
            binary = find()
            lines.append(f"{embedded.version(binary)} ({binary})")
        except PreconditionError as error:
            lines.append(f"{name}: {error}")
    return lines
