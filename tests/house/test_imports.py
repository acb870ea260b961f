"""Who may import whom, where import-linter does not look."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repository import ROOT, SOURCES

PACKAGE, CORE = SOURCES

#: A third-party package and the places of ours that may name it.
WINGS = {
    "pymongo": ("mongodb/", "embedded/", "demo/"),
    "bson": ("mongodb/", "embedded/", "demo/", "conformance/"),
    "psycopg": ("postgresql/", "metadata/", "embedded/", "demo/"),
    "prometheus_client": ("metrics.py", "health.py"),
    "click": ("cli/", "demo/"),
    "rich": ("cli/", "demo/"),
    "structlog": ("logs.py", "cli/"),
    "pytest": ("conformance/source/", "conformance/destination/"),
}

#: What the core may import: C, and names for type declarations.
CORE_MAY_IMPORT = re.compile(
    r"\s*(?:cimport cython\b"
    r"|from (?:libc|cpython)\b[\w.]* cimport "
    r"|from (?:\.|cwarp_core\b)[\w.]* c?import "
    r"|from typing import )"
)


def imported(source: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level package of each absolute import of a module."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


def test_drivers_stay_in_their_wings() -> None:
    strays = []
    for source in PACKAGE.rglob("*.py"):
        place = source.relative_to(PACKAGE).as_posix()
        for line, package in imported(source):
            if package in WINGS and not place.startswith(WINGS[package]):
                strays.append(f"{place}:{line} imports {package}")
    assert not strays


def test_core_pulls_in_nothing_of_ours_and_no_driver() -> None:
    probe = (
        "import sys, cwarp_core; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "cwarp_core" in loaded
    assert not loaded & {"cartridge_warp", "pymongo", "bson", "psycopg", "msgspec"}


def test_nothing_that_runs_needs_pytest() -> None:
    """Not even the drain, which lives beside the suites."""
    modules = sorted(
        ".".join(("cartridge_warp", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in PACKAGE.rglob("*.py")
        if not path.relative_to(PACKAGE).as_posix().startswith(WINGS["pytest"])
        and path.stem != "__main__"
    )
    assert "cartridge_warp.conformance.drain" in modules
    probe = (
        "import importlib, sys; sys.modules['pytest'] = None; "
        "[importlib.import_module(name) for name in sys.argv[1:]]"
    )
    subprocess.run([sys.executable, "-c", probe, *modules], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    "source",
    sorted([*CORE.glob("*.pyx"), *CORE.glob("*.pxd")]),
    ids=lambda source: source.name,
)
def test_core_source_imports_only_c_and_itself(source: Path) -> None:
    strays = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(source.read_text("utf-8").splitlines(), 1)
        if re.match(r"\s*(?:from|import|cimport)\s+[\w.]+", line)
        and not CORE_MAY_IMPORT.match(line)
    ]
    assert not strays


def test_every_public_extension_has_its_stub() -> None:
    """A module that ``cwarp_core/__init__.py`` opens to Python has a ``.pyi``."""
    tree = ast.parse((CORE / "__init__.py").read_text("utf-8"))
    public = {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert public
    assert not {name for name in public if not (CORE / f"{name}.pyi").is_file()}
    assert not {name for name in public if not (CORE / f"{name}.pyx").is_file()}
