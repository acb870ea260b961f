"""Fixtures for every test; they live in ``fix_*.py``, one topic a file.

A crash of the interpreter cannot pass as green: there is no worker process between
pytest and the shell, so a signal ends the run with its own non-zero exit code, and
faulthandler (on in pytest by default) prints where it happened.
``integration/test_crash.py`` holds this to be true.
"""

from __future__ import annotations

import importlib.metadata
import platform

from cartridge_warp import embedded
from cartridge_warp.errors import PreconditionError
from fix_data import real_data
from fix_servers import (
    mongo_client,
    mongo_db,
    mongo_server,
    mongo_uri,
    postgres_server,
    postgres_uri,
)

__all__ = [
    "mongo_client",
    "mongo_db",
    "mongo_server",
    "mongo_uri",
    "postgres_server",
    "postgres_uri",
    "real_data",
]


def pytest_report_header() -> list[str]:
    """Which core and which servers these results stand for."""
    try:
        core = importlib.metadata.version("cartridge-warp")
    except importlib.metadata.PackageNotFoundError:
        core = "not installed"
    lines = [f"cartridge-warp {core}, Python {platform.python_version()}"]
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
