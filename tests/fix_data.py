"""Where the real data and MongoDB's BSON corpus lie: never copied into the repository.

The corpus is that of mongodb/specifications (source/bson-corpus); its licence keeps it
out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORPUS = Path(
    os.environ.get("CWARP_BSON_CORPUS", ROOT.parent / "shared/data/bson-corpus")
)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A directory of Extended JSON files, one collection each; skips when absent."""
    default = ROOT.parent / "shared" / "data" / "real"
    directory = Path(os.environ.get("CWARP_REAL_DATA", default))
    if not any(directory.glob("*.json")):
        pytest.skip(f"no real data in {directory}: set CWARP_REAL_DATA")
    return directory


@pytest.fixture(scope="session")
def bson_corpus() -> Path:
    """The corpus' directory; skips when absent."""
    if not any(CORPUS.glob("*.json")):
        pytest.skip(f"no BSON corpus in {CORPUS}: set CWARP_BSON_CORPUS")
    return CORPUS


def corpus_cases(section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file name, case) of one section: "valid", "decodeErrors" or "parseErrors"."""
    for file in sorted(CORPUS.glob("*.json")):
        for case in json.loads(file.read_text(encoding="utf-8")).get(section, []):
            yield file.name, case
