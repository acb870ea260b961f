"""The size and the words of our own files."""

import re
from pathlib import Path

import pytest

from repository import ROOT, SOURCES

LINES_AT_MOST = 450
KINDS = {".py", ".pyi", ".pyx", ".pxd", ".sql"}
FILES = sorted(
    path for place in SOURCES for path in place.rglob("*") if path.suffix in KINDS
)
CONNECTORS = sorted((ROOT / "examples" / "connectors").glob("cwarp_*.py"))

#: Words for which the glossary has another, and marks of unfinished work.
BANNED = re.compile(
    r"\b(?:TODO|FIXME|XXX|NotImplementedError|sinks?|checkpoints?|backfills?)\b"
    r"|pragma: no cover",
    flags=re.IGNORECASE,
)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LINES_AT_MOST, f"{path.relative_to(ROOT)} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_one_word_per_thing_and_nothing_unfinished(path: Path) -> None:
    found = [
        f"{number}: {match.group()}"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for match in BANNED.finditer(line)
    ]
    assert not found


@pytest.mark.parametrize("path", CONNECTORS, ids=lambda p: p.name)
def test_a_connector_can_be_written_in_an_hour(path: Path) -> None:
    """Where an example needs more, the contract is at fault."""
    assert len(path.read_text("utf-8").splitlines()) < 150
