"""Read, merge, fill in, check, resolve: every setting once, before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from cartridge_warp.errors import ConfigError

from . import aliases, cascade, document, environment, interpolate, rules
from .check import NO_OPTIONS, check
from .model import Settings
from .node import COMMAND_LINE, NOWHERE, Node, Problem, overlay

NO_OVERRIDES: Mapping[str, object] = MappingProxyType({})


def load(
    path: Path | None,
    overrides: Mapping[str, object] = NO_OVERRIDES,
    environ: Mapping[str, str] = os.environ,
    options: Mapping[str, str] = NO_OPTIONS,
) -> Settings:
    """The settings of one process. Raises ConfigError, one line for each problem.

    path: the YAML (or JSON) file; None for none.  overrides: the command line's, which
    win over all else: nested mappings or dotted names (``source.database``); None
    means not given. A ``single_schema_name`` there means mode single, whatever the
    file says.  environ: variables, which win over the file and are those that
    ``${VAR}`` in it may name; ``environment.read_file`` reads more from a file.
    options: how the command line calls the settings it can override, for errors.
    """
    if overrides.get("single_schema_name") is not None:
        overrides = {**overrides, "mode": overrides.get("mode") or "single"}
    problems: list[Problem] = []
    root = Node({}, NOWHERE) if path is None else document.read(path)
    root = overlay(root, environment.tree(environ, problems))
    root = overlay(root, _tree(overrides))
    root = aliases.replace(root, problems)
    root = interpolate.expand_node(root, environ, problems)
    _raise(problems)
    checked = check(root, options)
    schemas, mode = rules.apply(checked)
    _raise(checked.problems)
    places = {path: checked.place(path) for path in rules.USED_LATER}
    return cascade.resolve(checked.values, schemas, mode, places)


def _tree(overrides: Mapping[str, object]) -> Node:
    root = Node({}, COMMAND_LINE)
    for name, value in overrides.items():
        if value is None:
            continue
        node = _node(value)
        for part in reversed(name.split(".")):
            node = Node({part: node}, COMMAND_LINE)
        root = overlay(root, node)
    return root


def _node(value: object) -> Node:
    if isinstance(value, Mapping):
        return _tree(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return Node([_node(item) for item in value], COMMAND_LINE)
    return Node(value, COMMAND_LINE, literal=True)


def _raise(problems: list[Problem]) -> None:
    if len(problems) == 1:
        raise ConfigError(str(problems[0]), hint=problems[0].hint)
    if problems:
        lines = (
            f"{each} ({each.hint})" if each.hint else str(each) for each in problems
        )
        raise ConfigError("\n".join(lines))
