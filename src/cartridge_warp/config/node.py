"""A setting as written, with the place it was written at."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

Scalar = object

#: Origins that are no place of their own: what an option gave, and what nobody wrote
#: where there is no file to name.
COMMAND_LINE: Final = "command line"
NOWHERE: Final = "settings"


class Node(Struct, frozen=True):
    """A mapping of nodes, a list of nodes, or a scalar.

    origin: where it stands, as an error names it: ``warp.yaml:14``, ``environment
    CARTRIDGE_WARP_MODE`` or ``command line``.  literal: no ``${...}`` is looked for.
    """

    value: dict[str, Node] | list[Node] | Scalar
    origin: str
    literal: bool = False

    @property
    def fields(self) -> dict[str, Node] | None:
        """The mapping's nodes; None when this is no mapping."""
        return self.value if isinstance(self.value, dict) else None

    @property
    def items(self) -> list[Node] | None:
        """The list's nodes; None when this is no list."""
        return self.value if isinstance(self.value, list) else None


class Problem(Struct, frozen=True):
    """One thing that is wrong. path: the setting's, "" for the whole."""

    origin: str
    path: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.origin} {self.path}" if self.path else self.origin
        return f"{place}: {self.reason}"


def overlay(below: Node, above: Node) -> Node:
    """Both together; where they speak of one setting, ``above`` wins.

    A list replaces a list whole.
    """
    low, high = below.fields, above.fields
    if low is None or high is None:
        return above
    merged = dict(low)
    for name, node in high.items():
        merged[name] = overlay(low[name], node) if name in low else node
    return Node(merged, below.origin)


def shown(name: str) -> str:
    """A name that came from outside, unless it looks like a value gone astray."""
    return name if re.fullmatch(r"[\w.*-]{1,64}", name) else "<name not shown>"
