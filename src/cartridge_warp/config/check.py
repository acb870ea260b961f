"""From nodes to plain values: every name known, every value of its type.

No problem ever quotes a value, because any value may have come from a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from . import catalog
from .node import COMMAND_LINE, NOWHERE, Node, Problem, shown
from .patterns import Patterns
from .written import LATER, Written

Values = dict[str, Any]

NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


class Checked(Struct, frozen=True):
    """What was written and passed: leaves converted, absent settings absent.

    origins: where each path that was written stands.  options: the command line's
    word for each path that has one.
    """

    values: Values
    origins: dict[str, str]
    problems: list[Problem]
    options: Mapping[str, str]

    def blame(self, path: str, reason: str, hint: str = "") -> None:
        """Record a problem where ``path``, or what it belongs to, was written."""
        if option := self.option(path):
            self.problems.append(Problem(option, "", reason, hint))
        else:
            self.problems.append(Problem(self._origin(path), path, reason, hint))

    def place(self, path: str) -> str:
        """A setting in the words of whoever wrote it: ``SRC``, ``warp.yaml:3 mode``."""
        return self.option(path) or f"{self._origin(path)} {path}"

    def name(self, path: str) -> str:
        """A setting inside a sentence: its option, else its path."""
        return self.option(path) or path

    def option(self, path: str) -> str:
        """The option that gave this setting, or would where there is no file; "" """
        written = self.origins.get(path)
        spoken = written == COMMAND_LINE if written else self.origins[""] == NOWHERE
        return self.options.get(path, "") if spoken else ""

    def _origin(self, path: str) -> str:
        while path not in self.origins:
            path = path.rpartition(".")[0]
        return self.origins[path]


def check(root: Node, options: Mapping[str, str] = NO_OPTIONS) -> Checked:
    """Check a whole tree. Goes on after a problem, to report as many as there are."""
    checked = Checked({}, {"": root.origin}, [], options)
    checked.values.update(_group(root, Written, "", checked))
    return checked


def nearest(name: str, known: Iterable[str]) -> str:
    """``, did you mean ...?`` for a name that is close to a known one, else nothing."""
    by_fold = {word.casefold(): word for word in known}
    close = difflib.get_close_matches(name.casefold(), list(by_fold), 1, 0.7)
    return f", did you mean {by_fold[close[0]]}?" if close else ""


def _group(node: Node, shape: type[Struct], path: str, out: Checked) -> Values:
    out.origins[path] = node.origin
    fields = {field.name: field for field in msgspec.structs.fields(shape)}
    written = node.fields
    if written is None:
        if node.value is not None:
            out.blame(path, "must be a group of settings, as `name: value` lines")
            return {}
        written = {}
    inside = f"{path}." if path else ""
    values: Values = {}
    for name, child in written.items():
        here = f"{inside}{shown(name)}"
        if name in fields:
            _field(child, fields[name], here, values, out)
        else:
            out.problems.append(_unknown(child.origin, name, here, shape))
    for name, field in fields.items():
        if field.required and name not in values and _absent(written.get(name)):
            _missing(field, f"{inside}{name}", values, out)
    return values


def _field(
    node: Node, field: FieldInfo, path: str, values: Values, out: Checked
) -> None:
    if _absent(node):
        return
    out.origins[path] = node.origin
    if (group := catalog.group_of(field)) is not None:
        values[field.name] = _group(node, group, path, out)
    elif (item := catalog.item_of(field)) is not None:
        values[field.name] = _list(node, item, path, out)
    else:
        _leaf(node, field, path, values, out)


def _list(node: Node, shape: type[Struct], path: str, out: Checked) -> list[Values]:
    items = node.items
    if (named := node.fields) is not None:
        items = [_named(name, child) for name, child in named.items()]
    if items is None:
        out.blame(path, "must be a list")
        return []
    return [
        _group(item, shape, f"{path}[{index}]", out) for index, item in enumerate(items)
    ]


def _named(name: str, node: Node) -> Node:
    """An entry of a mapping by name, as the list's entry it stands for."""
    entry = {"name": Node(name, node.origin)}
    if node.value is None:
        return Node(entry, node.origin)
    if (fields := node.fields) is None:
        return node
    return Node({**fields, **entry}, node.origin)


def _leaf(
    node: Node, field: FieldInfo, path: str, values: Values, out: Checked
) -> None:
    value = _plain(node)
    if catalog.bare(field.type) == Patterns and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    allowed = catalog.choices(field.type)
    if isinstance(value, str) and allowed:
        folded = {word.casefold(): word for word in allowed}
        value = folded.get(value.casefold(), value)
    try:
        values[field.name] = msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError:
        meant = nearest(value, allowed) if isinstance(value, str) else ""
        hint = _quote(value) if catalog.takes_text(field.type) else ""
        out.blame(path, f"must be {catalog.words(field.type)}{meant}", hint)


def _plain(node: Node) -> object:
    if (items := node.items) is not None:
        return [_plain(item) for item in items]
    if (fields := node.fields) is not None:
        return {name: _plain(field) for name, field in fields.items()}
    return node.value


def _quote(value: object) -> str:
    """YAML reads ``2024`` and ``no`` as no text; the usual reason for surprise."""
    flat = value if isinstance(value, list) else [value]
    text = all(isinstance(part, str | list | dict) for part in flat)
    return "" if text else "quote a value that is meant as text"


def _missing(field: FieldInfo, path: str, values: Values, out: Checked) -> None:
    if (group := catalog.group_of(field)) is not None:
        base = path.rpartition(".")[0]
        values[field.name] = _group(Node({}, out.origins[base]), group, path, out)
        return
    hint = "" if "[" in path else f"or set {variable(path)} in the environment"
    if out.option(path):
        hint = f"give it, or a file with --config, {hint}"
    out.blame(path, "missing", hint)


def _absent(node: Node | None) -> bool:
    """``name:`` with nothing after it means the default, like no line at all."""
    return node is None or node.value is None


def variable(path: str) -> str:
    """The environment variable that sets ``path``."""
    return "CARTRIDGE_WARP_" + path.upper().replace(".", "__")


def _unknown(origin: str, name: str, path: str, shape: type[Struct]) -> Problem:
    later = LATER[shape]
    if name in later:
        return Problem(
            origin, path, "not supported yet by this version", "remove this line"
        )
    meant = nearest(name, [*shape.__struct_fields__, *sorted(later)])
    homes = {
        setting.group or "the top of the file"
        for setting in catalog.settings()
        if setting.name == name
    }
    hint = "" if meant or not homes else f"it belongs to {', '.join(sorted(homes))}"
    return Problem(origin, path, f"unknown field{meant}", hint)
