"""Where the real data lies. It is never copied into the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A directory of Extended JSON files, one collection each; skips when absent."""
    default = ROOT.parent / "shared" / "data" / "real"
    directory = Path(os.environ.get("CWARP_REAL_DATA", default))
    if not any(directory.glob("*.json")):
        pytest.skip(f"no real data in {directory}: set CWARP_REAL_DATA")
    return directory
