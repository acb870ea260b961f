"""Older names of settings, taken for those they stand for."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from .check import nearest
from .node import Node, Problem, overlay, shown

#: What may stand in a group of that name, and where it belongs.
_CHANGE_DETECTION: Final = MappingProxyType(
    {
        "strategy": "change_detection_strategy",
        "column": "change_detection_column",
        "overlap_seconds": "change_detection_overlap_seconds",
        "timezone": "timezone",
    }
)
_GROUP: Final = "change_detection"
_HOME: Final = "source"


def replace(root: Node, problems: list[Problem]) -> Node:
    """The tree with every older name under its present one."""
    fields = root.fields
    if fields is None or (group := fields.get(_GROUP)) is None:
        return root
    kept = {name: node for name, node in fields.items() if name != _GROUP}
    root = Node(kept, root.origin)
    if group.value is None:
        return root
    if (written := group.fields) is None:
        problems.append(Problem(group.origin, _GROUP, "must be a group of settings"))
        return root
    source = kept.get(_HOME)
    present = (source.fields if source is not None else None) or {}
    moved: dict[str, Node] = {}
    for name, node in written.items():
        path = f"{_GROUP}.{shown(name)}"
        meant = _CHANGE_DETECTION.get(name)
        if meant is None:
            reason = f"unknown field{nearest(name, _CHANGE_DETECTION)}"
            problems.append(Problem(node.origin, path, reason))
        elif meant in present:
            reason = f"an older name of {_HOME}.{meant}, which is set too"
            problems.append(
                Problem(node.origin, path, reason, "leave one of the two out")
            )
        else:
            moved[meant] = node
    above = Node({_HOME: Node(moved, group.origin)}, group.origin)
    return overlay(root, above) if moved else root
