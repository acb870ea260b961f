"""Where the repository is, and what its pages say, for the tests of the house."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "src" / "cartridge_warp", ROOT / "cwarp_core")


def pages() -> list[Path]:
    """Every Markdown page that a reader may open, the benchmarks' own left out."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def prose(page: Path) -> str:
    """A page without its fenced blocks, whose text is not Markdown."""
    return re.sub(
        r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
