"""``${VAR}``, ``${VAR:-default}`` and ``${file:/path}`` inside parsed scalars.

Because the file was parsed before, a value can never add a setting of its own.
``$${`` stands for ``${``. What was put in is not looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .node import Node, Problem

MAX_FILE_BYTES: Final = 65_536

_REFERENCE: Final = re.compile(r"(\$?)\$\{([^{}]*)\}")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Unresolved(ValueError):
    """A reference that leads nowhere; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference replaced. Raises Unresolved."""

    def replace(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        return _resolve(found[2], environ)

    return _REFERENCE.sub(replace, text)


def expand_node(
    node: Node, environ: Mapping[str, str], problems: list[Problem], path: str = ""
) -> Node:
    """The tree with every scalar that is not literal expanded."""
    if (fields := node.fields) is not None:
        inside = f"{path}." if path else ""
        new: object = {
            name: expand_node(field, environ, problems, inside + name)
            for name, field in fields.items()
        }
    elif (items := node.items) is not None:
        new = [
            expand_node(item, environ, problems, f"{path}[{index}]")
            for index, item in enumerate(items)
        ]
    elif isinstance(node.value, str) and not node.literal:
        try:
            new = expand(node.value, environ)
        except Unresolved as error:
            problems.append(Problem(node.origin, path, str(error), error.hint))
            return node
    else:
        return node
    return Node(new, node.origin, node.literal)


def read_secret(name: str) -> str:
    """The text of a small file, without the newline at its end. Raises Unresolved."""
    try:
        with Path(name).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise Unresolved(
            f"file {name} cannot be read: {reason}", "check that the file is mounted"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise Unresolved(
            f"file {name} is larger than {MAX_FILE_BYTES} bytes", "is it the right one?"
        )
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unresolved(f"file {name} is not UTF-8", "store it as text") from None


def _resolve(reference: str, environ: Mapping[str, str]) -> str:
    kind, colon, rest = reference.partition(":")
    if kind == "file" and colon and not rest.startswith("-"):
        return read_secret(rest)
    found = _VARIABLE.fullmatch(reference)
    if found is None:
        raise Unresolved(
            "a ${...} that is none of ${VAR}, ${VAR:-default} and ${file:/path}",
            "write $${ for a ${ that is meant literally",
        )
    name, default = found[1], found[2]
    value = environ.get(name)
    if value is None and default is None:
        raise Unresolved(
            f"environment variable {name} is not set",
            f"set {name}, or give a default with ${{{name}:-value}}",
        )
    return value or default or ""
