"""The file itself: hostile, broken, or full of references."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartridge_warp.config import document, interpolate
from cartridge_warp.config.node import Node, Problem, overlay
from cartridge_warp.errors import ConfigError


def plain(node: Node) -> object:
    if node.fields is not None:
        return {name: plain(field) for name, field in node.fields.items()}
    if node.items is not None:
        return [plain(item) for item in node.items]
    return node.value


def parse(text: str | bytes) -> object:
    data = text if isinstance(text, bytes) else text.encode()
    return plain(document.parse(data, "f.yaml"))


def refused(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.__cause__ is None
    return str(caught.value)


# --- YAML -----------------------------------------------------------------------------


def test_values() -> None:
    text = "a: 1\nb: [x, 2.5, true, null, '7']\nc: {d: }\n"
    assert parse(text) == {
        "a": 1,
        "b": ["x", 2.5, True, None, "7"],
        "c": {"d": None},
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert parse(text) == {}


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert parse("\ufeffa: 1") == {"a": 1}


def test_origins_are_the_lines_of_the_names() -> None:
    root = document.parse(b"a:\n  b: 1\n\n  c:\n    - x\n    -\n      d: 2\n", "f.yaml")
    assert root.fields is not None
    a = root.fields["a"]
    assert a.fields is not None
    c = a.fields["c"]
    assert c.items is not None
    x, d = c.items
    assert d.fields is not None
    assert [node.origin for node in (root, a, c, x, d, d.fields["d"])] == [
        "f.yaml",
        "f.yaml:1",
        "f.yaml:4",
        "f.yaml:5",
        "f.yaml:7",
        "f.yaml:7",
    ]


def test_anchors_and_merges() -> None:
    text = """
base: &base {x: 1, y: 1}
more: &more {<<: *base, y: 2}
most: {<<: *more, z: 3}
two: {<<: [*base, {w: 0}], x: 9}
again: *more
"""
    assert parse(text) == {
        "base": {"x": 1, "y": 1},
        "more": {"x": 1, "y": 2},
        "most": {"x": 1, "y": 2, "z": 3},
        "two": {"x": 9, "y": 1, "w": 0},
        "again": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3 a is given twice"),
        ("a:\n  b: 1\n  b: 1", "f.yaml:3 b is given twice"),
        ("'s3cr3t s3cr3t': 1\n's3cr3t s3cr3t': 1", "f.yaml:2 <name not shown> is"),
        ("- a", "f.yaml:1 settings expected, as `name: value` lines"),
        ("just text", "f.yaml:1 settings expected, as `name: value` lines"),
        ("? [a]\n: 1", "f.yaml:1 a name expected before the colon"),
        ("? {a: b}\n: 1", "f.yaml:1 a name expected before the colon"),
        ("a: 1\nb: 2024-13-45", "f.yaml:2 a value YAML cannot read; quote it"),
        ("a: [1", "f.yaml:1 not valid YAML: expected ',' or ']', but got '<str"),
        ("a: 'x", "f.yaml:1 not valid YAML: found unexpected end of stream"),
        ("a: 1\n b: 2", "f.yaml:2 not valid YAML: "),
        ("a:\n\t- b", "f.yaml:2 not valid YAML: found character "),
        ("a: %x", "f.yaml:1 not valid YAML: found character '%' that cannot"),
        ("a: *s3cr3t", "f.yaml:1 not valid YAML: found undefined alias ..."),
        ("a: !s3cr3t x", "f.yaml:1 not valid YAML: could not determine a constr"),
        ("a: !!python/object:os.system x", "f.yaml:1 not valid YAML: could not"),
        ("a: &b [*b]", "f.yaml:1 nested too deeply"),
        ("a: 1\n---\nb: 2", "f.yaml:2 not valid YAML: but found another document"),
        (b"a: \xff", "f.yaml: not UTF-8 at byte 3"),
        (b"a: \x00", "f.yaml: not valid YAML"),
        ("[" * 100_000, "f.yaml: nested too deeply"),
        ("a: " + "[" * 40 + "]" * 40, "f.yaml:1 nested too deeply"),
        (b"#" * 1_000_001, "f.yaml: larger than 1000000 bytes"),
        ("a: [" + "1," * 100_001 + "]", "f.yaml:1 too many values"),
        (
            "a: &x 1\nb: [" + "*x," * 101 + "]",
            "f.yaml not valid YAML: too many aliases",
        ),
        ("s3cr3t\nx: 1", "f.yaml:2 not valid YAML: "),
        ('a: "\\ud83d"', "f.yaml:1 a value YAML cannot read; quote it"),
        ('"\\ude00": 1', "f.yaml:1 a name YAML cannot read"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_what_is_no_settings_file(text: str | bytes, message: str) -> None:
    said = refused(text)
    assert said.startswith(message)
    assert "s3cr3t" not in said


def test_aliases_of_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for level in range(1, 11):
        inside = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{inside}]")
    assert "too many values" in refused("\n".join(lines))


# A name of more than 1,024 characters, escapes counted, is where YAML leaves JSON.
NAMES = st.text(max_size=80)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_json_reads_as_itself(value: dict[str, object]) -> None:
    assert parse(json.dumps(value)) == value


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but ConfigError ever comes out."""
    try:
        value = parse(data)
    except ConfigError:
        return
    assert isinstance(value, dict)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    gone = tmp_path / "gone.yaml"
    with pytest.raises(ConfigError) as caught:
        document.read(gone)
    assert str(caught.value) == f"{gone}: cannot be read: No such file or directory"
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        document.read(tmp_path)


