"""Settings from environment variables: ``CARTRIDGE_WARP_A__B`` sets ``a.b``.

``CARTRIDGE_WARP_A__B_FILE`` names a file that holds the value, as secrets are mounted
in containers. Schemas and tables are lists of groups and are written in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cartridge_warp.errors import ConfigError

from . import catalog
from .check import nearest, variable
from .interpolate import Unresolved, read_secret
from .node import Node, Problem, overlay

PREFIX: Final = "CARTRIDGE_WARP_"
FILE_SUFFIX: Final = "_FILE"

# Kubernetes puts these beside every pod when a Service is called cartridge-warp.
_SERVICE_LINK: Final = re.compile(
    r"CARTRIDGE_WARP_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def tree(environ: Mapping[str, str], problems: list[Problem]) -> Node:
    """The settings the environment sets; values are taken literally."""
    known = {variable(s.path): s.path for s in catalog.settings() if "[" not in s.path}
    later = {variable(path) for path in catalog.later()}
    root = Node({}, "environment")
    for name in sorted(environ):
        if not name.startswith(PREFIX) or _SERVICE_LINK.fullmatch(name):
            continue
        origin = f"environment {name}"
        base = name.removesuffix(FILE_SUFFIX)
        if name in known:
            root = overlay(root, _nested(known[name], environ[name], origin))
        elif base in known and base in environ:
            problems.append(
                Problem(origin, "", f"contradicts {base}", "set one of the two")
            )
        elif base in known:
            try:
                value = read_secret(environ[name])
            except Unresolved as error:
                problems.append(Problem(origin, "", str(error), error.hint))
            else:
                root = overlay(root, _nested(known[base], value, origin))
        else:
            problems.append(_unknown(name, origin, known, later))
    return root


def read_file(path: Path) -> dict[str, str]:
    """``NAME=value`` lines; ``#`` starts a comment line, quotes around are taken off.

    Raises ConfigError, which never quotes a line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.fullmatch(stripped)
        if found is None:
            raise ConfigError(f"{path}:{number} not a NAME=value line")
        values[found[1]] = _unquoted(found[2])
    return values


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def _nested(path: str, value: str, origin: str) -> Node:
    node = Node(value, origin, literal=True)
    for name in reversed(path.split(".")):
        node = Node({name: node}, "environment")
    return node


def _unknown(
    name: str, origin: str, known: Mapping[str, str], later: set[str]
) -> Problem:
    if name in later:
        return Problem(origin, "", "not supported yet by this version", "unset it")
    if name.startswith(f"{PREFIX}SCHEMAS"):
        return Problem(
            origin,
            "",
            "schemas are set in the file",
            f"for one schema, {PREFIX}SOURCE__DATABASE is enough",
        )
    return Problem(origin, "", f"unknown setting{nearest(name, known)}")
