"""What the pages promise about the repository holds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from repository import ROOT, pages, prose

DIAGRAM_PAGES = ("docs/architecture-diagrams.md", "docs/connection-flow-example.md")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        aim = (page.parent / path) if path else page
        if not aim.exists():
            broken.append(link)
        elif anchor and anchor not in anchors(aim):
            broken.append(link)
    assert not broken


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, by the rule that GitHub applies."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_every_page_is_in_the_index() -> None:
    docs = ROOT / "docs"
    listed = {
        (docs / link.partition("#")[0]).resolve()
        for link in LINK.findall(prose(docs / "README.md"))
        if not re.match(r"[a-z]+:", link)
    }
    missing = {
        str(page.relative_to(ROOT))
        for page in docs.rglob("*.md")
        if page.name != "README.md" and page.resolve() not in listed
    }
    assert not missing


def test_architecture_names_only_what_exists() -> None:
    page = ROOT / "ARCHITECTURE.md"
    text = page.read_text("utf-8")
    assert len(text.splitlines()) <= 150
    named = {
        word.rstrip("/")
        for word in re.findall(r"`([\w.*-]+(?:/[\w.*{},-]+)*/?)`", text)
        if "/" in word or word.endswith((".py", ".pyx", ".pxd", ".md", ".sql"))
    }
    assert len(named) > 20
    places = (ROOT, ROOT / "src" / "cartridge_warp", ROOT / "cwarp_core")
    missing = {
        name for name in named if not any((place / name).exists() for place in places)
    }
    assert not missing


@pytest.mark.parametrize("name", DIAGRAM_PAGES)
def test_each_diagram_is_explained(name: str) -> None:
    """A Mermaid block of a known kind, with text of its own after it."""
    text = (ROOT / name).read_text("utf-8")
    block = re.compile(r"^```mermaid\n(.*?)^```\n(.*?)(?=^```|^#|\Z)", re.M | re.S)
    blocks = block.findall(text)
    assert blocks
    for diagram, after in blocks:
        kind = diagram.split()[0]
        assert kind in {"flowchart", "sequenceDiagram", "stateDiagram-v2", "erDiagram"}
        assert len(after.split()) >= 25, f"{name}: {kind} stands without words"


def test_readme_is_short_and_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 120
    assert "make demo" in text
    assert "make test" in text


def test_changelog_has_an_unreleased_part() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_decisions_are_numbered_dated_and_short() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text("utf-8")
    entries = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert entries
    for number, entry in enumerate(entries, 1):
        heading = entry.splitlines()[0]
        assert re.match(rf"{number}\. .+ \(\d{{4}}-\d\d-\d\d\)$", heading), heading
        assert len(entry.strip().splitlines()) <= 15, heading


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "docs/build.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_copies_what_exists() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, flags=re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert sources
    assert not [name for name in sources if not (ROOT / name).exists()]
    allowed = re.findall(
        r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE
    )
    assert set(sources) <= set(allowed)


def test_the_code_of_a_page_is_code_that_runs() -> None:
    """What the page on connectors shows stands in the examples, word for word."""
    page = (ROOT / "docs" / "core-framework.md").read_text("utf-8")
    blocks = re.findall(r"^```(?:python|toml)\n(.*?)^```", page, re.M | re.S)
    sources = [
        path.read_text("utf-8")
        for path in (ROOT / "examples" / "connectors").iterdir()
        if path.suffix in (".py", ".toml")
    ]
    assert len(blocks) > 4
    for block in blocks:
        assert any(block in source for source in sources), block