# --- references -----------------------------------------------------------------------

ENVIRON = {"A": "one", "EMPTY": "", "TRICK": "${A}", "YAML": "x\nmode: multi"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "one"),
        ("<${A}|${A}>", "<one|one>"),
        ("${A:-x}", "one"),
        ("${B:-x}", "x"),
        ("${B:-}", ""),
        ("${B:-a:b/c?d}", "a:b/c?d"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${TRICK}", "${A}"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A {A} $", "$A {A} $"),
        ("${file:-x}", "x"),
        ("", ""),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert interpolate.expand(text, ENVIRON) == expected


@pytest.mark.parametrize(
    "text", ["${}", "${1A}", "${A-B}", "${A:x}", "${A:=x}", "${ A}"]
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(interpolate.Unresolved, match="none of"):
        interpolate.expand(text, ENVIRON)


def test_a_variable_that_is_not_set() -> None:
    with pytest.raises(interpolate.Unresolved) as caught:
        interpolate.expand("a${MISSING}", ENVIRON)
    assert str(caught.value) == "environment variable MISSING is not set"
    assert "${MISSING:-value}" in caught.value.hint


def test_files_hold_secrets(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"wo:rd\r\n")
    assert interpolate.expand(f"<${{file:{file}}}>", {}) == "<wo:rd>"
    file.write_bytes(b"\xff")
    with pytest.raises(interpolate.Unresolved, match="is not UTF-8"):
        interpolate.read_secret(str(file))
    file.write_bytes(b"x" * 65_537)
    with pytest.raises(interpolate.Unresolved, match="larger than 65536"):
        interpolate.read_secret(str(file))
    for path in (str(tmp_path), str(tmp_path / "gone"), "", "a\0b"):
        with pytest.raises(interpolate.Unresolved, match="cannot be read"):
            interpolate.read_secret(path)


def test_references_stand_in_values_alone() -> None:
    """A value can add no setting, and a name is never looked up."""
    root = document.parse(b"a: ${YAML}\n'${A}': ['${A}', 5]\nb: ${NO}", "f.yaml")
    problems: list[Problem] = []
    assert plain(interpolate.expand_node(root, ENVIRON, problems)) == {
        "a": "x\nmode: multi",
        "${A}": ["one", 5],
        "b": "${NO}",
    }
    assert [str(problem) for problem in problems] == [
        "f.yaml:3 b: environment variable NO is not set"
    ]


def test_literal_nodes_are_left_alone() -> None:
    node = Node("${A}", "command line", literal=True)
    assert interpolate.expand_node(node, ENVIRON, []) is node


def test_overlay() -> None:
    below = document.parse(b"a: {b: 1, c: 1}\nl: [1, 2]\ns: {t: 1}", "below")
    above = document.parse(b"a: {c: 2, d: 2}\nl: [3]\ns: 5", "above")
    merged = overlay(below, above)
    assert plain(merged) == {"a": {"b": 1, "c": 2, "d": 2}, "l": [3], "s": 5}
    assert merged.fields is not None
    a = merged.fields["a"].fields
    assert a is not None
    assert [a[name].origin for name in "bcd"] == ["below:1", "above:1", "above:1"]
