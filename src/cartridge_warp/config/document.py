"""From a YAML file to nodes that know their line. JSON is a subset of YAML.

Nothing of the file's content is ever quoted in an error: it may hold a password.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import yaml

from cartridge_warp.errors import ConfigError

from .node import Node, shown

MAX_BYTES: Final = 1_000_000
MAX_ALIASES: Final = 100
#: Nodes after aliases are followed: a few aliases of aliases can stand for billions.
MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 32

_NULL_TAG: Final = "tag:yaml.org,2002:null"
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"]*\"""")


def read(path: Path) -> Node:
    """The file's root mapping. Raises ConfigError for what is no settings file."""
    return parse(_read_bytes(path), str(path))


def parse(data: bytes, name: str) -> Node:
    """The root mapping of YAML text; ``name`` stands for it in errors."""
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"{name}: larger than {MAX_BYTES} bytes",
            hint="a settings file is a few kilobytes; is this the right file?",
        )
    try:
        loader = _Loader(data.decode("utf-8-sig"))
        return _Walk(loader, name).document()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 at byte {error.start}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = _QUOTED.sub(_own_words, error.problem or "cannot be read")
        raise ConfigError(
            f"{name}{line} not valid YAML: {problem}",
            hint="quote a value that holds one of : # { } [ ] , & * ! | > ' \" % @",
        ) from None
    except yaml.YAMLError:
        raise ConfigError(f"{name}: not valid YAML") from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None


def _own_words(quoted: re.Match[str]) -> str:
    """PyYAML quotes tokens (``'<stream end>'``), characters, and the file's text."""
    word = quoted[0][1:-1]
    return quoted[0] if len(word) < 2 or word.startswith("<") else "..."


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror or type(error).__name__}",
            hint="give the path of a settings file with --config",
        ) from None


#: Name -> where it is written, and its value.
Pairs = dict[str, tuple[yaml.Node, yaml.Node]]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, for at most ``MAX_ALIASES`` aliases."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise yaml.MarkedYAMLError(problem="too many aliases")
        return super().compose_node(parent, index)


class _Walk:
    """One pass over the composed nodes."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._nodes = 0
        self._known: dict[int, Pairs] = {}

    def document(self) -> Node:
        root = self._loader.get_single_node()
        if root is None or root.tag == _NULL_TAG:
            return Node({}, self._name)
        if not isinstance(root, yaml.MappingNode):
            raise self._wrong(root, "settings expected, as `name: value` lines")
        # Of what is missing at the top, no line is to blame.
        return Node(self._node(root, 1).value, self._name)

    def _node(self, node: yaml.Node, depth: int) -> Node:
        self._nodes += 1
        if depth > MAX_DEPTH:
            raise self._wrong(node, "nested too deeply")
        if self._nodes > MAX_NODES:
            raise self._wrong(node, "too many values")
        origin = self._origin(node)
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, depth), origin)
        if isinstance(node, yaml.SequenceNode):
            return Node([self._node(item, depth + 1) for item in node.value], origin)
        try:
            value = self._loader.construct_object(node)
            return Node(_paired(value) if isinstance(value, str) else value, origin)
        except ValueError:
            # For example 2024-13-45, which looks like a date to YAML.
            raise self._wrong(node, "a value YAML cannot read; quote it") from None

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Node]:
        return {
            name: self._at_key(key, self._node(value, depth + 1))
            for name, (key, value) in self._pairs(node, depth).items()
        }

    def _pairs(self, node: yaml.MappingNode, depth: int) -> Pairs:
        """Keys and values by name, merged ones included; the mapping's own win.

        Not by PyYAML's ``flatten_mapping``: in 6.0.4 a key that a merged mapping has
        overridden comes back with its old value.
        """
        if depth > MAX_DEPTH:
            raise self._wrong(node, "nested too deeply")
        if (known := self._known.get(id(node))) is not None:
            return known
        own: Pairs = {}
        merged: Pairs = {}
        for key, value in node.value:
            name = self._key(key)
            if key.tag == _MERGE_TAG:
                several = isinstance(value, yaml.SequenceNode)
                for each in value.value if several else [value]:
                    if not isinstance(each, yaml.MappingNode):
                        raise self._wrong(each, "only settings can be merged by <<")
                    merged = {**self._pairs(each, depth + 1), **merged}
            elif name in own:
                # PyYAML would let the last one win without a word.
                raise self._wrong(key, f"{shown(name)} is given twice")
            else:
                own[name] = key, value
        pairs = self._known[id(node)] = {**merged, **own}
        return pairs

    def _key(self, key: yaml.Node) -> str:
        if not isinstance(key, yaml.ScalarNode):
            raise self._wrong(key, "a name expected before the colon")
        try:
            return _paired(key.value)
        except ValueError:
            raise self._wrong(key, "a name YAML cannot read") from None

    def _at_key(self, key: yaml.Node, node: Node) -> Node:
        """The node with the line of its name, which is where people look."""
        return Node(node.value, self._origin(key))

    def _origin(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"

    def _wrong(self, node: yaml.Node, reason: str) -> ConfigError:
        return ConfigError(f"{self._origin(node)} {reason}")


def _paired(text: str) -> str:
    """JSON escapes one character beyond U+FFFF as two surrogates; YAML keeps both.

    Raises ValueError for a surrogate without its other half.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16")
